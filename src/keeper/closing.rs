//! The beginning of an opening: the partition is taken out of sale, wherever it was sold.

use fred::types::Value;

use crate::faults::crash_point;
use crate::log::EntryId;
use crate::postgres::{PartitionLock, PgError};
use crate::redis::{KeeperScript, Keys, LAYOUT, RedisError};

use super::Keeper;
use super::lock::KeeperLock;
use super::memory::Memory;
use super::open_error::OpenError;
use super::opening::{Backlog, Opening};

impl Keeper {
    /// Raises the epoch in Postgres, then takes the partition out of sale: from here no claim passes, also where
    /// Redis was healthy.
    pub(super) async fn begin(
        &self,
        keys: Keys,
        lock: &KeeperLock,
        memory: &Memory,
    ) -> Result<Opening<'_>, OpenError> {
        let (in_redis, layout): (Option<i64>, Option<String>) = self
            .redis
            .on_key("HMGET", &keys.meta, vec!["epoch".into(), "layout".into()])
            .await?
            .convert()
            .map_err(RedisError::from)?;
        // Before anything is raised: the workers of the version that wrote this go on meanwhile.
        if let Some(layout) =
            layout.filter(|layout| layout.parse().map_or(true, |layout: u32| layout > LAYOUT))
        {
            return Err(RedisError::Layout(layout).into());
        }
        let epoch = self.raise_epoch(in_redis.unwrap_or(0), lock, memory).await?;
        let token = format!("{:032x}", fastrand::u128(..));
        let args: Vec<Value> = vec![epoch.into(), token.as_str().into(), i64::from(LAYOUT).into()];
        let reply = self.redis.run_keeper(KeeperScript::Begin, vec![keys.meta.clone()], args).await?;
        crash_point!("opening_after_begin");
        let (_, appended, settled, since): (String, u64, u64, String) =
            reply.convert().map_err(RedisError::from)?;
        let backlog = Backlog { appended, settled, since: since.parse().unwrap_or(EntryId::ZERO) };
        Ok(Opening { keeper: self, keys, epoch, backlog, token })
    }

    /// Waits for the persisting transactions in flight, which share this lock; later ones find the new epoch. Says at
    /// which Postgres: transactions at another one find that.
    pub(super) async fn raise_epoch(
        &self,
        in_redis: i64,
        lock: &KeeperLock,
        memory: &Memory,
    ) -> Result<i64, OpenError> {
        if !lock.is_held() {
            return Err(OpenError::LockLost);
        }
        let of_lock = lock.postgres().await?;
        let mut db = self.pool.get().await.map_err(PgError::from)?;
        let tx = db.transaction().await.map_err(PgError::from)?;
        let partition = self.partition.to_sql();
        tx.execute(
            "SELECT pg_advisory_xact_lock($1, $2)",
            &[&PartitionLock::Persist.class(), &i32::from(partition)],
        )
        .await
        .map_err(PgError::from)?;
        let at_least = in_redis.max(memory.highest_epoch());
        let row = tx
            .query_opt(
                "UPDATE partitions SET epoch = greatest(epoch, $2) + 1, postgres = postgres_identity(), opened_at = now()
                 WHERE partition = $1 RETURNING epoch, postgres",
                &[&partition, &at_least],
            )
            .await
            .map_err(PgError::from)?
            .ok_or(OpenError::NoPartition)?;
        if row.get::<_, &str>(1) != of_lock {
            // The lock is held in one Postgres, the rows are in another: there somebody else may be keeper.
            return Err(OpenError::OtherPostgres);
        }
        tx.commit().await.map_err(PgError::from)?;
        crash_point!("opening_after_epoch");
        let epoch = row.get(0);
        memory.used_epoch(epoch);
        Ok(epoch)
    }
}
