//! When a delivery is tried again. Pure.

use std::time::Duration;

/// Attempts are never further apart, so that an endpoint that is back is told within the hour.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How long and how often is tried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// After the first attempt; doubled after each.
    pub pause_min: Duration,
    /// From the event to the last attempt.
    pub give_up: Duration,
}

impl RetryPolicy {
    /// The pause after a number of failed attempts, `age` after the event was queued; `None` to give up. `asked` is what
    /// the endpoint asked for (Retry-After); `spread` is drawn from 0 to 1, so that many deliveries that failed together
    /// are not tried together again.
    pub fn pause(
        &self,
        attempts: u32,
        age: Duration,
        asked: Option<Duration>,
        spread: f64,
    ) -> Option<Duration> {
        let doubled = self.pause_min.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let pause = doubled.min(PAUSE_MAX).mul_f64(0.75 + 0.5 * spread.clamp(0.0, 1.0));
        let pause = pause.max(asked.unwrap_or_default().min(PAUSE_MAX));
        (age.saturating_add(pause) <= self.give_up).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const POLICY: RetryPolicy = RetryPolicy { pause_min: Duration::from_secs(5), give_up: DAY };

    #[test]
    fn pauses_double_up_to_an_hour_for_a_day() {
        let (mut age, mut attempts, mut pauses) = (Duration::ZERO, 0, Vec::new());
        while let Some(pause) = POLICY.pause(attempts + 1, age, None, 0.5) {
            attempts += 1;
            age += pause;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses[..6], [5, 10, 20, 40, 80, 160]);
        assert_eq!(pauses.last(), Some(&3600));
        assert!((30..40).contains(&attempts), "{attempts}");
        assert!(age <= DAY && age > DAY - PAUSE_MAX);
    }

    #[test]
    fn pauses_are_spread_and_never_shorter_than_asked() {
        let pause = |asked, spread| POLICY.pause(1, Duration::ZERO, asked, spread).unwrap();
        assert_eq!(pause(None, 0.0), Duration::from_millis(3_750));
        assert_eq!(pause(None, 1.0), Duration::from_millis(6_250));
        assert_eq!(pause(Some(Duration::from_secs(60)), 0.0), Duration::from_secs(60));
        assert_eq!(pause(Some(DAY), 0.0), PAUSE_MAX, "nobody holds us for longer");
        assert_eq!(POLICY.pause(u32::MAX, DAY, None, 0.0), None);
    }
}
