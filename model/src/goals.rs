//! What a search must have seen for its result to mean anything: a system in which nothing happens breaks no rule.

macro_rules! goals {
    ($($(#[doc = $doc:literal])* $variant:ident,)+) => {
        /// Something worth having happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Goal {
            $($(#[doc = $doc])* $variant,)+
        }

        impl Goal {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// In words.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

goals! {
    /// a trade was answered after the catalog said that it exposed it
    AnsweredByAck,
    /// a trade was answered without the catalog, since no lease was out
    AnsweredWithoutAck,
    /// a second leader answered
    AnsweredBySecondLeader,
    /// the catalog served a lookup
    Served,
    /// the catalog served a lookup after it crashed
    ServedAfterCrash,
    /// the catalog served a value that a trade had changed
    ServedNewValue,
    /// a lookup hit
    Hit,
    /// a lookup hit a value that a trade had changed
    HitNewValue,
    /// a fill was refused
    FillRefused,
    /// a full cache took another stock
    Evicted,
    /// an ack was counted
    AckCounted,
    /// an ack was not counted
    AckIgnored,
    /// a batch was no longer held up since a lease ended, without an ack
    FreedByLeaseEnd,
    /// a lease lapsed and its frontend got another one
    LeasedAgain,
    /// a lookup took the answer of a fetch that it met
    Shared,
    /// a whole inventory was exposed
    InventoryExposed,
    /// a divergence was healed
    Healed,
    /// a leader that was replaced, and did not know it, granted a lease
    DeposedGranted,
}

/// A set of goals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Goals(u32);

impl Goals {
    /// Adds one.
    pub fn add(&mut self, goal: Goal) {
        self.0 |= 1 << goal as u32;
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether one is in it.
    pub fn has(self, goal: Goal) -> bool {
        self.0 & (1 << goal as u32) != 0
    }
}
