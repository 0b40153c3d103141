//! Bounds how long a connection may wait for the head of a request, and so also how long it may be idle.
//!
//! hyper's own bound sets a timer for each request, asks the clock for it, and goes round its loop once more to look at it: a
//! twentieth of what a refusal takes. This one looks at a connection now and then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// Looks within the time that a head may take.
const LOOKS: u32 = 4;

/// Ends once a connection has waited for a head for as long as it may, or up to a quarter longer.
pub(super) struct HeadWatch {
    next_look: Pin<Box<Sleep>>,
    is_set: bool,
    pause: Duration,
    /// At the last look.
    started: u64,
    /// Looks since then at which nothing had come.
    in_vain: u32,
}

impl HeadWatch {
    pub(super) fn new(limit: Duration) -> Self {
        let pause = limit / LOOKS;
        Self { next_look: Box::pin(tokio::time::sleep(pause)), is_set: false, pause, started: 0, in_vain: 0 }
    }

    pub(super) fn poll(&mut self, activity: &Arc<Activity>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_set && !activity.has_alarm() {
            return Poll::Pending;
        }
        self.is_set = true;
        let alarm = activity.alarm(context.waker());
        loop {
            ready!(self.next_look.as_mut().poll(&mut Context::from_waker(&alarm)));
            let has_waited = activity.awaits_head() && activity.started() == self.started;
            self.in_vain = if has_waited { self.in_vain + 1 } else { 0 };
            if self.in_vain == LOOKS {
                return Poll::Ready(());
            }
            self.started = activity.started();
            self.next_look.as_mut().reset(Instant::now() + self.pause);
        }
    }
}
