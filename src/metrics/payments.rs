//! How orders are paid for.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::register::Register;
use crate::payment::{News, PaymentState, Task};

/// Counts what the payment workers of this process, and the webhooks of the gateway that it takes, do.
#[derive(Clone, Debug)]
pub struct PaymentMetrics {
    asked: Family<[(&'static str, &'static str); 2], Counter>,
    moved: Family<[(&'static str, &'static str); 1], Counter>,
    webhooks_refused: Counter,
}

impl PaymentMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        Self {
            asked: register.add(
                "payment_rounds",
                &["task", "heard"],
                "Rounds in which this process worked on a payment, by what it asked for and what it heard",
                Family::default(),
            ),
            moved: register.add(
                "payments",
                &["state"],
                "Payments that this process looked at or was told of, by the state they were left in",
                Family::default(),
            ),
            webhooks_refused: register.add(
                "payment_webhooks_refused",
                &[],
                "Webhooks of the gateway that were refused: unsigned, too old, or sent again",
                Counter::default(),
            ),
        }
    }

    /// A round.
    pub fn heard(&self, task: Task, news: &News) {
        let task = match task {
            Task::Charge => "charge",
            Task::LookUp => "look_up",
            Task::Reclaim => "reclaim",
            Task::Refund => "refund",
            Task::Conclude => "none",
        };
        let heard = match news {
            News::Paid { .. } => "paid",
            News::Declined(_) => "declined",
            News::Undecided => "undecided",
            News::NoAnswer(_) => "no_answer",
            News::NotAsked(_) => "not_asked",
            News::NeverHeard => "never_heard",
            News::Refunded => "refunded",
            News::RefundRefused(_) => "refund_refused",
            News::Reclaimed(_) => "reclaimed",
            News::NoUnits(_) => "no_units",
            News::None => "nothing",
        };
        self.asked.get_or_create(&[("task", task), ("heard", heard)]).inc();
    }

    /// How a payment was left.
    pub fn moved(&self, state: PaymentState) {
        self.moved.get_or_create(&[("state", state.as_str())]).inc();
    }

    /// A webhook was not taken.
    pub fn webhook_refused(&self) {
        self.webhooks_refused.inc();
    }
}
