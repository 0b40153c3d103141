//! How orders are paid for.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::register::Register;
use crate::payment::{News, PaymentState, Task, WaitingPayments};

/// Counts what the payment workers of this process, and the webhooks of the gateway that it takes, do.
#[derive(Clone, Debug)]
pub struct PaymentMetrics {
    asked: Family<[(&'static str, &'static str); 2], Counter>,
    moved: Family<[(&'static str, &'static str); 1], Counter>,
    webhooks_refused: Counter,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
    oldest_seconds: Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>,
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
            waiting: register.add(
                "payments_waiting",
                &["state"],
                "Payments in Postgres that a payment worker has to look at again, by state; every worker tells the same",
                Family::default(),
            ),
            oldest_seconds: register.add(
                "payments_waiting_oldest_seconds",
                &["state"],
                "For how long the oldest of them stands as it does, in seconds",
                Family::default(),
            ),
        }
    }

    /// What waits now.
    pub fn waiting(&self, waiting: &[WaitingPayments]) {
        for state in PaymentState::WAITING {
            let found = waiting.iter().find(|found| found.state == state);
            let labels = [("state", state.as_str())];
            self.waiting.get_or_create(&labels).set(found.map_or(0, |found| found.payments));
            self.oldest_seconds.get_or_create(&labels).set(found.map_or(0.0, |found| found.oldest_s));
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
            News::Paid { .. } | News::PaidTwice { .. } => "paid",
            News::Declined(_) => "declined",
            News::Undecided => "undecided",
            News::NoAnswer(_) => "no_answer",
            News::NotAsked(_) => "not_asked",
            News::NeverHeard => "never_heard",
            News::Refunded => "refunded",
            News::RefundRefused(_) => "refund_refused",
            News::Reclaimed(_) => "reclaimed",
            News::NoUnits(_) => "no_units",
            News::None | News::NotYet => "nothing",
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
