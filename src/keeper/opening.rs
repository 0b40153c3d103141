//! Opening a partition: DESIGN's fence, step by step. Every step that changes Redis is conditional on this opening's
//! token, so that a keeper which was stopped and wakes late harms nothing.

use std::time::Duration;

use fred::types::{Key, Value};

use crate::faults::{crash_point, weakened};
use crate::log::{EntryId, LogEntry};
use crate::order_id::Mark;
use crate::partition::Partition;
use crate::persist::{Applied, Fence, WriteError};
use crate::postgres::{PartitionLock, PgError};
use crate::redis::{GROUP, KeeperScript, Keys, LAYOUT, RedisError, Reply, Stamp, StampedScripts};

use super::durability::{self, DurabilityError};
use super::judge::{Verdict, judge};
use super::lock::KeeperLock;
use super::server_identity::ServerIdentity;
use super::watermark::Watermark;
use super::{Keeper, drain, rebuild};

/// A partition is not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error("postgres: {0}")]
    Postgres(#[from] PgError),
    /// What the log holds could not be persisted.
    #[error("draining the log: {0}")]
    Drain(#[from] WriteError),
    /// The servers may lose what a 202 promises.
    #[error(
        "the servers' settings break the promise of the configured ack: {}. Change them, or set \
         durability_check = \"warn\" to sell all the same", .0.join("; ")
    )]
    Durability(Vec<String>),
    /// Postgres is older than the log.
    #[error(
        "postgres has persisted up to {watermark}, but the log begins at {first}: entries between them exist nowhere. \
         Is postgres_url right? Was it restored from a backup older than log_retention_s? Restore a newer one; \
         opening now would destroy what redis alone still knows"
    )]
    Gap {
        /// Persisted up to here.
        watermark: EntryId,
        /// The log begins here.
        first: EntryId,
    },
    /// The lock was lost on the way.
    #[error("the keeper's lock was lost")]
    LockLost,
    /// The partition's row is missing.
    #[error("postgres has no row for this partition: run `doorbuster migrate` with the same `partitions`")]
    NoPartition,
}

impl From<DurabilityError> for OpenError {
    fn from(error: DurabilityError) -> Self {
        match error {
            DurabilityError::Redis(error) => error.into(),
            DurabilityError::Postgres(error) => error.into(),
        }
    }
}

impl OpenError {
    /// Before the next try: short where only a server has to come back.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Redis(RedisError::Layout(_)) => Duration::from_secs(5),
            Self::Redis(_) | Self::LockLost => Duration::from_millis(50),
            Self::Postgres(_) | Self::Drain(_) => super::RETRY,
            Self::Durability(_) | Self::Gap { .. } | Self::NoPartition => Duration::from_secs(5),
        }
    }

    pub(super) fn report(&self, partition: Partition) {
        match self {
            Self::Durability(_)
            | Self::Gap { .. }
            | Self::NoPartition
            | Self::Redis(RedisError::Layout(_)) => {
                tracing::error!(%partition, error = %self, "refuses to open");
            }
            _ => tracing::warn!(%partition, error = %self, "cannot open yet"),
        }
    }
}

/// An open partition, and the server on which it was opened.
pub(super) struct Opened {
    pub scripts: StampedScripts,
    pub server: ServerIdentity,
}

/// An opening under way.
pub(super) struct Opening<'a> {
    pub keeper: &'a Keeper,
    pub keys: Keys,
    pub epoch: i64,
    token: String,
}

impl Keeper {
    /// Opens the partition.
    pub(super) async fn open(&self, lock: &KeeperLock) -> Result<Opened, OpenError> {
        let started = std::time::Instant::now();
        let keys = self.keys();
        let server = ServerIdentity::of(&self.redis, &keys).await?;
        let opening = self.begin(keys, lock).await?;
        // Behind the fence: servers that lose what a 202 promises do not go on selling under an older opening.
        self.check_durability(&opening.keys).await?;
        let fence = Fence { partition: self.partition, epoch: opening.epoch };

        let watermark = Watermark::read(&self.pool, self.partition).await?;
        let history = opening.history(&watermark).await?;
        let verdict = judge(&history);
        let from = match &verdict {
            Verdict::Intact => watermark.entry.next(),
            Verdict::Rebuild(_) => EntryId::ZERO,
            Verdict::Refuse { watermark, first } => {
                return Err(OpenError::Gap { watermark: *watermark, first: *first });
            }
        };
        let limit = self.options.postgres_timeout;
        let drained = match weakened!("opening_without_drain") {
            true => Applied::default(),
            false => drain::drain(&self.redis, &opening.keys, &self.pool, fence, from, limit).await?,
        };
        crash_point!("opening_after_drain");
        let rebuilt = match &verdict {
            Verdict::Rebuild(why) => Some(*why),
            _ if !opening.stock_agrees().await? => Some("the stock differs from what the database computes"),
            _ => None,
        };
        if let Some(why) = rebuilt {
            match watermark.entry {
                EntryId::ZERO => tracing::info!(partition = %self.partition, "a new partition"),
                _ => tracing::warn!(partition = %self.partition, why, "rebuilds redis from postgres"),
            }
            rebuild::rebuild(&opening).await?;
            crash_point!("opening_after_rebuild");
        }
        let floor = history.highest_known.max(watermark.entry);
        if matches!(verdict, Verdict::Rebuild(_)) {
            // Said before the log begins anew: whoever dies on the next line leaves a log that begins above the old
            // watermark, and that must not look like a gap.
            let base = Watermark { entry: history.last_generated.max(floor), mark: String::new() };
            base.raise(&self.pool, self.partition, opening.epoch).await?;
            crash_point!("opening_after_base");
        }
        opening.begin_log_anew(history.last_generated, floor).await?;
        if !lock.is_held() {
            return Err(OpenError::LockLost);
        }
        let opened = opening.finish(server).await?;
        tracing::info!(
            partition = %self.partition, epoch = opened.scripts.stamp.epoch, drained = drained.new_orders,
            over_allotment = drained.over_allotment, dead_letters = drained.dead_letters,
            rebuilt = rebuilt.is_some(), took_ms = started.elapsed().as_millis() as u64, "partition is open",
        );
        Ok(opened)
    }

    async fn check_durability(&self, keys: &Keys) -> Result<(), OpenError> {
        let check = self.options.durability;
        let complaints = durability::complaints(&self.redis, keys, &self.pool, check).await?;
        match complaints.as_slice() {
            [] => Ok(()),
            _ if check.enforce => Err(OpenError::Durability(complaints)),
            _ => {
                tracing::warn!(partition = %self.partition, complaints = complaints.join("; "), "weaker than promised");
                Ok(())
            }
        }
    }

    /// Raises the epoch in Postgres, then takes the partition out of sale: from here no claim passes, also where
    /// Redis was healthy.
    async fn begin(&self, keys: Keys, lock: &KeeperLock) -> Result<Opening<'_>, OpenError> {
        let in_redis: Option<i64> = self
            .redis
            .on_key("HGET", &keys.meta, vec!["epoch".into()])
            .await?
            .convert()
            .map_err(RedisError::from)?;
        if !lock.is_held() {
            return Err(OpenError::LockLost);
        }
        let epoch = self.raise_epoch(in_redis.unwrap_or(0)).await?;
        crash_point!("opening_after_epoch");
        let token = format!("{:032x}", fastrand::u128(..));
        let args: Vec<Value> = vec![epoch.into(), token.as_str().into(), LAYOUT.into()];
        self.redis.run_keeper(KeeperScript::Begin, vec![keys.meta.clone()], args).await?;
        crash_point!("opening_after_begin");
        Ok(Opening { keeper: self, keys, epoch, token })
    }

    /// Waits for the persisting transactions in flight, which share this lock; later ones find the new epoch.
    async fn raise_epoch(&self, at_least: i64) -> Result<i64, OpenError> {
        let mut db = self.pool.get().await.map_err(PgError::from)?;
        let tx = db.transaction().await.map_err(PgError::from)?;
        let partition = self.partition.to_sql();
        tx.execute(
            "SELECT pg_advisory_xact_lock($1, $2)",
            &[&PartitionLock::Persist.class(), &i32::from(partition)],
        )
        .await
        .map_err(PgError::from)?;
        let row = tx
            .query_opt(
                "UPDATE partitions SET epoch = greatest(epoch, $2) + 1, opened_at = now()
                 WHERE partition = $1 RETURNING epoch",
                &[&partition, &at_least],
            )
            .await
            .map_err(PgError::from)?;
        tx.commit().await.map_err(PgError::from)?;
        row.map(|row| row.get(0)).ok_or(OpenError::NoPartition)
    }
}

impl Opening<'_> {
    /// Runs a command on one key, if this opening is still the one.
    pub async fn step(
        &self,
        command: &'static str,
        key: &Key,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        let mut all = Vec::with_capacity(args.len() + 2);
        all.push(self.token.as_str().into());
        all.push(command.into());
        all.extend(args);
        self.keeper.redis.run_keeper(KeeperScript::Step, vec![self.keys.meta.clone(), key.clone()], all).await
    }

    /// Writes the opening into the log, above every id that was ever given out, and begins the consumer group there:
    /// everything up to it is persisted.
    async fn begin_log_anew(&self, last_generated: EntryId, floor: EntryId) -> Result<(), OpenError> {
        let mark = Mark::random();
        let base = last_generated.max(floor);
        // Redis would take the time or its own last id; after a rewind both may lie below what Postgres knows.
        let id = if last_generated >= floor { "*".to_owned() } else { floor.next().to_string() };
        let entry = LogEntry::encode_opening(mark, self.epoch, base);
        let reply =
            self.step("XADD", &self.keys.log, vec![id.into(), "opening".into(), entry.into()]).await?;
        let id: EntryId = reply
            .as_string()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| RedisError::Unexpected("reply to XADD".into()))?;
        crash_point!("opening_after_entry");
        let watermark = Watermark { entry: id, mark: mark.to_string() };
        watermark.raise(&self.keeper.pool, self.keeper.partition, self.epoch).await?;
        crash_point!("opening_after_watermark");
        self.step("XGROUP", &self.keys.log, vec!["DESTROY".into(), GROUP.into()]).await?;
        crash_point!("opening_without_group");
        self.step("XGROUP", &self.keys.log, vec!["CREATE".into(), GROUP.into(), id.to_string().into()])
            .await?;
        Ok(())
    }

    /// Loads the scripts, and sells.
    async fn finish(self, server: ServerIdentity) -> Result<Opened, OpenError> {
        let stamp = Stamp::new(self.keeper.partition, self.epoch);
        let scripts = StampedScripts::new(stamp);
        self.keeper.redis.load(&scripts, &self.keys.meta).await?;
        crash_point!("opening_after_load");
        let args: Vec<Value> = vec![
            self.token.into(),
            stamp.to_string().into(),
            (self.keeper.options.lease.as_millis() as i64).into(),
            server.run_id.as_str().into(),
            server.master_replid.as_str().into(),
        ];
        self.keeper.redis.run_keeper(KeeperScript::Open, vec![self.keys.meta.clone()], args).await?;
        crash_point!("opening_after_open");
        Ok(Opened { scripts, server })
    }
}
