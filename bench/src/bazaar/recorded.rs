//! Answers of the frontend, recorded for the bare server.

use anyhow::Result;
use reqwest::Client;
use serde::{Deserialize, Serialize};

/// Headers that a web server makes itself.
const OWN_HEADERS: [&str; 3] = ["content-length", "date", "connection"];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// Its headers, but for those that a web server makes itself.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// The answers that lookups need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// To `GET /stocks`, by which the load generator begins.
    pub list: RecordedAnswer,
    /// To `GET /stocks/{name}`.
    pub stock: RecordedAnswer,
}

impl Recorded {
    /// Asks a frontend.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn of(client: &Client, url: &str) -> Result<Self> {
        let list = record(client, &format!("{url}/stocks")).await?;
        // Twice: the second one comes from the cache, as nearly all do later.
        record(client, &format!("{url}/stocks/S0")).await?;
        Ok(Self { list, stock: record(client, &format!("{url}/stocks/S0")).await? })
    }
}

async fn record(client: &Client, url: &str) -> Result<RecordedAnswer> {
    let answer = client.get(url).send().await?.error_for_status()?;
    let kept = answer.headers().iter().filter(|(name, _)| !OWN_HEADERS.contains(&name.as_str()));
    let headers = kept.map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())));
    Ok(RecordedAnswer { headers: headers.collect::<Result<_>>()?, body: answer.text().await? })
}
