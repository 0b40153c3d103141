//! The circuit breaker: a gateway that gives no answers is left alone, so that orders do not wait for time-outs one by
//! one, and it can recover.

use std::time::Duration;

use failsafe::backoff::{self, Constant};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine};

use crate::metrics::{BreakerState, GatewayMetrics};

/// Opens after so many failures in a row. When its time is over requests go through again: the first answer closes it, the
/// first failure opens it anew.
pub(super) struct Breaker(StateMachine<ConsecutiveFailures<Constant>, Told>);

/// Whom the breaker tells.
struct Told {
    metrics: GatewayMetrics,
    open: Duration,
}

impl Breaker {
    pub fn new(failures: u32, open: Duration, metrics: GatewayMetrics) -> Self {
        let policy = consecutive_failures(failures, backoff::constant(open));
        Self(StateMachine::new(policy, Told { metrics, open }))
    }

    pub fn lets_through(&self) -> bool {
        self.0.is_call_permitted()
    }

    pub fn answered(&self) {
        self.0.on_success();
    }

    pub fn failed(&self) {
        self.0.on_error();
    }
}

impl Instrument for Told {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        tracing::warn!(
            open_ms = self.open.as_millis(),
            "the payment gateway gives no answers: it is not asked for a moment"
        );
        self.metrics.breaker(BreakerState::Open);
    }

    fn on_half_open(&self) {
        self.metrics.breaker(BreakerState::HalfOpen);
    }

    fn on_closed(&self) {
        tracing::debug!("the payment gateway may be asked");
        self.metrics.breaker(BreakerState::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const OPEN: Duration = Duration::from_millis(20);

    #[test]
    fn opens_after_failures_in_a_row_and_closes_on_the_first_answer() {
        let metrics = Metrics::new();
        let state = |state: u8| {
            let line = format!("doorbuster_gateway_breaker_state {state}");
            assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());
        };
        let breaker = Breaker::new(2, OPEN, metrics.gateway.clone());
        breaker.failed();
        breaker.answered();
        breaker.failed();
        assert!(breaker.lets_through(), "two failures, but not in a row");
        state(0);
        breaker.failed();
        assert!(!breaker.lets_through());
        state(2);
        std::thread::sleep(OPEN * 2);
        assert!(breaker.lets_through());
        state(1);
        breaker.failed();
        assert!(!breaker.lets_through(), "one failure is enough while it is tried again");
        std::thread::sleep(OPEN * 2);
        assert!(breaker.lets_through());
        breaker.answered();
        state(0);
        breaker.failed();
        assert!(breaker.lets_through());
    }
}
