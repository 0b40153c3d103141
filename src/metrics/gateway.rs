//! What is asked of the payment gateway.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::histogram::AtomicHistogram;
use super::register::Register;

/// Bounds of an attempt, in microseconds: a gateway answers in tens of milliseconds at best.
const ATTEMPT_BOUNDS: &[u64] =
    &[5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

/// How the circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go through.
    Closed,
    /// The next ones are tried.
    HalfOpen,
    /// Nothing is asked.
    Open,
}

/// Counts what this process asks of its payment gateway.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    requests: Family<[(&'static str, &'static str); 2], Counter>,
    attempts: AtomicHistogram,
    breaker: Gauge,
}

impl GatewayMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        Self {
            requests: register.add(
                "gateway_requests",
                &["operation", "result"],
                "What this process asked of the payment gateway, retries apart; operation: charge, look_up, refund; \
                 result: paid, declined, undecided, none, refunded, refused, not_asked, unknown",
                Family::default(),
            ),
            attempts: register.add(
                "gateway_attempt_seconds",
                &[],
                "Time of one attempt to ask the payment gateway, in seconds, time-outs included",
                AtomicHistogram::of_micros(ATTEMPT_BOUNDS),
            ),
            breaker: register.add(
                "gateway_breaker_state",
                &[],
                "Circuit breaker before the payment gateway: 0 closed, 1 half-open, 2 open (nothing is asked)",
                Gauge::default(),
            ),
        }
    }

    /// A request ended so, after all its attempts.
    pub fn answered(&self, operation: &'static str, result: &'static str) {
        self.requests.get_or_create(&[("operation", operation), ("result", result)]).inc();
    }

    /// An attempt took this long.
    pub fn attempt(&self, time: Duration) {
        self.attempts.observe_time(time);
    }

    /// The breaker stands so now.
    pub fn breaker(&self, state: BreakerState) {
        self.breaker.set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }
}
