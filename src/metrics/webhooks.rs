//! Deliveries to the outside.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::register::Register;

/// Counts what the webhook worker of this process does.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    delivered: Counter,
    failed: Counter,
    dead: Counter,
}

impl WebhookMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let attempts: Family<[(&'static str, &'static str); 1], Counter> = register.add(
            "webhook_attempts",
            &["outcome"],
            "Attempts of this process to deliver an event, by their outcome: delivered, failed",
            Family::default(),
        );
        Self {
            delivered: attempts.get_or_create_owned(&[("outcome", "delivered")]),
            failed: attempts.get_or_create_owned(&[("outcome", "failed")]),
            dead: register.add(
                "webhook_deliveries_dead",
                &[],
                "Deliveries that this process gave up; `doorbuster webhook dead` lists them",
                Counter::default(),
            ),
        }
    }

    /// Attempts succeeded.
    pub fn delivered(&self, attempts: u64) {
        self.delivered.inc_by(attempts);
    }

    /// An attempt failed.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// Deliveries were given up.
    pub fn died(&self, deliveries: u64) {
        self.dead.inc_by(deliveries);
    }
}
