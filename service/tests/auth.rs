//! Tokens: what each permits, and what is none.

use std::fs;

use axum::http::{HeaderMap, HeaderValue, header};
use bazaar_domain::{ErrorKind, config::AuthConfig};
use bazaar_service::{
    Auth,
    auth::tokens::{self, Permission, Tokens},
};
use tempfile::TempDir;

const TRADER: &str = "of-the-trader";
const READER: &str = "of-the-reader";
const OLD: &str = "of-a-trader-before";

fn entry(name: &str, token: &str, scopes: &str, more: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\nhash = \"{}\"\nscopes = [{scopes}]\n{more}\n", tokens::hash(token))
}

fn content() -> String {
    entry("till", TRADER, "\"trade\"", &format!("expires = {}", tokens::date_in(1)))
        + &entry("page", READER, "\"read\"", "")
        + &entry("old", OLD, "\"trade\"", &format!("expires = {}", tokens::date_in(0)))
}

fn auth(dir: &TempDir, anonymous_reads: bool) -> Auth {
    let file = dir.path().join("tokens.toml");
    fs::write(&file, content()).unwrap();
    Auth::load(Some(&AuthConfig { tokens: file.to_string_lossy().into_owned(), anonymous_reads })).unwrap()
}

fn with(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

fn checked(auth: &Auth, values: &[&str], wanted: Permission) -> Result<Option<String>, ErrorKind> {
    let checked = auth.check(&with(values), wanted);
    checked.map(|name| name.map(|name| name.to_string())).map_err(|failure| failure.0.kind)
}

#[tokio::test]
async fn a_token_permits_what_its_scopes_say() {
    let dir = TempDir::new().unwrap();
    let auth = auth(&dir, false);
    let (trader, reader) = (format!("Bearer {TRADER}"), format!("bearer  {READER}"));
    for (value, wanted, result) in [
        (&trader, Permission::Trade, Ok(Some("till".to_owned()))),
        (&trader, Permission::Read, Ok(Some("till".to_owned()))),
        (&trader, Permission::Admin, Err(ErrorKind::Forbidden)),
        (&reader, Permission::Read, Ok(Some("page".to_owned()))),
        (&reader, Permission::Trade, Err(ErrorKind::Forbidden)),
    ] {
        assert_eq!(checked(&auth, &[value], wanted), result, "{value} {wanted}");
    }
}

#[tokio::test]
async fn what_is_no_valid_token_is_nobodys() {
    let dir = TempDir::new().unwrap();
    let auth = auth(&dir, false);
    let (trader, old) = (format!("Bearer {TRADER}"), format!("Bearer {OLD}"));
    let basic = format!("Basic {TRADER}");
    let hash = format!("Bearer {}", tokens::hash(TRADER));
    let cases: [&[&str]; 8] =
        [&[], &["Bearer"], &["Bearer "], &["Bearer x"], &[&old], &[&basic], &[&hash], &[&trader, &trader]];
    for case in cases {
        assert_eq!(checked(&auth, case, Permission::Read), Err(ErrorKind::Unauthenticated), "{case:?}");
    }
}

#[tokio::test]
async fn reads_may_be_for_all_but_a_wrong_token_stays_wrong() {
    let dir = TempDir::new().unwrap();
    let auth = auth(&dir, true);
    assert_eq!(checked(&auth, &[], Permission::Read), Ok(None));
    assert_eq!(checked(&auth, &["Bearer x"], Permission::Read), Err(ErrorKind::Unauthenticated));
    assert_eq!(checked(&auth, &[], Permission::Trade), Err(ErrorKind::Unauthenticated));
    assert_eq!(checked(&Auth::default(), &[], Permission::Admin), Ok(None), "nobody is asked without tokens");
}

#[tokio::test]
async fn a_changed_file_counts_unless_it_is_wrong() {
    let dir = TempDir::new().unwrap();
    let auth = auth(&dir, false);
    let file = dir.path().join("tokens.toml");
    let reader = format!("Bearer {READER}");
    let again = |text: String| {
        fs::write(&file, text).unwrap();
        auth.reload();
        checked(&auth, &[&reader], Permission::Read)
    };
    assert!(again("[[token]]\nname = 1".into()).is_ok(), "the old tokens stay");
    assert_eq!(again(entry("till", TRADER, "\"trade\"", "")), Err(ErrorKind::Unauthenticated), "taken away");
    assert!(again(content()).is_ok());
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let twice = entry("a", "x", "\"read\"", "") + &entry("a", "y", "\"read\"", "");
    let short = "[[token]]\nname = \"a\"\nhash = \"abc\"\nscopes = [\"read\"]\n".to_owned();
    for (text, why) in [
        (twice, "given twice"),
        (entry("a", "x", "", ""), "has no scopes"),
        (entry("a b", "x", "\"read\"", ""), "a token's name is"),
        (short, "hash of the token a"),
        (entry("a", "x", "\"read\"", "expires = 12:00:00"), "the token a"),
        (entry("a", "x", "\"write\"", ""), "write"),
    ] {
        let error = format!("{:#}", Tokens::parse(&text).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
}
