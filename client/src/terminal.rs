//! Standard output, standard error, and what a person at a terminal sees while waiting.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Format;

pub use bazaar_service::start::print_error;

/// How often a live line is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Writes a line to standard output. A reader that has gone away (`bazaar status | head`) is no error.
pub fn print_line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a remark to standard error.
#[expect(clippy::print_stderr, reason = "the one place where the client talks to the person beside its results")]
pub fn print_note(text: &str) {
    eprintln!("{text}");
}

/// Whether output may be coloured: a terminal, and no `NO_COLOR` in the environment.
pub fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stdout().is_terminal()
}

/// A progress bar on standard error; hidden unless that is a terminal and the output is for people.
pub fn progress_bar(format: Format, steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), draw_target(format));
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} [{elapsed}]").expect("the template is a constant"),
    );
    bar
}

/// A live line on standard error; hidden like [`progress_bar`].
pub fn live_line(format: Format) -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, draw_target(format));
    line.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant"));
    line.enable_steady_tick(TICK);
    line
}

fn draw_target(format: Format) -> ProgressDrawTarget {
    if format == Format::Table && io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
