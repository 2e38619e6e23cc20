//! What is compared between replicas before any order is read: who answers, digests, and how many orders they hold.

use std::time::Duration;

use bazaar_domain::{ReplicaId, api::DigestView};
use futures::future::join_all;
use tokio::time::Instant;

use crate::{admin::Replica, api::Failure};

use super::report::Row;

/// How often the replicas are asked while one lags behind.
const POLL_PERIOD: Duration = Duration::from_millis(200);

/// How many orders each replica holds, or why it does not say.
pub type OrderCounts = Vec<(ReplicaId, Result<u64, String>)>;

/// Asks every replica how many orders it holds.
pub async fn order_counts(replicas: &[Replica]) -> OrderCounts {
    let looks = replicas.iter().map(async |replica| {
        let health = replica.health().await;
        (replica.id, health.map(|health| health.orders).map_err(|failure| failure.to_string()))
    });
    join_all(looks).await
}

/// Who answers, and whether that is enough.
pub fn reachable_row(counts: &OrderCounts, allow_unreachable: bool) -> Row {
    const NAME: &str = "replicas answer";
    let missing: Vec<String> =
        counts.iter().filter_map(|(id, count)| count.as_ref().err().map(|reason| format!("{id}: {reason}"))).collect();
    let text = format!("{} of {}", counts.len() - missing.len(), counts.len());
    let text = if missing.is_empty() { text } else { format!("{text}; {}", missing.join(", ")) };
    let enough = missing.is_empty() || (allow_unreachable && missing.len() < counts.len());
    if enough { Row::pass(NAME, text) } else { Row::fail(NAME, text) }
}

/// Asks for the digests at one number and compares them.
pub async fn digest_row(replicas: &[Replica], number: u64) -> Row {
    let digests = join_all(replicas.iter().map(async |replica| (replica.id, replica.digest(number).await)));
    compare_digests(number, &digests.await)
}

fn compare_digests(number: u64, digests: &[(ReplicaId, Result<DigestView, Failure>)]) -> Row {
    const NAME: &str = "digests are equal";
    let mut complaints = Vec::new();
    let mut found = Vec::new();
    for (id, digest) in digests {
        match digest {
            Ok(view) if view.number != number => {
                complaints.push(format!("replica {id} gives the digest at {} instead of {number}", view.number));
            }
            Ok(view) => found.push((id, &view.digest)),
            Err(failure) => complaints.push(format!("replica {id} gives no digest at {number}: {failure}")),
        }
    }
    if found.windows(2).any(|pair| pair[0].1 != pair[1].1) {
        let all: Vec<String> = found.iter().map(|(id, digest)| format!("{id}: {digest}")).collect();
        complaints.push(format!("at number {number} the digests are {}", all.join(", ")));
    }
    let shown = found.first().map_or("no replica", |(_, digest)| digest.as_str());
    Row::of(NAME, &complaints, format!("at number {number}: {shown}"))
}

/// Waits until all these replicas hold the same number of orders; returns that number, or the largest.
pub async fn same_count_row(replicas: &[Replica], wait_max: Duration) -> (Row, u64) {
    const NAME: &str = "replicas hold the same number of orders";
    let deadline = Instant::now() + wait_max;
    loop {
        let counts = order_counts(replicas).await;
        let held: Vec<u64> = counts.iter().filter_map(|(_, count)| count.as_ref().ok().copied()).collect();
        let most = held.iter().copied().max().unwrap_or(0);
        if held.len() == replicas.len() && held.iter().all(|count| *count == most) {
            return (Row::pass(NAME, most.to_string()), most);
        }
        if Instant::now() >= deadline {
            let text = |count: &Result<u64, String>| count.as_ref().map_or_else(String::clone, u64::to_string);
            let all: Vec<String> = counts.iter().map(|(id, count)| format!("{id}: {}", text(count))).collect();
            let details =
                format!("after {} s still {}; stop trading and check again", wait_max.as_secs(), all.join(", "));
            return (Row::fail(NAME, details), most);
        }
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(number: u64, digest: &str) -> Result<DigestView, Failure> {
        Ok(DigestView { number, digest: digest.into(), orders: 9 })
    }

    #[test]
    fn equal_digests_pass_and_one_different_or_missing_one_does_not() {
        let row = |digests: &[(ReplicaId, Result<DigestView, Failure>)]| compare_digests(7, digests).passed;
        assert!(row(&[(1, view(7, "ab")), (2, view(7, "ab")), (3, view(7, "ab"))]));
        assert!(!row(&[(1, view(7, "ab")), (2, view(7, "ab")), (3, view(7, "cd"))]));
        assert!(!row(&[(1, view(7, "ab")), (2, view(6, "ab"))]));
        assert!(!row(&[(1, view(7, "ab")), (2, Err(Failure::Timeout))]));
    }

    #[test]
    fn an_unreachable_replica_fails_unless_it_is_allowed_and_another_one_answers() {
        let counts = vec![(1, Ok(3)), (2, Err("refused".into()))];
        assert!(!reachable_row(&counts, false).passed);
        let allowed = reachable_row(&counts, true);
        assert!(allowed.passed);
        assert_eq!(allowed.details, "1 of 2; 2: refused");
        assert!(!reachable_row(&vec![(1, Err("refused".into()))], true).passed);
    }
}
