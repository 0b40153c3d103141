//! The role that opens partitions: one at a time per partition, held by a Postgres advisory lock.
//!
//! Start-up, a restart of Redis, a failover and a repair are one path: [`opening`].

mod drain;
mod durability;
mod duties;
mod inspection;
mod judge;
mod lease;
mod lock;
mod opening;
mod operator;
mod rebuild;
mod retention;
mod server_identity;
mod watermark;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::partition::Partition;
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis};

pub use durability::DurabilityCheck;
pub use judge::{History, Verdict, judge};
pub use opening::OpenError;
pub use operator::{Progress, ProgressSink, Report};

/// Between tries to become keeper, and to open.
const RETRY: Duration = Duration::from_millis(200);

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
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.term(&stop) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// From taking the lock to losing it.
    async fn term(&self, stop: &CancellationToken) {
        let mut lock = match lock::KeeperLock::acquire(&self.pool, self.partition).await {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(partition = %self.partition, %error, "cannot stand for keeper");
                return tokio::time::sleep(RETRY).await;
            }
        };
        while !stop.is_cancelled() && lock.is_held() {
            match self.open(&lock).await {
                Ok(opened) => match duties::hold(self, &opened, &mut lock, stop).await {
                    Held::Reopen => {}
                    Held::StepDown => return tokio::time::sleep(RETRY).await,
                    Held::Stopped => return,
                },
                Err(error) => {
                    error.report(self.partition);
                    tokio::time::sleep(error.pause()).await;
                }
            }
        }
    }
}
