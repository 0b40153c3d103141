//! Partitions: whether they are open, how they were opened, and where their logs stand.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::histogram::AtomicHistogram;
use super::register::Register;
use crate::partition::Partition;

const OPENING_MICROS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    120_000_000,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPartition {
    partition: u8,
}

impl From<Partition> for OfPartition {
    fn from(partition: Partition) -> Self {
        Self { partition: partition.number() }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithReason {
    partition: u8,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct WithKind {
    pub partition: u8,
    pub kind: String,
}

pub(super) type ByPartition = Family<OfPartition, Gauge>;
pub(super) type SecondsByPartition = Family<OfPartition, Gauge<f64, AtomicU64>>;

/// Counts what keepers do, and holds what they sample.
#[derive(Clone, Debug)]
pub struct KeeperMetrics {
    open: ByPartition,
    epoch: ByPartition,
    openings: Family<WithReason, Counter>,
    opening_failures: Family<WithReason, Counter>,
    opening_seconds: AtomicHistogram,
    renewal_failures: Family<OfPartition, Counter>,
    trimmed: Family<OfPartition, Counter>,
    pub(super) sampled: Sampled,
}

/// Of partitions that this process is keeper of; without them there is no series, so that a sum over all processes counts
/// each partition once.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    pub backlog: ByPartition,
    pub lag: SecondsByPartition,
    pub entries: ByPartition,
    pub log_bytes: ByPartition,
    pub oldest_age: SecondsByPartition,
    pub buyers: ByPartition,
    pub buyers_bytes: ByPartition,
    pub order_bytes: ByPartition,
    pub dead_letters: ByPartition,
    pub incidents: Family<WithKind, Gauge>,
}

impl KeeperMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        const OF: &[&str] = &["partition"];
        Self {
            open: register.add(
                "partition_open",
                OF,
                "Whether this process knows the partition to be open (1, 0)",
                Family::default(),
            ),
            epoch: register.add(
                "partition_epoch",
                OF,
                "Epoch under which this process knows the partition to be open; 0 while closed",
                Family::default(),
            ),
            openings: register.add(
                "openings",
                &["partition", "reason"],
                "Openings by this process; reason: intact, or rebuilt where Redis was made anew from Postgres",
                Family::default(),
            ),
            opening_failures: register.add(
                "opening_failures",
                &["partition", "reason"],
                "Openings that failed and are tried again; reason: redis, layout, postgres, drain, durability, gap, lock, \
                 superseded or no_partition",
                Family::default(),
            ),
            opening_seconds: register.add(
                "opening_seconds",
                &[],
                "Time of a successful opening, drain and rebuild included, in seconds",
                AtomicHistogram::of_micros(OPENING_MICROS),
            ),
            renewal_failures: register.add(
                "lease_renewal_failures",
                OF,
                "Renewals of the lease that failed",
                Family::default(),
            ),
            trimmed: register.add(
                "log_entries_trimmed",
                OF,
                "Entries of the stream that is the log which this process removed after log_retention_s",
                Family::default(),
            ),
            sampled: Sampled::new(register),
        }
    }

    /// What this process knows of a partition: the epoch under which it is open, or that it is not.
    pub fn gate(&self, partition: Partition, epoch: Option<i64>) {
        self.open.get_or_create(&partition.into()).set(i64::from(epoch.is_some()));
        self.epoch.get_or_create(&partition.into()).set(epoch.unwrap_or(0));
    }

    /// A partition was opened.
    pub fn opened(&self, partition: Partition, rebuilt: bool, took: Duration) {
        let reason = if rebuilt { "rebuilt" } else { "intact" };
        self.openings.get_or_create(&WithReason { partition: partition.number(), reason }).inc();
        self.opening_seconds.observe_time(took);
    }

    /// An opening failed.
    pub fn opening_failed(&self, partition: Partition, reason: &'static str) {
        self.opening_failures.get_or_create(&WithReason { partition: partition.number(), reason }).inc();
    }

    /// A lease was not renewed.
    pub fn renewal_failed(&self, partition: Partition) {
        self.renewal_failures.get_or_create(&partition.into()).inc();
    }

    /// Log entries were removed.
    pub fn trimmed(&self, partition: Partition, entries: u64) {
        self.trimmed.get_or_create(&partition.into()).inc_by(entries);
    }
}

impl Sampled {
    fn new(register: &mut Register) -> Self {
        let mut of_partition = |name, help| register.add(name, &["partition"], help, ByPartition::default());
        let (backlog, entries, log_bytes) = (
            of_partition("backlog_entries", "Log entries that are not yet persisted"),
            of_partition(
                "log_entries",
                "Entries of the stream that is the log: orders that were decided by one call share one",
            ),
            of_partition("log_bytes", "Memory of the log in Redis, in bytes, estimated by MEMORY USAGE"),
        );
        let (buyers, buyers_bytes, order_bytes, dead_letters) = (
            of_partition("buyers", "Buyers whom Redis remembers, in all sales"),
            of_partition(
                "buyers_bytes",
                "Memory of the buyers' records in Redis, in bytes, estimated by MEMORY USAGE",
            ),
            of_partition(
                "order_memory_bytes",
                "Memory of one order in Redis, in bytes: of a log entry and of a buyer's records, on average",
            ),
            of_partition("dead_letters_open", "Dead letters that nobody has ended"),
        );
        Self {
            backlog,
            lag: register.add(
                "lag_seconds",
                &["partition"],
                "Age of the oldest log entry that is not yet persisted, in seconds; 0 where there is none",
                Family::default(),
            ),
            entries,
            log_bytes,
            oldest_age: register.add(
                "log_oldest_entry_age_seconds",
                &["partition"],
                "Age of the oldest log entry that is kept, in seconds",
                Family::default(),
            ),
            buyers,
            buyers_bytes,
            order_bytes,
            dead_letters,
            incidents: register.add(
                "incidents",
                &["partition", "kind"],
                "Incidents that nobody has acknowledged, by kind",
                Family::default(),
            ),
        }
    }

    /// Forgets a partition that is no longer ours.
    pub fn remove(&self, partition: Partition, kinds: &[String]) {
        let label: OfPartition = partition.into();
        for gauge in [
            &self.backlog,
            &self.entries,
            &self.log_bytes,
            &self.buyers,
            &self.buyers_bytes,
            &self.order_bytes,
            &self.dead_letters,
        ] {
            gauge.remove(&label);
        }
        for gauge in [&self.lag, &self.oldest_age] {
            gauge.remove(&label);
        }
        for kind in kinds {
            self.incidents.remove(&WithKind { partition: partition.number(), kind: kind.clone() });
        }
    }
}
