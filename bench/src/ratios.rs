//! How many times faster than a peer. Pure.

use serde::Serialize;

use crate::point::Point;

/// A row of ours against one of a peer, with as many clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// Our row.
    pub ours: String,
    /// Theirs.
    pub theirs: String,
    /// Our rate by theirs.
    pub rate: f64,
    /// Their median latency by ours.
    pub p50: f64,
    /// Their 99th percentile by ours.
    pub p99: f64,
}

/// All ratios that the measured rows give.
pub fn ratios(points: &[Point]) -> Vec<Ratio> {
    let named = |name: &str| points.iter().find(|point| point.name == name);
    let peers = points.iter().filter(|point| point.name.starts_with("postgres-") || point.name.starts_with("etcd-"));
    let of = |theirs: &Point| {
        let kind = if theirs.name.starts_with("postgres-read-") { "reads" } else { "trades" };
        let ours = named(&format!("{kind}-{}", theirs.clients))?;
        Some(Ratio {
            ours: ours.name.clone(),
            theirs: theirs.name.clone(),
            rate: ours.rate_per_s.median / theirs.rate_per_s.median,
            p50: theirs.p50_ms.median / ours.p50_ms.median,
            p99: theirs.p99_ms.median / ours.p99_ms.median,
        })
    };
    peers.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::one;

    #[test]
    fn each_row_of_a_peer_meets_ours_with_as_many_clients() {
        let point = |name: &str, clients, rate| Point::new(name, clients, vec![one(rate, 0.01, 0.0)]);
        let points = [
            point("trades-64", 64, 30_000.0),
            point("reads-64", 64, 17_000.0),
            point("postgres-trade-64", 64, 2_000.0),
            point("postgres-read-64", 64, 34_000.0),
            point("etcd-put-1", 1, 1_000.0),
        ];
        let found = ratios(&points);
        let short: Vec<_> =
            found.iter().map(|one| (one.ours.as_str(), one.theirs.as_str(), one.rate, one.p99)).collect();
        assert_eq!(
            short,
            [("trades-64", "postgres-trade-64", 15.0, 1.0), ("reads-64", "postgres-read-64", 0.5, 1.0)],
            "etcd with one client has nothing to be compared with"
        );
    }
}
