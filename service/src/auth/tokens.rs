//! The file of tokens. It holds their hashes only: who reads it cannot use them.

use std::{collections::HashSet, fmt, str::FromStr, time::SystemTime};

use anyhow::{Context, Result, bail, ensure};
use bazaar_domain::KeyScope;
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

/// Most tokens in a file: each request is compared with all of them.
const TOKENS_MAX: usize = 1_000;
/// Seconds of a day.
const DAY_SECS: u64 = 24 * 3_600;

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// To trade, and to read.
    Trade,
    /// To look up stocks and orders.
    Read,
    /// To list and reprice stocks, to change members, to hand the leadership over.
    Admin,
}

impl Permission {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Read => "read",
            Self::Admin => "administrate",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trade => "trade",
            Self::Read => "read",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Trade, Self::Read, Self::Admin];
        all.into_iter().find(|one| one.to_string() == text).ok_or_else(|| "it is trade, read or admin".into())
    }
}

/// What is kept of a token: BLAKE3 of its text, in hexadecimal.
pub fn hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

/// One token.
#[derive(Debug)]
pub(super) struct Token {
    name: KeyScope,
    hash: blake3::Hash,
    scopes: Vec<Permission>,
    /// The first day on which it is not valid any more, counted from 1970.
    expires_day: Option<u64>,
}

impl Token {
    pub(super) fn name(&self) -> &KeyScope {
        &self.name
    }

    pub(super) fn permits(&self, wanted: Permission) -> bool {
        let has = |one| self.scopes.contains(&one);
        has(wanted) || (wanted == Permission::Read && has(Permission::Trade))
    }

    fn is_valid(&self, today: u64) -> bool {
        self.expires_day.is_none_or(|day| today < day)
    }
}

/// All tokens of a file.
#[derive(Debug)]
pub struct Tokens(Vec<Token>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "token")]
    tokens: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    hash: String,
    scopes: Vec<Permission>,
    expires: Option<Datetime>,
}

impl Tokens {
    /// Reads and checks a file's content.
    ///
    /// # Errors
    /// If it does not parse, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self> {
        let File { tokens } = toml::from_str(text)?;
        ensure!(tokens.len() <= TOKENS_MAX, "more than {TOKENS_MAX} tokens");
        let tokens: Vec<Token> = tokens.into_iter().map(token).collect::<Result<_>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = tokens.iter().find(|token| !names.insert(token.name.as_str())) {
            bail!("the name {} is given twice, and each token has its own keys", twice.name);
        }
        Ok(Self(tokens))
    }

    /// The token of this text, if it is valid now.
    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        let hash = blake3::hash(text.as_bytes());
        // Hashes compare in constant time, and all are looked at: how long it takes tells nothing of any token.
        let found = self.0.iter().fold(None, |found, token| if token.hash == hash { Some(token) } else { found });
        found.filter(|token| token.is_valid(today()))
    }
}

fn token(entry: Entry) -> Result<Token> {
    let name = KeyScope::new(&entry.name)?;
    ensure!(!entry.scopes.is_empty(), "the token {name} has no scopes; give some of trade, read and admin");
    let hash = blake3::Hash::from_hex(&entry.hash)
        .with_context(|| format!("the hash of the token {name} is not what 'bazaar tokens new' prints"))?;
    let expires_day =
        entry.expires.map(|date| day_of(&date).with_context(|| format!("the token {name}"))).transpose()?;
    Ok(Token { name, hash, scopes: entry.scopes, expires_day })
}

fn today() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY_SECS
}

/// The day of a date, counted from 1970.
fn day_of(date: &Datetime) -> Result<u64> {
    match date {
        Datetime { date: Some(date), time: None, offset: None } => {
            let days = days_before(i64::from(date.year), i64::from(date.month), i64::from(date.day));
            u64::try_from(days).context("a date before 1970")
        }
        _ => bail!("expires is a date, such as 2030-01-31"),
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the leap day is the last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_TO_1970: i64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_1970
}

/// The date so many days from today, as `expires` takes it.
pub fn date_in(days: u32) -> String {
    let wanted = i64::try_from(today()).expect("before the year 9999") + i64::from(days);
    // A year, month and day that are too early by less than a year, a month and a day, one after the other.
    let year = (1970..).take_while(|year| days_before(*year, 1, 1) <= wanted).last().unwrap_or(1970);
    let month = (1..=12).take_while(|month| days_before(year, *month, 1) <= wanted).last().unwrap_or(1);
    let day = wanted - days_before(year, month, 1) + 1;
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_as_in_the_calendar() {
        let dates = [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2026, 11, 21), 20_778)];
        for ((year, month, day), days) in dates {
            assert_eq!(days_before(year, month, day), days, "{year}-{month}-{day}");
        }
        let parsed = |text: &str| day_of(&text.parse().unwrap());
        for days in [0, 1, 30, 365, 3_650] {
            assert_eq!(parsed(&date_in(days)).unwrap(), today() + u64::from(days));
        }
        assert!(parsed("2030-01-01T00:00:00Z").is_err());
    }
}
