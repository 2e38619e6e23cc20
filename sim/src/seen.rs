//! What happened in a run, counted: a fault that never happens tests nothing.

use std::fmt;

macro_rules! seen {
    ($($(#[$doc:meta])* $variant:ident = $words:literal,)+) => {
        /// Something that happens and is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Seen {
            $($(#[$doc])* $variant,)+
        }

        impl Seen {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// What it is, in words.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)+
                }
            }
        }
    };
}

seen! {
    /// Anything that the scheduler let happen.
    Event = "events",
    /// A client was told what became of its trade.
    TradeAnswered = "trades answered",
    /// A client was shown a stock.
    LookupAnswered = "lookups answered",
    /// From a cache.
    Hit = "of them from a cache",
    /// A client was shown orders, or that there are none.
    ReadAnswered = "order reads answered",
    /// A client was refused, or never answered.
    Unanswered = "operations refused or never answered",
    /// An order was made.
    Order = "orders",
    /// An entry of several trades was applied for the first time.
    SharedEntry = "entries of several trades",
    /// A replica got the votes.
    Election = "elections",
    /// A replica took the whole state from another one.
    SnapshotInstalled = "snapshots installed",
    /// The catalog was sent the whole inventory.
    InventorySent = "inventories sent to the catalog",
    /// The lease of a cache ended.
    Lapse = "leases of caches that lapsed",
    /// A replica died.
    ReplicaDied = "replicas that died",
    /// It lost entries that were not synced.
    EntriesLost = "of them with entries lost that were not synced",
    /// It lost part of what it had applied.
    AppliedLost = "of them with a part lost of what was applied",
    /// The catalog died.
    CatalogDied = "catalogs that died",
    /// It came back with an older copy.
    CopyLost = "of them with an older copy afterwards",
    /// A frontend died.
    FrontendDied = "frontends that died",
    /// All replicas and the catalog died at once.
    PowerCut = "power cuts",
    /// A replica stood still.
    ReplicaPaused = "replicas that stood still",
    /// The catalog stood still.
    CatalogPaused = "catalogs that stood still",
    /// A frontend stood still.
    FrontendPaused = "frontends that stood still",
    /// One of these lasted longer than a lease.
    LongPause = "pauses longer than a lease",
    /// A process was cut off from all others.
    CutOff = "processes that were cut off",
    /// A leader was cut off from the other replicas, and from nobody else.
    Deposed = "replicas that were cut off from replicas only",
    /// A leader was cut off from the catalog.
    CutFromCatalog = "replicas that were cut off from the catalog only",
    /// A leader had the catalog on its side, and the other replicas not.
    Split = "leaders with the catalog on their side, and no other replica",
    /// One process did not reach another, but was reached.
    CutOneWay = "ways that were cut in one direction",
    /// What one process sent to another came late.
    Held = "ways on which everything was held back",
    /// A frontend's lease requests came late.
    LeaseRequestsHeld = "frontends whose lease requests were held back",
    /// What one process sent to another came again.
    RepeatedAll = "ways on which everything came again",
    /// The catalog stayed away until trades had gone on without it.
    TradedWithoutCatalog = "runs in which trades went on without a catalog",
    /// A message was lost, or met a dead process or a cut.
    Lost = "messages lost",
    /// A message came late.
    Late = "messages late",
    /// A message came again.
    Repeated = "messages repeated",
}

/// How often each of them happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally([u64; Seen::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Seen::ALL.len()])
    }
}

impl Tally {
    /// How often.
    pub fn of(&self, seen: Seen) -> u64 {
        self.0[seen as usize]
    }

    /// It happened once.
    pub fn count(&mut self, seen: Seen) {
        self.add(seen, 1);
    }

    /// It happened so many times.
    pub fn add(&mut self, seen: Seen, times: u64) {
        self.0[seen as usize] += times;
    }

    /// Adds another run's.
    pub fn add_all(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for seen in Seen::ALL {
            writeln!(f, "{:>12}  {}", self.of(*seen), seen.words())?;
        }
        Ok(())
    }
}
