//! Rules that processes break on purpose, and the faults that must show it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Chaos, Check, Kind, prepared_with};

/// A rule that is broken in all processes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Its name among `bazaar_domain::mutants`.
    pub mutant: &'static str,
    /// What then happens.
    pub what: &'static str,
    /// The faults under which it must be noticed.
    pub faults: &'static [Kind],
    /// What else the configuration says.
    config: &'static str,
}

/// Every rule that is broken in real processes.
pub const BROKEN: &[Broken] = &[
    Broken {
        mutant: "answer-before-sync",
        what: "a replica says that its log is on disk before it is",
        faults: &[Kind::PowerLossAll],
        config: "",
    },
    Broken {
        mutant: "release-despite-grants",
        what: "trades are answered before the catalog's ack",
        faults: &[Kind::LeaderCatalog, Kind::Freeze],
        config: "",
    },
    Broken {
        mutant: "drop-some-invalidations",
        what: "one invalidation in a hundred is not sent",
        faults: &[Kind::Kill],
        config: "",
    },
    Broken {
        mutant: "ignore-acks",
        what: "the catalog does not wait for acks of its invalidations",
        faults: &[Kind::Kill, Kind::Freeze],
        config: "",
    },
    Broken {
        mutant: "hit-without-lease",
        what: "caches answer although their lease is over",
        faults: &[Kind::Kill, Kind::Freeze, Kind::FrontendCatalog],
        config: "",
    },
    Broken {
        mutant: "fill-below-floor",
        what: "caches take answers from before an invalidation",
        faults: &[Kind::Kill, Kind::Freeze],
        config: "",
    },
    Broken {
        mutant: "skip-read-index",
        what: "order reads are not confirmed by a quorum",
        faults: &[Kind::Halves],
        // A leader that is cut off refuses after this time, whoever leads by then: with the default, about when its
        // successor answers first.
        config: "raft.quorum_ack_age_max_ms = 3000",
    },
    Broken {
        mutant: "snapshot-without-outcomes",
        what: "a snapshot lacks the outcomes of its keys",
        faults: &[Kind::Wiped, Kind::Kill],
        config: "",
    },
    Broken {
        mutant: "number-from-log-index",
        what: "order numbers come from the log index",
        faults: &[Kind::Kill],
        config: "",
    },
    Broken {
        mutant: "apply-in-two-writes",
        what: "what is applied and up to where are two writes",
        faults: &[Kind::PowerLossAll],
        config: "",
    },
    Broken {
        mutant: "retry-failed-sync",
        what: "a failed sync is tried again",
        faults: &[Kind::PowerLossAll],
        config: "",
    },
    Broken {
        mutant: "unordered-apply",
        what: "a batch is applied in the order of an unordered map",
        faults: &[Kind::Kill],
        config: "",
    },
];

/// How a broken rule was noticed.
#[derive(Debug)]
pub struct Caught {
    /// What noticed it.
    pub check: Check,
    /// What it says.
    pub error: anyhow::Error,
    /// How long that took, over all rounds.
    pub after: Duration,
}

const FRONTENDS: u16 = 2;
/// A cluster suffers for this long before all that its clients saw is checked, and the next one begins.
const ROUND: Duration = Duration::from_secs(15);

impl Broken {
    /// Lets clusters that break the rule suffer until a check fails; `None` where this machine does not permit it.
    ///
    /// # Errors
    /// If no check of what clients are promised fails in this time.
    pub async fn caught_within(&self, limit: Duration, seed: u64) -> Result<Option<Caught>> {
        let began = Instant::now();
        for seed in seed.. {
            let cluster = prepared_with(FRONTENDS, self.config)?.with_mutant(self.mutant);
            let round = Instant::now() + ROUND;
            let suffered = match Chaos::begin_with_everything(cluster, seed).await {
                Ok(None) => return Ok(None),
                Ok(Some(mut chaos)) => chaos.suffer_until(self.faults, round).await,
                Err(error) => Err(error),
            };
            let after = began.elapsed();
            if let Err(error) = suffered {
                match Check::that_failed(&error).filter(|check| check.is_of_promises()) {
                    Some(check) => return Ok(Some(Caught { check, error, after })),
                    // Faults that could not be done show nothing, and slow machines recover late.
                    None => println!("seed {seed} ended early: {error:#}"),
                }
            }
            if after > limit {
                break;
            }
        }
        bail!("'{}' was not noticed in {limit:?}", self.mutant)
    }

    /// Lets a cluster of the same configuration that breaks no rule suffer from the same faults: then no check fails.
    /// `false` where this machine does not permit it.
    ///
    /// # Errors
    /// If one fails.
    pub async fn is_borne_unbroken(&self, seed: u64) -> Result<bool> {
        let cluster = prepared_with(FRONTENDS, self.config)?;
        let Some(mut chaos) = Chaos::begin_with_everything(cluster, seed).await? else { return Ok(false) };
        chaos.suffer_until(self.faults, Instant::now() + ROUND).await?;
        Ok(true)
    }
}
