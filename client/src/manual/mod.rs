//! `bazaar completions` and `bazaar man`: what shells and readers get from the command tree.

mod markdown;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use serde::Serialize;

use crate::{
    Context,
    arguments::command,
    output::{Report, counted},
};

/// Shown below the arguments of `completions`.
const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  bazaar completions bash        put what it prints into ~/.local/share/bash-completion/completions/bazaar
  bazaar completions zsh         into a file _bazaar in a folder of $fpath
  bazaar completions fish        into ~/.config/fish/completions/bazaar.fish";

/// Shown below the arguments of `man`.
const MAN_EXAMPLES: &str = "\
Examples:
  bazaar man                     the page of bazaar itself; read it with: bazaar man | man -l -
  bazaar man --dir ~/.local/share/man/man1
  bazaar man --markdown          the reference docs/cli.md";

/// The arguments of `bazaar completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell that is to complete commands and flags.
    #[arg(value_enum)]
    shell: Shell,
}

/// The arguments of `bazaar man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Write a page for each command into this folder, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one document in Markdown instead.
    #[arg(long, conflicts_with = "dir")]
    markdown: bool,
}

/// A text that is printed as it is.
#[derive(Debug, Serialize)]
struct Text {
    name: String,
    text: String,
}

impl Report for Text {
    fn to_text(&self, _colour: bool) -> String {
        self.text.trim_end().to_owned()
    }
}

#[derive(Debug, Serialize)]
struct Written {
    dir: PathBuf,
    pages: Vec<String>,
}

impl Report for Written {
    fn to_text(&self, _colour: bool) -> String {
        let count = counted(self.pages.len() as u64, "page");
        format!("{count} in {}: {}", self.dir.display(), self.pages.join(", "))
    }
}

/// Prints the completions of a shell.
///
/// # Errors
/// If they are no text, which no shell's are.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "bazaar", &mut script);
    context.printer.print(&Text { name: args.shell.to_string(), text: String::from_utf8(script)? });
    Ok(())
}

/// Prints or writes the manual.
///
/// # Errors
/// If the folder cannot be written.
pub fn man(context: &Context, args: &ManArgs) -> Result<()> {
    if args.markdown {
        context.printer.print(&Text { name: "cli.md".into(), text: markdown::reference(&built()) });
        return Ok(());
    }
    let Some(dir) = &args.dir else {
        let (name, text) = page(&built())?;
        context.printer.print(&Text { name, text });
        return Ok(());
    };
    let pages =
        write_pages(&built(), dir).with_context(|| format!("{} cannot be written, see --dir", dir.display()))?;
    context.printer.print(&Written { dir: dir.clone(), pages });
    Ok(())
}

/// The tree with all that clap adds to it by itself: names of commands with those above them, and the flags of all.
fn built() -> Command {
    let mut tree = command().disable_help_subcommand(true);
    tree.build();
    tree
}

/// A command's page and its name, such as `bazaar-members-add.1`.
fn page(command: &Command) -> Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut text)?;
    Ok((format!("{name}.1"), String::from_utf8(text)?))
}

/// Writes the pages of a command and of all below it; returns their names.
fn write_pages(command: &Command, dir: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(dir)?;
    let (name, text) = page(command)?;
    fs::write(dir.join(&name), text)?;
    let mut names = vec![name];
    for below in command.get_subcommands() {
        names.extend(write_pages(below, dir)?);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    fn count(command: &Command) -> usize {
        1 + command.get_subcommands().map(count).sum::<usize>()
    }

    #[test]
    fn every_command_has_a_page_that_tells_what_it_does_and_how() {
        let folder = tempfile::tempdir().unwrap();
        let names = write_pages(&built(), folder.path()).unwrap();
        assert_eq!(names.len(), count(&command()));
        for (name, about) in [("bazaar.1", "Stock bazaar"), ("bazaar-members-add.1", "Take a new replica in")] {
            assert!(names.iter().any(|page| page == name), "{names:?}");
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.contains(about) || name == "bazaar.1", "{text}");
        }
        for name in names {
            let text = fs::read_to_string(folder.path().join(&name)).unwrap();
            assert!(text.contains(".SH SYNOPSIS") && text.contains("Examples:"), "{name}: {text}");
        }
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "bazaar", &mut script);
            let script = String::from_utf8(script).unwrap();
            for below in command().get_subcommands() {
                assert!(script.contains(below.get_name()), "{shell} does not know {}", below.get_name());
            }
        }
    }

    #[test]
    fn the_committed_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        let committed = fs::read_to_string(path).unwrap_or_default();
        let current = markdown::reference(&built());
        assert!(
            committed.trim_end() == current.trim_end(),
            "make it anew: target/release/bazaar man --markdown >docs/cli.md"
        );
    }
}
