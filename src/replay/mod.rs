//! Persisting the retained log once more: a database that was restored from a backup learns what it has missed.
//!
//! Everything in the log is idempotent to persist, so a replay may run twice, beside another one, and beside traffic.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::faults::crash_point;
use crate::keeper::Watermark;
use crate::log::{EntryId, LogEntry, LogRange, RawEntry, last_generated, read_range};
use crate::partition::Partition;
use crate::persist::{Applied, Entry, Fence, Foreseen, WriteError, persist_again, rehearse};
use crate::postgres::{PgError, PgPool};
use crate::redis::{Keys, Redis, RedisError};

/// Entries in one transaction.
const STEP: usize = 1000;
/// A database that is away is tried so often, for about a minute, before the replay gives up.
const TRIES_MAX: u32 = 60;
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// A replay of one partition.
pub struct Replay<'a> {
    /// Where the log is.
    pub redis: &'a Redis,
    /// Where it is persisted.
    pub pool: &'a PgPool,
    /// Whose log.
    pub partition: Partition,
    /// For one transaction, also where Postgres has stopped answering.
    pub limit: Duration,
    /// Nothing is written: every transaction is rolled back.
    pub dry_run: bool,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Whose log.
    pub partition: u8,
    /// The first entry that the log still has; what stood before it was trimmed, or is of an older Redis.
    #[serde(serialize_with = "as_text")]
    pub retained_from: Option<EntryId>,
    /// Whether the range was asked for from before that.
    pub begins_before_the_log: bool,
    /// Whether the log lacks entries that this database has not persisted either.
    pub has_gap: bool,
    /// The first entry that was read.
    #[serde(serialize_with = "as_text")]
    pub first: Option<EntryId>,
    /// The last.
    #[serde(serialize_with = "as_text")]
    pub last: Option<EntryId>,
    /// Entries that were read.
    pub read: u64,
    /// What became of them.
    #[serde(flatten)]
    pub applied: Applied,
    /// Whether it was told to stop before it was done.
    pub is_stopped: bool,
}

fn as_text<S: serde::Serializer>(entry: &Option<EntryId>, s: S) -> Result<S::Ok, S::Error> {
    match entry {
        Some(entry) => s.collect_str(entry),
        None => s.serialize_none(),
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were read.
    pub read: u64,
    /// Milliseconds of the log that are done.
    pub done_ms: u64,
    /// Milliseconds of the log in all.
    pub total_ms: u64,
}

/// A replay that cannot go on. What it wrote stays; running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error("postgres: {0}")]
    Postgres(#[from] PgError),
    /// A batch.
    #[error("persisting the entries from {from} on: {source}")]
    Write {
        /// The first of them.
        from: EntryId,
        /// Why.
        source: WriteError,
    },
    /// The partition's row is missing.
    #[error("postgres has no row for partition {0}: run `doorbuster migrate` with the same `partitions`")]
    NoPartition(Partition),
}

impl Replay<'_> {
    /// Replays `range` in log order, until `stop`; then the batch in hand is finished.
    ///
    /// # Errors
    /// [`ReplayError`]; batches before it are persisted.
    pub async fn run(
        &self,
        range: LogRange,
        progress: &(dyn Fn(Progress) + Sync),
        stop: &CancellationToken,
    ) -> Result<Replayed, ReplayError> {
        let keys = Keys::new(self.partition);
        let now_ms = redis_time_ms(self.redis, &keys).await?;
        let (asked_from, asked_to) = range.resolve(now_ms);
        let end = last_generated(self.redis, &keys).await?;
        let to = asked_to.min(end);
        let mut replayed = Replayed { partition: self.partition.number(), ..Replayed::default() };
        let Some(first) = read_range(self.redis, &keys, EntryId::ZERO, 1).await?.into_iter().next() else {
            return Ok(replayed);
        };
        replayed.retained_from = Some(first.id);
        replayed.begins_before_the_log = range.from.is_some() && asked_from < first.id;
        replayed.has_gap = self.has_gap_before(&first).await?;
        let from = asked_from.max(first.id);
        // To the log's end, also where the range ends before it: what is foreseen stands behind its order.
        let foreseen = Foreseen::read(self.redis, &keys, from).await?;
        crash_point!("replay_after_foreseen");
        let mut before: Vec<Entry> = Vec::new();
        let mut next = from;
        while next <= to {
            if stop.is_cancelled() {
                replayed.is_stopped = true;
                break;
            }
            let mut batch = read_range(self.redis, &keys, next, STEP).await?;
            // What is left of it is read again.
            batch.truncate(STEP);
            batch.retain(|entry| entry.id <= to);
            let Some(last) = batch.last().map(|entry| entry.id) else { break };
            let applied = self.persist(&batch, &before, &foreseen).await?;
            crash_point!("replay_after_batch");
            if self.dry_run && applied.dead_letters == 0 {
                before.extend(batch.iter().filter_map(new_foundation));
            }
            replayed.first = replayed.first.or(batch.first().map(|entry| entry.id));
            replayed.last = Some(last);
            replayed.read += batch.len() as u64;
            replayed.applied += applied;
            let of = |id: EntryId| id.ms.saturating_sub(from.ms);
            progress(Progress { read: replayed.read, done_ms: of(last), total_ms: of(to) });
            next = last.next();
        }
        Ok(replayed)
    }

    /// Whether what stood before the first entry is in the database, as far as this can tell.
    async fn has_gap_before(&self, first: &RawEntry) -> Result<bool, ReplayError> {
        let watermark = Watermark::read(self.pool, self.partition).await?.entry;
        let begins_at = match first.decode() {
            Ok(LogEntry::Opening { base, .. }) => base,
            _ => first.id,
        };
        Ok(watermark < begins_at)
    }

    /// Under the newest epoch: where the partition is opened meanwhile, the batch is persisted under the next one.
    async fn persist(
        &self,
        batch: &[RawEntry],
        before: &[Entry],
        foreseen: &Foreseen,
    ) -> Result<Applied, ReplayError> {
        let mut tries = 0;
        loop {
            let outcome = match self.epoch().await {
                Ok(epoch) => {
                    // Into a restored Postgres too, before anyone has opened there: nothing is settled here.
                    let fence = Fence::new(self.partition, epoch).at_any_postgres();
                    let (pool, limit) = (self.pool, self.limit);
                    match self.dry_run {
                        true => rehearse(pool, fence, before, batch, foreseen, limit).await,
                        false => persist_again(pool, fence, batch, foreseen, limit).await,
                    }
                }
                Err(ReplayError::Postgres(error)) => Err(error.into()),
                Err(error) => return Err(error),
            };
            let error = match outcome {
                Ok(applied) => return Ok(applied),
                Err(error) => error,
            };
            let pause = match &error {
                WriteError::Superseded(_) | WriteError::GateMoved => Duration::from_millis(20),
                WriteError::Postgres(error) if error.is_transient() => TRY_PAUSE,
                _ => TRY_PAUSE * TRIES_MAX,
            };
            tries += 1;
            if tries >= TRIES_MAX || pause > TRY_PAUSE {
                let from = batch.first().map_or(EntryId::ZERO, |entry| entry.id);
                return Err(ReplayError::Write { from, source: error });
            }
            tracing::warn!(partition = %self.partition, %error, "tries again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn epoch(&self) -> Result<i64, ReplayError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let row = db
            .query_opt("SELECT epoch FROM partitions WHERE partition = $1", &[&self.partition.to_sql()])
            .await
            .map_err(PgError::from)?;
        row.map(|row| row.get(0)).ok_or(ReplayError::NoPartition(self.partition))
    }
}

/// What later entries stand on: a rehearsal rolls it back, and applies it anew before the next batch.
fn new_foundation(raw: &RawEntry) -> Option<Entry> {
    let entry = raw.decode().ok()?;
    let counts = match &entry {
        LogEntry::Sale(_) | LogEntry::Allotment(_) => true,
        LogEntry::Adjustment(adjustment) => !adjustment.lowers(),
        _ => false,
    };
    counts.then_some((raw.id, entry))
}

async fn redis_time_ms(redis: &Redis, keys: &Keys) -> Result<u64, RedisError> {
    let (seconds, micros): (u64, u64) = redis.command("TIME", &keys.meta, Vec::new()).await?.convert()?;
    Ok(seconds * 1000 + micros / 1000)
}
