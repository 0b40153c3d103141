//! The role that opens partitions: one at a time per partition, held by a Postgres advisory lock.
//!
//! Start-up, a restart of Redis, a failover and a repair are one path: [`opening`].

mod closing;
mod drain;
mod durability;
mod duties;
mod eviction;
mod inspection;
mod judge;
mod lease;
mod lock;
mod lost_entries;
mod memory;
mod old_lease;
mod open_error;
mod opening;
mod operator;
mod other_postgres;
mod rebuild;
mod records;
mod remembered_orders;
mod retention;
mod server_clock;
mod server_identity;
mod watermark;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis};

pub use durability::DurabilityCheck;
pub use judge::{History, Verdict, judge};
pub use open_error::OpenError;
pub use opening::Report;
pub use watermark::Watermark;

use lock::KeeperLock;
use memory::Memory;
use old_lease::RecordedLease;
use opening::OpenKind;

/// Between tries to become keeper, and to open.
const RETRY: Duration = Duration::from_millis(200);
/// How long a keeper tries in vain to reach Redis before it gives another process, which may reach it, a chance.
const ALONE: Duration = Duration::from_secs(5);
/// For the last word of a keeper that ends in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Orders that Redis knows again.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// Whom a rebuild tells how far it is.
pub type ProgressSink<'a> = &'a (dyn Fn(Progress) + Sync);

/// How a keeper works.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// How long a partition stays open without being renewed.
    pub lease: Duration,
    /// How often it is renewed.
    pub lease_renew: Duration,
    /// How long log entries are kept once they are persisted.
    pub log_retention: Duration,
    /// How long after its end a sale's keys stay in Redis.
    pub sale_retention: Duration,
    /// For one transaction of Postgres, also where it has stopped answering.
    pub postgres_timeout: Duration,
    /// How often Redis is held against Postgres.
    pub reconcile: Duration,
    /// What the servers must promise before anything is sold.
    pub durability: DurabilityCheck,
}

/// Candidate for the keeper of one partition.
#[derive(Clone)]
pub struct Keeper {
    /// Which.
    pub partition: Partition,
    /// Of its own: a lease must not wait behind a batch of claims.
    pub redis: Redis,
    /// The source of truth.
    pub pool: PgPool,
    /// Told when the keeper knows that the partition is closed.
    pub gate: Gate,
    /// How.
    pub options: KeeperOptions,
    /// What it has done and seen.
    pub metrics: Arc<Metrics>,
}

/// Why a keeper stopped holding an open partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Redis must be opened anew: it was restarted, or lost what the opening left there.
    Reopen,
    /// Another keeper has gone further, or holds the lock.
    StepDown,
    /// The process ends.
    Stopped,
}

impl Keeper {
    fn keys(&self) -> Keys {
        Keys::new(self.partition)
    }

    /// Stands for keeper until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let memory = Memory::default();
        while !stop.is_cancelled() {
            self.term(&memory, &stop).await;
        }
    }

    /// From taking the lock to losing it.
    async fn term(&self, memory: &Memory, stop: &CancellationToken) {
        let lock = tokio::select! {
            lock = self.wait_for_lock() => lock,
            () = stop.cancelled() => return,
        };
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(partition = %self.partition, %error, "cannot stand for keeper");
                return tokio::time::sleep(RETRY).await;
            }
        };
        let aside = self.serve(&lock, memory, stop).await;
        if lock.is_held() {
            self.end_in_order(memory).await;
        }
        drop(lock);
        // Longer than a candidate waits between its tries.
        let aside = aside.max(lock::POLL + RETRY / 2);
        tokio::select! {
            () = tokio::time::sleep(aside) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Opens, holds, opens again; until another process is better placed. Answers for how long to stand aside then.
    async fn serve(&self, lock: &KeeperLock, memory: &Memory, stop: &CancellationToken) -> Duration {
        let mut alone_since: Option<Instant> = None;
        while lock.is_held() {
            let opened = tokio::select! {
                opened = self.open(lock, memory, OpenKind::AsNeeded, &|_| ()) => opened,
                () = stop.cancelled() => return Duration::ZERO,
            };
            let error = match opened {
                Ok(opened) => match duties::hold(self, &opened, lock, memory, stop).await {
                    Held::Reopen => {
                        alone_since = None;
                        continue;
                    }
                    Held::StepDown | Held::Stopped => return Duration::ZERO,
                },
                Err(error) => error,
            };
            self.metrics.keeper.opening_failed(self.partition, error.reason());
            error.report(self.partition);
            if error.is_for_another_process() {
                return error.pause();
            }
            alone_since =
                if error.is_redis_away() { alone_since.or_else(|| Some(Instant::now())) } else { None };
            if alone_since.is_some_and(|since| since.elapsed() > ALONE) {
                return Duration::ZERO;
            }
            tokio::select! {
                () = tokio::time::sleep(error.pause()) => {}
                () = stop.cancelled() => return Duration::ZERO,
            }
        }
        Duration::ZERO
    }

    /// Tells the next keeper when the last lease is over, so that it need not wait for what it does not know.
    async fn end_in_order(&self, memory: &Memory) {
        let Some(given) = memory.given() else { return };
        let said =
            tokio::time::timeout(FAREWELL, RecordedLease::write_end(&self.pool, self.partition, &given));
        match said.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(partition = %self.partition, %error, "the next keeper may wait longer")
            }
            Err(_) => {
                tracing::warn!(partition = %self.partition, "no answer: the next keeper may wait longer")
            }
        }
    }
}
