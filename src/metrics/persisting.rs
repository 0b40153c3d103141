//! From the log into Postgres.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::histogram::AtomicHistogram;
use super::register::Register;
use crate::persist::Applied;

const BATCH_MICROS: &[u64] = &[
    1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 250_000, 500_000, 1_000_000, 5_000_000,
    10_000_000,
];
const BATCH_ENTRIES: &[u64] = &[1, 4, 16, 64, 128, 256, 512, 1_000, 2_000, 5_000];

/// Counts what the persist workers of this process do.
#[derive(Clone, Debug)]
pub struct PersistMetrics {
    orders: Counter,
    over_allotment: Counter,
    dead_letters: Counter,
    retries: Counter,
    settle_failures: Counter,
    seconds: AtomicHistogram,
    settle_seconds: AtomicHistogram,
    entries: AtomicHistogram,
}

impl PersistMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let mut counter = |name, help| register.add(name, &[], help, Counter::default());
        Self {
            orders: counter("orders_persisted", "Orders that this process wrote to Postgres"),
            over_allotment: counter(
                "orders_over_allotment",
                "Orders that the gate of Postgres refused, and that were cancelled",
            ),
            dead_letters: counter(
                "dead_letters_written",
                "Log entries that this process set apart as dead letters",
            ),
            retries: counter("persist_retries", "Batches that failed at Postgres and were tried again"),
            settle_failures: counter(
                "settle_failures",
                "Batches that are in Postgres and could not be settled; they are delivered again",
            ),
            seconds: register.add(
                "persist_seconds",
                &[],
                "Time to persist one batch of log entries, in seconds, without failed tries",
                AtomicHistogram::of_micros(BATCH_MICROS),
            ),
            settle_seconds: register.add(
                "settle_seconds",
                &[],
                "Time of one call of settle.lua, in seconds",
                AtomicHistogram::of_micros(BATCH_MICROS),
            ),
            entries: register.add(
                "persist_batch_entries",
                &[],
                "Log entries in one batch",
                AtomicHistogram::of_counts(BATCH_ENTRIES),
            ),
        }
    }

    /// A batch is in Postgres.
    pub fn persisted(&self, entries: usize, applied: &Applied, took: Duration) {
        self.orders.inc_by(applied.new_orders);
        self.over_allotment.inc_by(applied.over_allotment);
        self.dead_letters.inc_by(applied.dead_letters);
        self.entries.observe(entries as u64);
        self.seconds.observe_time(took);
    }

    /// A batch failed, and is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A batch was settled, or was not.
    pub fn settled(&self, succeeded: bool, took: Duration) {
        self.settle_seconds.observe_time(took);
        if !succeeded {
            self.settle_failures.inc();
        }
    }

    /// Orders that were written so far.
    pub fn orders(&self) -> u64 {
        self.orders.get()
    }
}
