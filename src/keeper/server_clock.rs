//! Until when a command that was sent may still take effect.

use std::time::{Duration, Instant};

/// A renewal or an opening that Redis meets later than this after it was sent does nothing.
pub(super) const LATE: Duration = Duration::from_millis(200);

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
    /// The server read its clock before its answer came, so this time comes at most [`LATE`] after `sent`. It comes
    /// earlier where that answer took long: then the command is refused as late, and tells the time anew.
    pub fn not_after(&self, sent: Instant) -> i64 {
        let since = sent.saturating_duration_since(self.answered) + LATE;
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
        assert_eq!(clock.not_after(answered), 5_200);
        assert_eq!(clock.not_after(answered + Duration::from_secs(2)), 7_200);
    }
}
