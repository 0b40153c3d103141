//! How often a request is tried, and when again.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::attempt::Flaw;
use crate::payment::gateway::GatewayError;

/// A gateway that asks for a longer pause is not tried again by this request.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Retries {
    /// The most attempts; at least one is made.
    pub attempts: u32,
    /// The longest pause before the second.
    pub pause: Duration,
}

impl Retries {
    /// Tries until there is an answer, or no attempt more that may help.
    ///
    /// # Errors
    /// That of the last attempt; but once one of them may have been carried out, it stays unknown.
    pub async fn run<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, GatewayError>
    where
        F: Future<Output = Result<T, Flaw>>,
    {
        let mut attempt = attempt;
        let may_be_done = AtomicBool::new(false);
        let noted = || {
            let running = attempt();
            async {
                let ended = running.await;
                if matches!(&ended, Err(Flaw { error: GatewayError::Unknown(_), .. })) {
                    may_be_done.store(true, Relaxed);
                }
                ended
            }
        };
        let ended = noted.retry(self.pauses()).when(|flaw| flaw.again).adjust(pause_before_next).await;
        ended.map_err(|flaw| match flaw.error {
            error @ GatewayError::Unknown(_) => error,
            error if may_be_done.load(Relaxed) => {
                GatewayError::Unknown(format!("an attempt had no answer; then {error}"))
            }
            error => error,
        })
    }

    /// "Full jitter": each drawn between nothing and a bound that doubles, so that nodes that failed together do not come
    /// back together (<https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
    fn pauses(&self) -> impl Iterator<Item = Duration> + Send + Sync + Unpin + use<> {
        let retries = self.attempts.saturating_sub(1) as usize;
        let bounds = ExponentialBuilder::new()
            .with_min_delay(self.pause)
            .with_max_delay(PAUSE_MAX.max(self.pause))
            .with_max_times(retries);
        backon::BackoffBuilder::build(bounds).map(|bound| bound.mul_f64(fastrand::f64()))
    }
}

/// What the gateway says of it counts, where it is bearable.
fn pause_before_next(flaw: &Flaw, pause: Option<Duration>) -> Option<Duration> {
    match flaw.retry_after {
        None => pause,
        Some(wanted) if wanted <= RETRY_AFTER_MAX => pause.map(|pause| pause.max(wanted)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const RETRIES: Retries = Retries { attempts: 3, pause: Duration::from_millis(1) };

    fn flaw(error: GatewayError, again: bool) -> Result<(), Flaw> {
        Err(Flaw { error, again, is_outage: false, retry_after: None })
    }

    fn not_asked() -> Result<(), Flaw> {
        flaw(GatewayError::NotAsked("no connection".to_owned()), true)
    }

    fn unknown() -> Result<(), Flaw> {
        flaw(GatewayError::Unknown("no answer".to_owned()), true)
    }

    fn refused() -> Result<(), Flaw> {
        flaw(GatewayError::Refused("422".to_owned()), false)
    }

    /// How a request ends whose attempts end like this, and how many of them are left.
    async fn run<const N: usize>(attempts: [Result<(), Flaw>; N]) -> (Result<(), GatewayError>, usize) {
        let mut attempts = VecDeque::from(attempts);
        let ended = RETRIES.run(|| std::future::ready(attempts.pop_front().unwrap())).await;
        (ended, attempts.len())
    }

    #[tokio::test]
    async fn it_is_tried_as_often_as_is_said_and_no_longer_than_it_may_help() {
        assert_eq!(run([unknown(), not_asked(), Ok(())]).await, (Ok(()), 0));
        let (ended, left) = run([unknown(), unknown(), unknown(), Ok(())]).await;
        assert!(matches!(ended, Err(GatewayError::Unknown(_))) && left == 1);
        let (ended, left) = run([refused(), Ok(())]).await;
        assert!(matches!(ended, Err(GatewayError::Refused(_))) && left == 1);
    }

    #[tokio::test]
    async fn it_was_not_asked_only_where_no_attempt_can_have_arrived() {
        let (ended, _) = run([not_asked(), not_asked(), not_asked()]).await;
        assert!(matches!(ended, Err(GatewayError::NotAsked(_))), "{ended:?}");
        for attempts in [[unknown(), not_asked(), not_asked()], [not_asked(), unknown(), not_asked()]] {
            let (ended, _) = run(attempts).await;
            assert!(matches!(ended, Err(GatewayError::Unknown(_))), "{ended:?}");
        }
        let (ended, _) = run([unknown(), refused()]).await;
        assert!(
            matches!(ended, Err(GatewayError::Unknown(_))),
            "the first may have been carried out: {ended:?}"
        );
        let (ended, _) = run([not_asked(), refused()]).await;
        assert!(matches!(ended, Err(GatewayError::Refused(_))), "{ended:?}");
    }

    #[test]
    fn pauses_are_drawn_below_a_bound_that_doubles() {
        let retries = Retries { attempts: 4, pause: Duration::from_millis(100) };
        let drawn: Vec<Vec<Duration>> = (0..200).map(|_| retries.pauses().collect()).collect();
        for (at, bound_ms) in [(0, 100), (1, 200), (2, 400)] {
            let bound = Duration::from_millis(bound_ms);
            assert!(drawn.iter().all(|pauses| pauses.len() == 3 && pauses[at] <= bound));
            assert!(drawn.iter().any(|pauses| pauses[at] > bound / 2));
            assert!(drawn.iter().any(|pauses| pauses[at] < bound / 2));
        }
        assert_eq!(Retries { attempts: 1, ..retries }.pauses().count(), 0);
    }

    #[test]
    fn what_the_gateway_wants_is_done_or_nothing() {
        let pause = Some(Duration::from_millis(50));
        let wants = |seconds| {
            let error = GatewayError::NotAsked("429".to_owned());
            let retry_after = Some(Duration::from_secs(seconds));
            pause_before_next(&Flaw { error, again: true, is_outage: false, retry_after }, pause)
        };
        assert_eq!(wants(0), pause);
        assert_eq!(wants(3), Some(Duration::from_secs(3)));
        assert_eq!(wants(60), None);
        let Err(flaw) = not_asked() else { panic!() };
        assert_eq!(pause_before_next(&flaw, pause), pause);
        assert_eq!(pause_before_next(&flaw, None), None);
    }
}
