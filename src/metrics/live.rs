//! What clients hold open.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::register::Register;

/// Counts streams and responses that wait.
#[derive(Clone, Debug)]
pub struct LiveMetrics {
    /// Streams of sales.
    pub sale_streams: Gauge,
    /// Streams of orders.
    pub order_streams: Gauge,
    /// Responses that wait for an outcome.
    pub waiters: Gauge,
}

impl LiveMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let streams: Family<[(&'static str, &'static str); 1], Gauge> = register.add(
            "event_streams",
            &["of"],
            "Event streams that are open now, by what they tell of: sale, order",
            Family::default(),
        );
        Self {
            sale_streams: streams.get_or_create_owned(&[("of", "sale")]),
            order_streams: streams.get_or_create_owned(&[("of", "order")]),
            waiters: register.add(
                "waiting_responses",
                &[],
                "Responses that wait for the outcome of their order now (Prefer: wait)",
                Gauge::default(),
            ),
        }
    }
}

/// One more, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one on.
    pub fn on(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
