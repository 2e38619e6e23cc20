//! Time as the pure parts see it: a reading of a monotonic clock that the caller passes in.

use std::time::Duration;

/// A reading of a monotonic clock, as the time since an origin that is fixed for the life of the process.
///
/// The pure state machines take it as an argument and never read a clock themselves, so a simulation can
/// drive them. Moments of different processes must not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment that lies `since_origin` after the origin.
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// The moment `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The moment that is `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The time since the origin.
    pub fn since_origin(self) -> Duration {
        self.0
    }
}

/// A lease's length as its *granter* must count it: stretched by the drift margin, so that a holder whose clock
/// is slower by up to `margin_percent` still lets go first.
pub fn with_margin(span: Duration, margin_percent: u32) -> Duration {
    span + span * margin_percent / 100
}
