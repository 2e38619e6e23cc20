//! The one place that reads the monotonic clock for the pure parts.

use std::time::Instant;

use bazaar_domain::Moment;

/// A monotonic clock whose origin is the moment it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The reading now.
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The reading at an instant that was taken elsewhere; instants before the origin read as the origin.
    pub fn at(&self, instant: Instant) -> Moment {
        Moment::from_origin(instant.saturating_duration_since(self.origin))
    }

    /// The instant of a reading, to sleep until it.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.since_origin()
    }
}
