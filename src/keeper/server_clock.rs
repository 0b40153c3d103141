//! Until when a command that was sent may still take effect.

use std::time::{Duration, Instant};

/// A renewal or an opening that Redis meets later than this after it was sent does nothing. A busy server is given
/// more, up to the length of a lease: see [`Lateness`].
pub(super) const LATE: Duration = Duration::from_millis(200);

/// How late a command may come and still be heeded. What is told so is part of when the lease is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lateness {
    now: Duration,
    max: Duration,
}

impl Lateness {
    /// For leases of this length.
    pub fn of(lease: Duration) -> Self {
        Self { now: LATE.min(lease), max: lease }
    }

    /// As it stands.
    pub fn allowed(self) -> Duration {
        self.now
    }

    /// A command came too late: the next one may take longer.
    pub fn was_late(&mut self) {
        self.now = (self.now * 2).min(self.max);
    }

    /// A command came in time.
    pub fn was_in_time(&mut self) {
        self.now = (self.now / 2).max(LATE.min(self.max));
    }
}

/// What the last answer of a server said of its clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    server_ms: i64,
    answered: Instant,
}

impl ServerClock {
    /// `server_ms`: the server's time when it executed the command whose answer came at `answered`.
    pub fn new(server_ms: i64, answered: Instant) -> Self {
        Self { server_ms, answered }
    }

    /// The server's time (ms) after which a command sent at `sent` must do nothing.
    ///
    /// The server read its clock before its answer came, so this time comes at most `late` after `sent`. It comes
    /// earlier where that answer took long: then the command may be refused as late, and tells the time anew.
    pub fn not_after(&self, sent: Instant, late: Lateness) -> i64 {
        let since = sent.saturating_duration_since(self.answered) + late.allowed();
        self.server_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_goes_on_since_the_answer() {
        let answered = Instant::now();
        let clock = ServerClock::new(5_000, answered);
        let late = Lateness::of(Duration::from_secs(1));
        assert_eq!(clock.not_after(answered, late), 5_200);
        assert_eq!(clock.not_after(answered + Duration::from_secs(2), late), 7_200);
    }

    #[test]
    fn a_busy_server_is_given_up_to_a_lease() {
        let mut late = Lateness::of(Duration::from_secs(1));
        let allowed: Vec<u128> = std::iter::repeat_with(|| {
            late.was_late();
            late.allowed().as_millis()
        })
        .take(4)
        .collect();
        assert_eq!(allowed, [400, 800, 1000, 1000]);
        for _ in 0..4 {
            late.was_in_time();
        }
        assert_eq!(late.allowed(), LATE);
    }
}
