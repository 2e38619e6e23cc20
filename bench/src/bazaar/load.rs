//! Loads by the project's own client.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use bazaar_tests::process;
use serde::Deserialize;

use crate::{answer::Answer, child};

/// How much longer than the load the client may take.
const SLACK: Duration = Duration::from_secs(60);

/// A load, as `bazaar bench` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// What is asked.
    pub kind: &'static str,
    /// Connections.
    pub connections: u64,
    /// Trades in a batch.
    pub batch_size: Option<u64>,
}

/// What we read of the client's report.
#[derive(Debug, Deserialize)]
struct Report {
    operations: u64,
    rate_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: BTreeMap<String, u64>,
}

impl Load {
    /// Runs it.
    ///
    /// # Errors
    /// If the client cannot start. Requests that fail are in the answer.
    pub async fn run(&self, url: &str, duration_s: u64) -> Result<Answer> {
        let (connections, duration) = (self.connections.to_string(), duration_s.to_string());
        let batch_size = self.batch_size.map(|size| size.to_string());
        let mut arguments = vec!["--output", "json", "--url", url, "bench", "--kind", self.kind];
        // Warm-up is a run of its own, so that what the processes take is looked at from the first request to the last.
        arguments.extend(["--warm-up-s", "0", "--connections", &connections, "--duration-s", &duration]);
        if let Some(size) = &batch_size {
            arguments.extend(["--batch-size", size]);
        }
        let limit = Duration::from_secs(duration_s) + SLACK;
        // Failed requests end the client with a failure, after its report.
        let ended = child::output(&child::under(None), &process::binary("bazaar"), arguments, limit).await?;
        let said = || String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        parse(&ended.stdout).with_context(|| format!("'bazaar bench' gave no report: {}", said()))
    }
}

fn parse(json: &[u8]) -> Result<Answer> {
    let Report { operations, rate_per_s, p50_ms, p99_ms, errors } = serde_json::from_slice(json)?;
    let errors = errors.values().sum();
    Ok(Answer { operations, rate_per_s, p50_ms, p99_ms, errors, conflicts_per_operation: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_with_the_sum_of_its_errors_and_other_fields_are_left() {
        let json = br#"{"kind":"trade","operations":9,"rate_per_s":4.5,"p50_ms":1.5,"p90_ms":2.0,"p99_ms":3.0,
            "errors":{"connection broke":2,"status 503 no_leader":3}}"#;
        let answer = parse(json).unwrap();
        assert_eq!((answer.operations, answer.rate_per_s, answer.errors), (9, 4.5, 5));
        assert_eq!((answer.p50_ms, answer.p99_ms), (1.5, 3.0));
        assert!(parse(b"").is_err());
    }
}
