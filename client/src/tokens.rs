//! `bazaar tokens`: makes a token for the file that the configuration's `[auth]` names.

use anyhow::Result;
use bazaar_domain::KeyScope;
use bazaar_service::auth::tokens::{Permission, date_in, hash};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{Context, output::Report};

/// Says what the text is for, and lets those who look for leaked secrets find it.
const PREFIX: &str = "bazaar_";

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar tokens new till-1 --scope trade             may trade and read
  bazaar tokens new watcher --scope read --days 90   may look, for 90 days
  bazaar tokens new ops --scope admin --scope read";

/// The arguments of `bazaar tokens`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokensArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: TokensAction,
}

/// What to do about tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokensAction {
    /// Print a new token, which is kept nowhere, and what to put into the file of tokens.
    #[command(after_help = EXAMPLES)]
    New(NewArgs),
}

/// A new token.
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// Its name. Keys belong to it: another token of the same name goes on with the same keys.
    #[arg(value_parser = parse_name)]
    pub name: KeyScope,
    /// What it permits: trade (and read), read, or admin; can be given several times.
    #[arg(long = "scope", required = true)]
    pub scopes: Vec<Permission>,
    /// For how many days it is valid [default: for ever].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: Option<u32>,
}

fn parse_name(text: &str) -> Result<KeyScope, String> {
    KeyScope::new(text).map_err(|word| word.0)
}

/// Runs the command.
///
/// # Errors
/// None today.
pub fn run(context: &Context, args: &TokensArgs) -> Result<()> {
    let TokensAction::New(args) = &args.action;
    context.printer.print(&made(args));
    Ok(())
}

#[derive(Debug, Serialize)]
struct Made {
    token: String,
    entry: String,
}

fn made(args: &NewArgs) -> Made {
    let token = format!("{PREFIX}{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let scopes: Vec<String> = args.scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let mut entry =
        format!("[[token]]\nname = \"{}\"\nhash = \"{}\"\nscopes = [{}]\n", args.name, hash(&token), scopes.join(", "));
    if let Some(days) = args.days {
        entry += &format!("expires = {}\n", date_in(days));
    }
    Made { token, entry }
}

impl Report for Made {
    fn to_text(&self, _colour: bool) -> String {
        format!(
            "{}\n\nIt is shown only now. Put this into the file of tokens:\n\n{}",
            self.token,
            self.entry.trim_end()
        )
    }
}

#[cfg(test)]
mod tests {
    use bazaar_service::auth::tokens::Tokens;

    use super::*;

    #[test]
    fn what_is_printed_can_be_put_into_the_file_and_no_two_tokens_are_the_same() {
        let args = NewArgs {
            name: KeyScope::new("till-1").unwrap(),
            scopes: vec![Permission::Trade, Permission::Admin],
            days: Some(30),
        };
        let (one, other) = (made(&args), made(&args));
        Tokens::parse(&one.entry).unwrap();
        assert_ne!(one.token, other.token);
        assert!(!one.entry.contains(&one.token) && one.entry.contains("expires = "), "{}", one.entry);
    }
}
