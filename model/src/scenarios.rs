//! Searches that are small enough to be finished, each with a part of what can go wrong.

use bazaar_domain::mutants::Mutant;

use crate::{bounds::Bounds, goals::Goal};

/// A named search.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What may happen.
    pub bounds: Bounds,
    /// What must have been seen to happen, so that the result means something.
    pub goals: &'static [Goal],
}

const BASE: &[Goal] = &[Goal::Served, Goal::ServedNewValue, Goal::AnsweredByAck, Goal::AnsweredWithoutAck];
const CACHED: &[Goal] = &[
    Goal::Served,
    Goal::ServedNewValue,
    Goal::AnsweredByAck,
    Goal::AnsweredWithoutAck,
    Goal::Hit,
    Goal::HitNewValue,
    Goal::FillRefused,
    Goal::AckCounted,
    Goal::FreedByLeaseEnd,
    Goal::LeasedAgain,
];

/// All of them.
pub fn all() -> Vec<Scenario> {
    let base = Bounds::smallest;
    vec![
        Scenario {
            name: "one-leader",
            about: "one leader, one trade, one frontend; messages are late or lost, processes stand still",
            bounds: Bounds { ticks: 4, ..base() },
            goals: CACHED,
        },
        Scenario {
            name: "late-messages",
            about: "two trades; invalidations and acks come late, and one comes twice",
            bounds: Bounds { ticks: 2, trades: vec![0, 0], repeats: 1, has_stale_messages: true, ..base() },
            goals: &[Goal::AckCounted, Goal::AckIgnored, Goal::HitNewValue],
        },
        Scenario {
            name: "two-leaders",
            about: "the votes go to another replica, twice; no cache",
            bounds: Bounds { replicas: 2, elections: 2, frontends: 0, trades: vec![0, 0], ticks: 4, ..base() },
            goals: &[Goal::Served, Goal::AnsweredByAck, Goal::AnsweredBySecondLeader, Goal::DeposedGranted],
        },
        Scenario {
            name: "leader-and-cache",
            about: "the votes go to another replica, and the catalog crashes, with one cache",
            bounds: Bounds { replicas: 2, elections: 1, crashes: 1, has_older_copies: true, ticks: 3, ..base() },
            goals: &[Goal::HitNewValue, Goal::AnsweredBySecondLeader, Goal::DeposedGranted, Goal::ServedAfterCrash],
        },
        Scenario {
            name: "catalog-crash",
            about: "the catalog crashes, and finds its copy or an older one",
            bounds: Bounds { crashes: 1, has_older_copies: true, ticks: 4, ..base() },
            goals: &[Goal::ServedAfterCrash, Goal::Hit, Goal::HitNewValue, Goal::AckCounted],
        },
        Scenario {
            name: "leader-and-crashes",
            about: "the votes go to another replica, and the catalog crashes twice; no cache",
            bounds: Bounds {
                replicas: 2,
                elections: 1,
                crashes: 2,
                has_older_copies: true,
                frontends: 0,
                ticks: 5,
                ..base()
            },
            goals: &[Goal::ServedAfterCrash, Goal::AnsweredBySecondLeader, Goal::AnsweredWithoutAck],
        },
        Scenario {
            name: "two-frontends",
            about: "two caches",
            bounds: Bounds { frontends: 2, ticks: 2, ..base() },
            goals: &[Goal::Hit, Goal::HitNewValue, Goal::AckCounted],
        },
        Scenario {
            name: "sessions",
            about: "two lease requests of a frontend are under way at a time, and one comes twice",
            bounds: Bounds { requests: 2, repeats: 1, ticks: 3, ..base() },
            goals: CACHED,
        },
        Scenario {
            name: "eviction",
            about: "two stocks and a cache that holds one",
            bounds: Bounds { stocks: 2, ticks: 3, ..base() },
            goals: &[Goal::Evicted, Goal::HitNewValue],
        },
        Scenario {
            name: "inventories",
            about: "the catalog is sent whole inventories as well, old ones too",
            bounds: Bounds { has_snapshots: true, trades: vec![0, 0], ticks: 2, ..base() },
            goals: &[Goal::InventoryExposed, Goal::HitNewValue],
        },
        Scenario {
            name: "divergence",
            about: "the catalog decides a trade differently and is healed",
            bounds: Bounds { divergences: 1, ticks: 2, ..base() },
            goals: &[Goal::InventoryExposed, Goal::Healed, Goal::HitNewValue],
        },
        Scenario {
            name: "shared-fetches",
            about: "fetches reach the catalog late, and lookups wait for fetches of others",
            bounds: Bounds { has_slow_fetches: true, has_joins: true, ticks: 3, ..base() },
            goals: &[Goal::Shared, Goal::HitNewValue],
        },
        Scenario {
            name: "late-grants",
            about: "grants reach the catalog late",
            bounds: Bounds { has_late_grants: true, ticks: 3, ..base() },
            goals: BASE,
        },
        Scenario {
            name: "slow-clock",
            about: "one clock misses one tick, and the margin is one tick",
            bounds: Bounds { missed_ticks: 1, margin_percent: 50, ticks: 4, ..base() },
            goals: &[Goal::Hit, Goal::HitNewValue, Goal::AnsweredWithoutAck],
        },
        Scenario {
            name: "slow-clock-of-leaders",
            about: "the same with two leaders and no cache",
            bounds: Bounds {
                missed_ticks: 1,
                margin_percent: 50,
                replicas: 2,
                elections: 1,
                frontends: 0,
                ticks: 5,
                ..base()
            },
            goals: &[Goal::AnsweredWithoutAck, Goal::AnsweredBySecondLeader, Goal::DeposedGranted],
        },
    ]
}

/// The scenario of that name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// The scenario that shows what goes wrong under a mutant; `None` if the model has no part in which it could.
pub fn of_mutant(mutant: Mutant) -> Option<&'static str> {
    let name = match mutant {
        Mutant::GrantFromNow | Mutant::GrantBeforeOwnTerm | Mutant::NoWaitForPredecessors => "two-leaders",
        Mutant::LeaseFromAnswer => "late-grants",
        Mutant::NoSilenceAfterStart => "catalog-crash",
        Mutant::AnyAckCounts => "late-messages",
        Mutant::OlderSessionReplaces | Mutant::AnySessionsAnswer => "sessions",
        Mutant::FillFromBeforeHealing => "divergence",
        Mutant::OldSnapshotTaken | Mutant::SnapshotNotInvalidated => "inventories",
        Mutant::JoinEarlierFetch => "shared-fetches",
        Mutant::FillPending => "two-frontends",
        Mutant::IgnoreFloor
        | Mutant::FrontendLeaseNotNested
        | Mutant::ReleaseDespiteGrants
        | Mutant::ReleaseOnlyByAck
        | Mutant::ReadsSkipTheGate
        | Mutant::ReportApplied
        | Mutant::IgnoreAcks
        | Mutant::SessionOutlivesLapse
        | Mutant::FillOfEarlierSession
        | Mutant::FillWithoutLease
        | Mutant::FillBelowFloor
        | Mutant::HitWithoutLease => "one-leader",
        // Raft, its log and apply are abstract here, and no search is so large that one change in a hundred matters.
        Mutant::DropSomeInvalidations
        | Mutant::AnswerBeforeSync
        | Mutant::RetryFailedSync
        | Mutant::SkipReadIndex
        | Mutant::NumberFromLogIndex
        | Mutant::UnorderedApply
        | Mutant::ApplyInTwoWrites
        | Mutant::SnapshotWithoutOutcomes => return None,
    };
    Some(name)
}
