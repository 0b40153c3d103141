//! Bounds how long a connection may wait for the head of a request, and so also how long it may be idle.
//!
//! hyper's own bound sets a timer for each request, asks the clock for it, and goes round its loop once more to look at it: a
//! twentieth of what a refusal takes. This one looks at a connection now and then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// Looks within the time that a head may take.
const LOOKS: u32 = 4;

/// Ends once a connection has waited for a head for as long as it may, or up to a quarter longer.
pub(super) struct HeadWatch {
    next_look: Pin<Box<Sleep>>,
    pause: Duration,
    /// What it waited for at the last look.
    awaited: Option<u64>,
    /// Looks since then, one behind the other, at which it still waited for that.
    in_vain: u32,
}

impl HeadWatch {
    /// Of a connection that is made now.
    pub(super) fn new(limit: Duration) -> Self {
        let pause = limit / LOOKS;
        Self { next_look: Box::pin(tokio::time::sleep(pause)), pause, awaited: Some(0), in_vain: 0 }
    }

    pub(super) fn poll(&mut self, activity: &Activity, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.next_look.as_mut().poll(context));
            let awaited = activity.awaited_head();
            self.in_vain = if awaited.is_some() && awaited == self.awaited { self.in_vain + 1 } else { 0 };
            if self.in_vain == LOOKS {
                return Poll::Ready(());
            }
            self.awaited = awaited;
            self.next_look.as_mut().reset(Instant::now() + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    struct Watched {
        activity: Activity,
        watch: HeadWatch,
    }

    impl Watched {
        fn new() -> Self {
            Self { activity: Activity::new(), watch: HeadWatch::new(LIMIT) }
        }

        /// How long it lasts from now on, if nothing else happens, up to twice the limit.
        async fn lasts(&mut self) -> Duration {
            let begun = Instant::now();
            let ended = std::future::poll_fn(|context| self.watch.poll(&self.activity, context));
            let _ = tokio::time::timeout(2 * LIMIT, ended).await;
            begun.elapsed()
        }

        async fn goes_on_for(&mut self, time: Duration) {
            let ended = std::future::poll_fn(|context| self.watch.poll(&self.activity, context));
            assert!(tokio::time::timeout(time, ended).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_client_has_the_whole_limit_from_the_last_answer_on() {
        for before_answer in [1, 45, 55, 190] {
            let mut watched = Watched::new();
            watched.activity.set_awaits_bytes(true);
            for _ in 0..2 {
                watched.goes_on_for(LIMIT / 2).await;
                watched.activity.request_started();
                watched.activity.set_awaits_bytes(false);
                watched.goes_on_for(Duration::from_millis(before_answer)).await;
                watched.activity.request_answered();
                watched.activity.set_awaits_bytes(true);
            }
            let lasted = watched.lasts().await;
            assert!(lasted >= LIMIT, "{lasted:?} behind an answer that took {before_answer} ms");
        }
    }

    #[tokio::test]
    async fn a_new_connection_has_it_too() {
        let mut watched = Watched::new();
        watched.activity.set_awaits_bytes(true);
        let lasted = watched.lasts().await;
        assert!(lasted >= LIMIT, "{lasted:?}");
    }

    #[tokio::test]
    async fn whoever_is_answered_is_not_idle() {
        let mut watched = Watched::new();
        watched.activity.request_started();
        assert!(watched.lasts().await >= 2 * LIMIT);
        // As an event stream is written.
        watched.activity.request_answered();
        assert!(watched.lasts().await >= 2 * LIMIT);
    }
}
