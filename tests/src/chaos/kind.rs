//! What can be done to a cluster.

use std::{fmt, str::FromStr};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name on a command line and in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// A process is killed (kill -9) and started again.
    Kill = "kill",
    /// A process is told to stop (SIGTERM) and started again.
    Stop = "stop",
    /// All processes are killed at once.
    KillAll = "kill-all",
    /// All processes are told to stop at once.
    StopAll = "stop-all",
    /// All replicas, then the catalog and the frontends, are stopped and started one after the other.
    RollingRestart = "rolling-restart",
    /// A process is halted (SIGSTOP) and goes on, often past the end of a lease.
    Freeze = "freeze",
    /// The hosts are parted in two; one half has a majority of the replicas.
    Halves = "halves",
    /// The leader is cut off from everybody.
    LeaderAlone = "leader-alone",
    /// Nothing that one process sends reaches another; the other direction is whole.
    OneWay = "one-way",
    /// Two replicas do not reach each other; both reach the third.
    Bridge = "bridge",
    /// The leader and the catalog do not reach each other.
    LeaderCatalog = "leader-catalog",
    /// A frontend and the catalog do not reach each other.
    FrontendCatalog = "frontend-catalog",
    /// A host loses some of the packets that it sends, or that it is sent.
    Loss = "loss",
    /// Connections between two parts are slow.
    Delay = "delay",
    /// Connections between two parts are reset again and again.
    Reset = "reset",
    /// Connections between two parts close in one direction.
    HalfClose = "half-close",
    /// All that went over connections between two parts is sent again later.
    Replay = "replay",
    /// Requests between two parts are taken, their senders cut off, and the requests delivered later.
    Hold = "hold",
    /// A replica's disk is full.
    DiskFull = "disk-full",
    /// A replica's disk fails to sync.
    FailingSync = "failing-sync",
    /// A replica's disk is slow.
    SlowSync = "slow-sync",
    /// One process loses its power: what it had not synced is gone.
    PowerLoss = "power-loss",
    /// All processes lose their power at once.
    PowerLossAll = "power-loss-all",
    /// A bit in a file of a replica flips while it is down.
    FlippedBit = "flipped-bit",
    /// A replica that was replaced comes back with its old directory.
    OldDirectory = "old-directory",
    /// A replica loses its directory and is replaced.
    Wiped = "wiped",
    /// A fourth replica joins and leaves again.
    Members = "members",
    /// The wall clock of a process jumps, and back.
    ClockJump = "clock-jump",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|kind| kind.name() == name);
        let names = || Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        named.copied().ok_or_else(|| format!("there is no such fault; there are: {}", names()))
    }
}
