//! The command tree as people use it: what the commands declare, with an environment variable for every flag, and the
//! exit codes below the help.
//!
//! A variable's name follows from the flag's, so that nobody has to keep a list: `BAZAAR_`, the command, the flag.

use clap::{
    Arg, ArgAction, Command, CommandFactory, Error, FromArgMatches, builder::FalseyValueParser, error::ErrorKind,
};

use crate::{cli::Cli, exit::Exit, terminal::print_note};

/// Shown below the list of commands.
const EXAMPLES: &str = "\
Examples:
  bazaar tour                           a guided tour of the running cluster
  bazaar stocks                         all stocks, with what is left of each
  bazaar trade buy GameStart 3          buy, and print the order's number
  bazaar orders --follow                every order from now on, as it is made
  bazaar status                         every process, and what the cluster can bear
  bazaar check --output json            compare all keepers, for a program

Every flag has an environment variable: BAZAAR_<COMMAND>_<FLAG>, or BAZAAR_<FLAG> for those of all commands. The
command line wins over the variable. For a flag without a value, 0, false, no, off and nothing mean that it is not
given. NO_COLOR and CLICOLOR_FORCE are heeded.";

/// All commands and flags.
pub fn command() -> Command {
    let codes: Vec<String> = Exit::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning())).collect();
    let after = format!("{EXAMPLES}\n\nExit codes:\n{}", codes.join("\n"));
    with_variables(Cli::command(), &[]).after_help(after)
}

/// Reads the command line; ends the process if it is wrong, or asks for help.
pub fn parse() -> Cli {
    let matches = command().try_get_matches().unwrap_or_else(|error| refuse(&error));
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Says what is wrong with the arguments, or prints the help that was asked for.
fn refuse(error: &Error) -> ! {
    if error.kind() != ErrorKind::ValueValidation {
        error.exit();
    }
    print_note(in_words(&error.to_string()).trim_end());
    std::process::exit(Exit::Usage.code().into())
}

/// What the standard library says of a text that is no number, in words for people.
fn in_words(said: &str) -> String {
    said.replace("invalid digit found in string", "give a whole number")
}

fn with_variables(command: Command, path: &[String]) -> Command {
    let command = command.mut_args(|arg| if arg.is_positional() { arg } else { with_variable(arg, path) });
    command.mut_subcommands(|below| {
        let path = [path, &[below.get_name().to_owned()]].concat();
        with_variables(below, &path)
    })
}

fn with_variable(arg: Arg, path: &[String]) -> Arg {
    // The tree is made once or twice in the life of a process, and clap keeps names for as long as that.
    let name: &'static str = variable(path, &arg).leak();
    let arg = arg.env(name).hide_env_values(true);
    if matches!(arg.get_action(), ArgAction::SetTrue) { arg.value_parser(FalseyValueParser::new()) } else { arg }
}

/// The environment variable of a flag of the command at this path.
fn variable(path: &[String], arg: &Arg) -> String {
    let flag = arg.get_long().unwrap_or(arg.get_id().as_str());
    let words: Vec<&str> = std::iter::once("bazaar").chain(path.iter().map(String::as_str)).chain([flag]).collect();
    words.join("_").replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, ArgMatches, Command};

    use super::command;

    /// Each command of the tree with its path.
    fn all() -> Vec<(String, Command)> {
        fn collect(command: &Command, path: &str, into: &mut Vec<(String, Command)>) {
            into.push((path.to_owned(), command.clone()));
            for below in command.get_subcommands() {
                collect(below, &format!("{path} {}", below.get_name()), into);
            }
        }
        let mut found = Vec::new();
        collect(&command(), "bazaar", &mut found);
        found
    }

    /// The command that a command line calls, with those above it.
    fn called(matches: &ArgMatches) -> String {
        let below = matches.subcommand().map(|(name, below)| called(below).replacen("bazaar", name, 1));
        ["bazaar".to_owned()].into_iter().chain(below).collect::<Vec<_>>().join(" ")
    }

    fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
        command.get_arguments().filter(|arg| !arg.is_positional())
    }

    #[test]
    fn every_flag_has_an_environment_variable_of_its_own_that_no_process_reads() {
        let mut seen = BTreeSet::new();
        for (path, command) in all() {
            for flag in flags(&command) {
                let name = flag.get_env().and_then(|name| name.to_str());
                let name = name.unwrap_or_else(|| panic!("'{path}' has a flag without a variable: {}", flag.get_id()));
                assert!(seen.insert(name.to_owned()), "{name} is the variable of two flags");
                let foreign = ["BAZAAR_FRONTEND_", "BAZAAR_CATALOG_", "BAZAAR_ORDER_"];
                assert!(!foreign.iter().any(|prefix| name.starts_with(prefix)), "{name} configures a process");
                assert!(!["BAZAAR_LOG", "BAZAAR_LOG_FORMAT", "BAZAAR_CLUSTER"].contains(&name), "{name} has a use");
            }
        }
        for expected in ["BAZAAR_URL", "BAZAAR_CONFIG", "BAZAAR_OUTPUT", "BAZAAR_WORKLOAD_REQUESTS"] {
            assert!(seen.contains(expected), "{expected}");
        }
    }

    #[test]
    fn every_command_and_every_argument_is_explained() {
        for (path, command) in all() {
            assert!(command.get_about().is_some(), "'{path}' is not explained");
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 10, "'{path}': {} is not explained: '{help}'", arg.get_id());
            }
        }
    }

    #[test]
    fn every_command_ends_its_help_with_examples_that_parse() {
        for (path, command) in all() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = text.lines().filter_map(|line| line.strip_prefix("  bazaar "));
            // Two spaces begin the remark beside an example.
            let examples: Vec<&str> = lines.map(|line| line.split("  ").next().unwrap_or_default()).collect();
            assert!(text.contains("Examples:\n") && !examples.is_empty(), "'{path}' has no examples");
            for example in examples {
                let shown = format!("bazaar {example}");
                let words = shown.split_whitespace().map(|word| word.trim_matches('\''));
                let matches = super::command().try_get_matches_from(words);
                let matches = matches.unwrap_or_else(|error| panic!("'{shown}': {error}"));
                assert!(called(&matches).starts_with(&path), "'{shown}' is no example of '{path}'");
            }
        }
    }
}
