//! What becomes of orders that are stored.

use prometheus_client::metrics::counter::Counter;

use super::register::Register;

/// Counts the steps that this process takes for stored orders.
#[derive(Clone, Debug)]
pub struct OrderMetrics {
    expired: Counter,
}

impl OrderMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let help = "Orders that this process cancelled since they were not paid in time";
        Self { expired: register.add("orders_expired", &[], help, Counter::default()) }
    }

    /// Holds that were over.
    pub fn expired(&self, orders: u64) {
        self.expired.inc_by(orders);
    }
}
