//! The end of a workload: every acknowledged order is fetched back and compared.

use std::time::Duration;

use bazaar_domain::ErrorKind;

use crate::{
    api::{Failure, Frontend},
    retry::retrying,
};

use super::{record::Record, tally::Tally};

/// Fetches orders back, and counts those that are missing, differ, or cannot be read. Once one could not be read with
/// all its retries, the others get one attempt each: the service is down, and waiting for each would take for ever.
pub async fn fetch_back(frontend: &Frontend, retry_budget: Duration, orders: &[Record], tally: &mut Tally) {
    let mut budget = retry_budget;
    for record in orders {
        let read = retrying(budget, || frontend.order(record.number)).await;
        let verdict = compare(record, read.result);
        tally.order_reads.count(read.retries, read.elapsed, !matches!(verdict, Verdict::Unread(_)));
        match verdict {
            Verdict::Same => {}
            Verdict::Mismatch(sentence) => {
                tally.mismatches += 1;
                tally.complain(|| sentence);
            }
            Verdict::Unread(sentence) => {
                budget = Duration::ZERO;
                tally.unread += 1;
                tally.complain(|| sentence);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Mismatch(String),
    Unread(String),
}

fn compare(record: &Record, answer: Result<bazaar_domain::api::OrderView, Failure>) -> Verdict {
    match answer {
        Ok(order) => record.difference(&order).map_or(Verdict::Same, Verdict::Mismatch),
        Err(Failure::Answered { error, .. }) if error.kind == ErrorKind::OrderNotFound => {
            Verdict::Mismatch(format!("the acknowledged order is missing: {record}"))
        }
        Err(failure) => Verdict::Unread(format!("order {} could not be read back: {failure}", record.number)),
    }
}
