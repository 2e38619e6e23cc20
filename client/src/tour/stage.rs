//! What the tour says, and its pauses between chapters.

use anyhow::Result;
use tokio::sync::mpsc;

use crate::{
    exit::{Ending, Exit},
    output::{Format, Printer},
    terminal::{print_line, print_note},
};

/// Lines of the terminal that wait to be taken; all but the newest are of no use.
const LINES_WAITING_MAX: usize = 1;

/// Says what happens. For programs, standard output is kept for the result.
pub(super) struct Stage {
    printer: Printer,
    /// The lines that a person types; none if nobody is asked.
    lines: Option<mpsc::Receiver<()>>,
}

impl Stage {
    /// A stage that waits for a person before each chapter, or does not.
    pub(super) fn new(printer: Printer, waits: bool) -> Self {
        Self { printer, lines: waits.then(typed_lines) }
    }

    /// Begins a chapter: what will happen.
    ///
    /// # Errors
    /// If the person at the terminal ended the input.
    pub(super) async fn chapter(&mut self, title: &str, what: &str) -> Result<()> {
        self.say(&format!("\n== {title}\n{what}"));
        let Some(lines) = &mut self.lines else { return Ok(()) };
        print_note("-- press Enter to go on, Ctrl-C to end the tour --");
        lines.recv().await.ok_or_else(|| Ending::new(Exit::Interrupted, "the tour was ended before its end").into())
    }

    /// Shows a command as a person would type it.
    pub(super) fn command(&self, typed: &str) {
        let (begin, end) = if self.printer.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.say(&format!("\n{begin}$ {typed}{end}"));
    }

    /// Shows what a command printed.
    pub(super) fn output(&self, text: &str) {
        for line in text.lines() {
            self.say(format!("  {line}").trim_end());
        }
    }

    /// Says what it means.
    pub(super) fn meaning(&self, text: &str) {
        self.say(&format!("\n=> {text}"));
    }

    /// Says a line.
    pub(super) fn say(&self, text: &str) {
        match self.printer.format {
            Format::Table => print_line(text),
            Format::Json => print_note(text),
        }
    }
}

/// Reads the terminal on a thread of its own: a read cannot be given up, and must not keep the process alive.
fn typed_lines() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.blocking_send(()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}
