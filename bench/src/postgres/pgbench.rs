//! What pgbench prints and logs. Pure.

use anyhow::{Context, Result, ensure};

use crate::answer::Answer;

/// The figures of a run: rate and failures from what pgbench printed, latencies from its log of transactions.
///
/// # Errors
/// If pgbench printed something else than expected, or logged nothing.
pub fn answer(printed: &str, logs: &[String]) -> Result<Answer> {
    let mut latencies_us: Vec<u64> = Vec::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        latencies_us.extend(latency_us(line)?);
    }
    ensure!(!latencies_us.is_empty(), "pgbench logged no transaction; it printed: {printed}");
    latencies_us.sort_unstable();
    let ms = |quantile: f64| at_quantile(&latencies_us, quantile) as f64 / 1_000.0;
    Ok(Answer {
        operations: latencies_us.len() as u64,
        rate_per_s: value(printed, "tps = ").context("pgbench printed no rate")?,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        // Versions before 15 do not print it: any failure ends their client.
        errors: value(printed, "number of failed transactions: ").unwrap_or(0.0) as u64,
        conflicts_per_operation: None,
    })
}

/// The latency in a line `client transaction latency script second microsecond`; none if the transaction failed.
fn latency_us(line: &str) -> Result<Option<u64>> {
    match line.split_whitespace().nth(2) {
        Some("failed" | "skipped") => Ok(None),
        word => word.and_then(|word| word.parse().ok()).map(Some).with_context(|| format!("a strange line: {line}")),
    }
}

/// The smallest value that is not below so many of all.
fn at_quantile(sorted: &[u64], quantile: f64) -> u64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The number behind these words.
fn value(printed: &str, words: &str) -> Option<f64> {
    printed.lines().find_map(|line| line.strip_prefix(words)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "pgbench (15.18)\ntransaction type: trade.sql\nnumber of clients: 2\n\
        number of transactions actually processed: 3\nnumber of failed transactions: 1 (25.000%)\n\
        latency average = 0.5 ms\ntps = 3530.5 (without initial connection time)\n";

    #[test]
    fn rate_and_failures_come_from_the_text_and_latencies_from_the_logs() {
        let logs = [
            "0 1 500 0 1700000000 1\n0 2 failed 0 1700000000 2\n".to_owned(),
            "1 1 1500 0 1 1\n1 2 700 0 1 1\n".to_owned(),
        ];
        let found = answer(PRINTED, &logs).unwrap();
        assert_eq!((found.operations, found.rate_per_s, found.errors), (3, 3_530.5, 1));
        assert_eq!((found.p50_ms, found.p99_ms), (0.7, 1.5));
    }

    #[test]
    fn a_run_without_transactions_and_a_strange_log_are_errors() {
        assert!(answer(PRINTED, &[]).is_err());
        assert!(answer(PRINTED, &["0 1 x 0 1 1".to_owned()]).is_err());
        assert!(answer("nothing", &["0 1 500 0 1 1".to_owned()]).is_err());
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|quantile| at_quantile(&sorted, quantile)), [1, 100, 198, 200]);
        assert_eq!(at_quantile(&[7], 0.99), 7);
    }
}
