//! The reference of all commands as one document, made from the command tree. Pure.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use crate::exit::Exit;

const HEAD: &str = "\
# The command bazaar

Made by `bazaar man --markdown`; do not edit. The same is in `bazaar COMMAND --help`, and in man pages (`bazaar man --dir DIR`). Shells complete commands and flags with what `bazaar completions SHELL` prints.

Results go to standard output, as a table or as JSON (`--output`); remarks, progress and errors go to standard error. An error is one sentence that says what to do next. Tables are coloured on a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` and `--color` change that.

Every flag has an environment variable, named beside it. The command line wins over the variable. For a flag without a value, `0`, `false`, `no`, `off` and nothing mean that it is not given.
";

/// The document.
pub(super) fn reference(tree: &Command) -> String {
    let mut text = format!("{HEAD}\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        push(&mut text, format_args!("| {} | {} |", exit.code(), exit.meaning()));
    }
    text += "\n## Flags of all commands\n\n";
    arguments(&mut text, tree);
    text += "## Commands\n\n| command | does |\n|---|---|\n";
    summary(&mut text, tree);
    for command in tree.get_subcommands() {
        section(&mut text, command);
    }
    text.trim_end().to_owned() + "\n"
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a text takes all that is written");
}

fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn summary(text: &mut String, command: &Command) {
    for below in command.get_subcommands() {
        push(text, format_args!("| `{}` | {} |", name(below), cell(&about(below))));
        summary(text, below);
    }
}

fn section(text: &mut String, command: &Command) {
    push(text, format_args!("\n## {}\n\n{}\n", name(command), about(command)));
    let usage = command.clone().render_usage().to_string();
    push(text, format_args!("```text\n{}\n```\n", usage.trim_start_matches("Usage: ")));
    arguments(text, command);
    if let Some(after) = command.get_after_help() {
        push(text, format_args!("```text\n{}\n```", after.to_string().trim_end()));
    }
    for below in command.get_subcommands() {
        section(text, below);
    }
}

/// The arguments of a command, without those of all commands unless it is the root.
fn arguments(text: &mut String, command: &Command) {
    let is_root = !name(command).contains(' ');
    let own = |arg: &&Arg| !is_by_clap(arg) && (is_root || !arg.is_global_set());
    let all: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if all.is_empty() {
        return;
    }
    *text += "| argument | variable | default | meaning |\n|---|---|---|---|\n";
    for arg in all {
        let variable = arg.get_env().map_or("-".into(), |name| format!("`{}`", name.to_string_lossy()));
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let default = if defaults.is_empty() || is_switch { "-".into() } else { format!("`{}`", defaults.join(" ")) };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        push(text, format_args!("| `{}` | {variable} | {default} | {} |", spelled(arg), cell(&(help + &choices(arg)))));
    }
    text.push('\n');
}

fn is_by_clap(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

/// An argument as it is typed.
fn spelled(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let flags: Vec<String> = short.into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect();
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().filter(|_| takes_value).map(|names| names.join(" "));
    let value = value.or_else(|| arg.is_positional().then(|| arg.get_id().to_string().to_uppercase()));
    [flags.join(", ")].into_iter().chain(value).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What an argument may be, if that is a short list.
fn choices(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
    let is_listed = arg.get_action().takes_values() && !names.is_empty();
    if is_listed { format!("; one of {}", names.join(", ")) } else { String::new() }
}

/// A text inside a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}
