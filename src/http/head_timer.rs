//! The timer by which hyper bounds how long the head of a request may take.
//!
//! hyper asks for a new sleep for each request. One of tokio's costs an allocation and two visits to the timer wheel, together
//! a twentieth of what a refusal takes; here a connection has one for its life, and its deadline is moved when it fires.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The timer of one connection. hyper has one sleep at a time; several would only wake each other too often.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep { timer: self.clone(), deadline })
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(self.deadline);
        let mut shared = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = shared.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // It may have been set for an earlier request.
        loop {
            ready!(sleep.as_mut().poll(context));
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_sleep_ends_before_its_own_deadline() {
        let timer = HeadTimer::default();
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut dropped = timer.sleep_until(at(20));
        assert!(futures_util::poll!(&mut dropped).is_pending());
        drop(dropped);
        // Later than the one before it, long over, earlier than the one before it.
        let mut late = timer.sleep_until(at(3_600_000));
        for millis in [60, 1, 90] {
            assert!(futures_util::poll!(&mut late).is_pending());
            let slept = tokio::time::timeout(Duration::from_secs(60), timer.sleep_until(at(millis))).await;
            assert!(slept.is_ok(), "an earlier deadline is slept over");
            assert!(Instant::now() >= at(millis));
        }
    }
}
