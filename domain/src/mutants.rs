//! Ways to break a rule on purpose, to show that a check would notice.
//!
//! A check that has never failed proves nothing. Each mutant switches off one rule of the protocol at the place where
//! the rule lives: those with a number are in `docs/leases.md`, the others among the invariants of `ARCHITECTURE.md`.
//! Without the feature `mutants` all of this is constant: no build that people use can be broken this way.

macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One rule broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $variant,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

mutants! {
    /// The holder of a lease counts it from when the answer came, not from when it asked.
    LeaseFromAnswer = "lease-from-answer",
    /// R1: a lease is counted from the leader's clock at the grant, not from when the acknowledged heartbeat was sent.
    GrantFromNow = "grant-from-now",
    /// R1: a leader grants, takes trades and serves reads before it has applied an entry of its own term.
    GrantBeforeOwnTerm = "grant-before-own-term",
    /// R2: the catalog uses a grant although it has not exposed its floor.
    IgnoreFloor = "ignore-floor",
    /// R2: a frontend's lease may outlast the catalog's.
    FrontendLeaseNotNested = "frontend-lease-not-nested",
    /// R3: a leader releases without an ack while a grant with a lower floor lasts.
    ReleaseDespiteGrants = "release-despite-grants",
    /// R3: a leader releases by acks alone. Nothing wrong is shown, but a catalog that takes no publish stops all answers.
    ReleaseOnlyByAck = "release-only-by-ack",
    /// R4: a new leader does not wait for the leases of its predecessors.
    NoWaitForPredecessors = "no-wait-for-predecessors",
    /// R5: order reads do not wait for the release of what they show.
    ReadsSkipTheGate = "reads-skip-the-gate",
    /// R6: a catalog that has just started is not silent.
    NoSilenceAfterStart = "no-silence-after-start",
    /// R7: the catalog reports what it has applied, not what it has exposed.
    ReportApplied = "report-applied",
    /// R7: an ack counts for any batch.
    AnyAckCounts = "any-ack-counts",
    /// The catalog exposes a batch without any ack of its invalidations.
    IgnoreAcks = "ignore-acks",
    /// R8: a lease request of an older session replaces the newer subscription.
    OlderSessionReplaces = "older-session-replaces",
    /// R8: a session takes the lease answer of another one.
    AnySessionsAnswer = "any-sessions-answer",
    /// R8: a cache whose lease lapsed goes on in the same session, with what it holds.
    SessionOutlivesLapse = "session-outlives-lapse",
    /// R9: the answer to a fetch of an earlier session is cached.
    FillOfEarlierSession = "fill-of-earlier-session",
    /// R9: the answer to a fetch that was sent without a lease is cached.
    FillWithoutLease = "fill-without-lease",
    /// R9: an answer from before an invalidation is cached, whatever its log index.
    FillBelowFloor = "fill-below-floor",
    /// R9: the answer to a fetch for a stock that is about to change is cached.
    FillPending = "fill-pending",
    /// R9: an answer from before an inventory that heals a divergence is cached.
    FillFromBeforeHealing = "fill-from-before-healing",
    /// R10: a snapshot older than what is exposed is taken.
    OldSnapshotTaken = "old-snapshot-taken",
    /// R10: a snapshot is exposed without invalidations.
    SnapshotNotInvalidated = "snapshot-not-invalidated",
    /// R11: a cached entry is shown although the lease is over.
    HitWithoutLease = "hit-without-lease",
    /// R11: a read takes the answer of a fetch that began before it did.
    JoinEarlierFetch = "join-earlier-fetch",
    /// One in a hundred invalidations is not sent, and its ack is not waited for.
    DropSomeInvalidations = "drop-some-invalidations",
    /// A replica says that its log is on disk before it is.
    AnswerBeforeSync = "answer-before-sync",
    /// A replica whose disk failed to sync tries once more, and goes on if that succeeds.
    RetryFailedSync = "retry-failed-sync",
    /// Order reads take what the leader has applied, without asking a quorum whether it still leads.
    SkipReadIndex = "skip-read-index",
    /// Order numbers are taken from the log index.
    NumberFromLogIndex = "number-from-log-index",
    /// Apply decides the trades of an entry in the order of an unordered map.
    UnorderedApply = "unordered-apply",
    /// The log position and what was applied up to it are two writes.
    ApplyInTwoWrites = "apply-in-two-writes",
    /// A replica that was sent a snapshot does not know the outcomes of the keys before it.
    SnapshotWithoutOutcomes = "snapshot-without-outcomes",
}

/// Whether a rule is broken now: never, in builds that people use.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn broken(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{break_only, broken};

#[cfg(feature = "mutants")]
mod switch {
    use std::{cell::Cell, sync::LazyLock};

    use super::Mutant;

    /// Names the mutant of a whole process.
    const VARIABLE: &str = "BAZAAR_MUTANT";

    static OF_THE_PROCESS: LazyLock<Option<Mutant>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
        // A mutant that is misspelt would break nothing, and its check would seem useless.
        Some(found.unwrap_or_else(|| panic!("{VARIABLE}: there is no mutant '{name}'")))
    });

    thread_local! {
        static OF_THE_THREAD: Cell<Option<Mutant>> = Cell::new(*OF_THE_PROCESS);
    }

    /// Whether a rule is broken now, on this thread.
    pub fn broken(mutant: Mutant) -> bool {
        OF_THE_THREAD.get() == Some(mutant)
    }

    /// Breaks this rule on this thread, or none; without it the environment's `BAZAAR_MUTANT` counts.
    pub fn break_only(mutant: Option<Mutant>) {
        OF_THE_THREAD.set(mutant);
    }
}
