//! Standard output, standard error, and what a person at a terminal sees while waiting.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Format;

pub use bazaar_service::start::print_error;

/// How often a live line is drawn.
const TICK: Duration = Duration::from_millis(200);

/// When results are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set; elsewhere only if `CLICOLOR_FORCE` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether standard output is to be coloured.
    pub fn wanted(self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced = is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_none_or(|value| value != "0");
        let wanted = self.decided(is_set("NO_COLOR"), forced, io::stdout().is_terminal());
        // What colours the cells of tables looks at NO_COLOR by itself, also where a flag was given.
        crossterm::style::force_color_output(wanted);
        wanted
    }

    fn decided(self, refused: bool, forced: bool, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => !refused && (forced || is_terminal),
        }
    }
}

/// Writes a line to standard output. A reader that has gone away (`bazaar status | head`) is no error.
pub fn print_line(text: &str) {
    let _ = write_line(text);
}

/// Writes a line to standard output, and says whether somebody still reads: what goes on for ever must end then.
///
/// # Errors
/// If nobody reads any more.
pub fn write_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes a remark to standard error. A reader that has gone away is no error: what goes on, a restart say, matters more.
pub fn print_note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a remark that is only for a person who sits there.
pub fn print_hint(text: &str) {
    if io::stderr().is_terminal() {
        print_note(text);
    }
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

#[cfg(test)]
mod tests {
    use super::Colour;

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_terminal() {
        assert!(Colour::Always.decided(true, false, false));
        assert!(!Colour::Never.decided(false, true, true));
        assert!(Colour::Auto.decided(false, false, true) && !Colour::Auto.decided(false, false, false));
        assert!(Colour::Auto.decided(false, true, false), "CLICOLOR_FORCE colours what goes into a file");
        assert!(!Colour::Auto.decided(true, true, true), "NO_COLOR wins over CLICOLOR_FORCE");
    }
}
