//! Keeps a partition open, while the server is the one that was opened.
//!
//! Renewal does not need Postgres, so intake survives its absence.

use fred::types::Value;

use super::lock::KeeperLock;
use super::opening::Opened;
use super::{Held, Keeper};
use crate::redis::{RedisError, Script};

/// Renews until the partition is no longer ours to renew.
pub(super) async fn renew(keeper: &Keeper, opened: &Opened) -> RedisError {
    let keys = keeper.keys();
    let mut ticks = tokio::time::interval(keeper.options.lease_renew);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let args: Vec<Value> = vec![
            (keeper.options.lease.as_millis() as i64).into(),
            opened.server.run_id.as_str().into(),
            opened.server.master_replid.as_str().into(),
        ];
        match keeper
            .redis
            .run(&opened.scripts, Script::Renew, vec![keys.meta.clone(), keys.log.clone()], args)
            .await
        {
            Ok(_) => {}
            // Away, or slow: the lease itself decides how long that may last.
            Err(RedisError::Timeout | RedisError::Disconnected(_) | RedisError::Refused(_)) => {
                keeper.metrics.keeper.renewal_failed(keeper.partition);
            }
            Err(error) => {
                keeper.metrics.keeper.renewal_failed(keeper.partition);
                return error;
            }
        }
    }
}

/// What follows from a lease that could not be renewed.
pub(super) fn lost(keeper: &Keeper, opened: &Opened, lock: &KeeperLock, error: &RedisError) -> Held {
    keeper.gate.refused(&opened.scripts.stamp);
    // With the lock nobody else can have opened it: Redis itself has changed.
    let held = if lock.is_held() { Held::Reopen } else { Held::StepDown };
    tracing::warn!(partition = %keeper.partition, %error, next = ?held, "the partition is closed");
    held
}
