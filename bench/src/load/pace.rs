//! When requests are sent.

use std::time::{Duration, Instant};

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends the next when it has its answer: what the system can do.
    Closed,
    /// Buyers arrive on their own, whether answers come or not: what a buyer waits. Latency counts from the arrival.
    Open {
        /// Arrivals a second, over all threads.
        per_second: f64,
    },
}

/// Arrivals of one thread: exponential gaps, as of people who know nothing of each other.
#[derive(Debug)]
pub(super) struct Arrivals {
    mean_s: f64,
    next: Instant,
    random: fastrand::Rng,
}

impl Arrivals {
    pub(super) fn new(per_second: f64, begin: Instant, seed: u64) -> Self {
        let mut arrivals =
            Self { mean_s: 1.0 / per_second.max(0.001), next: begin, random: fastrand::Rng::with_seed(seed) };
        arrivals.advance();
        arrivals
    }

    /// The arrival that is due, if one is.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        (due <= now).then(|| {
            self.advance();
            due
        })
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn advance(&mut self) {
        // 1 - f64() is above zero, so the logarithm is finite.
        let gap = -(1.0 - self.random.f64()).ln() * self.mean_s;
        self.next += Duration::from_secs_f64(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_rate_and_are_never_skipped() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, begin, 7);
        let mut last = begin;
        let mut count = 0;
        // Looked at once after ten seconds: every arrival is still there, with its own time.
        while let Some(due) = arrivals.due(begin + Duration::from_secs(10)) {
            assert!(due >= last);
            last = due;
            count += 1;
        }
        assert!((9_500..10_500).contains(&count), "{count}");
    }
}
