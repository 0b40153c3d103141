//! Opening a partition: DESIGN's fence, step by step. Every step that changes Redis is conditional on this opening's
//! token, so that a keeper which was stopped and wakes late harms nothing.

use std::time::{Duration, Instant};

use fred::types::{Key, Value};

use crate::dead_letters::Operator;
use crate::faults::{crash_point, weakened};
use crate::log::{EntryId, LogEntry};
use crate::order_id::Mark;
use crate::persist::{Applied, Fence};
use crate::redis::{GROUP, KeeperScript, Keys, RedisError, Reply, Stamp, StampedScripts};

use super::drain::{self, Drained};
use super::durability;
use super::judge::{Verdict, judge};
use super::lock::KeeperLock;
use super::memory::Memory;
use super::old_lease::{RecordedLease, sells_not_before};
use super::open_error::OpenError;
use super::records::Which;
use super::server_clock::{Lateness, ServerClock};
use super::server_identity::ServerIdentity;
use super::watermark::Watermark;
use super::{Keeper, ProgressSink, rebuild};

/// Tries to open before what `open.lua` calls late, or a lock that is not proven, counts as a fault.
const OPEN_TRIES: u32 = 20;
/// Between them, where a proof is waited for.
const OPEN_RETRY: Duration = Duration::from_millis(100);

/// Why a partition is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenKind<'a> {
    /// It is not open: Redis is rebuilt where it has to be.
    AsNeeded,
    /// An operator asks for a rebuild, and may accept the loss of entries that exist nowhere.
    Rebuild { gap_accepted_by: Option<&'a Operator> },
}

impl<'a> OpenKind<'a> {
    fn gap_accepted_by(self) -> Option<&'a Operator> {
        match self {
            Self::AsNeeded => None,
            Self::Rebuild { gap_accepted_by } => gap_accepted_by,
        }
    }
}

/// What an opening did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The partition is open under it.
    pub epoch: i64,
    /// What the log held and Postgres did not.
    pub drained: Applied,
    /// Why Redis was rebuilt from Postgres; `None` where it was intact.
    pub rebuilt: Option<&'static str>,
    /// Entries that were appended, not persisted, and are gone from the log.
    pub entries_lost: u64,
    /// All in all.
    pub took: Duration,
}

/// An open partition, and the server on which it was opened.
pub(super) struct Opened {
    pub scripts: StampedScripts,
    pub server: ServerIdentity,
    pub clock: ServerClock,
    /// Replicas that were healthy then.
    pub replicas: i64,
    /// As this opening left it.
    pub watermark: Watermark,
    pub report: Report,
}

/// What the last opening counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Entries appended after it.
    pub appended: u64,
    /// Of those: entries that were settled.
    pub settled: u64,
    /// Its own entry.
    pub since: EntryId,
}

/// An opening under way.
pub(super) struct Opening<'a> {
    pub keeper: &'a Keeper,
    pub keys: Keys,
    pub epoch: i64,
    /// As it was closed.
    pub backlog: Backlog,
    pub token: String,
}

impl Keeper {
    /// Opens the partition.
    pub(super) async fn open(
        &self,
        lock: &KeeperLock,
        memory: &Memory,
        kind: OpenKind<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<Opened, OpenError> {
        let started = Instant::now();
        let keys = self.keys();
        let server = ServerIdentity::of(&self.redis, &keys).await?;
        let since = memory.sees(&server).max(lock.taken());
        let recorded = RecordedLease::read(&self.pool, self.partition).await?;
        let opening = self.begin(keys, lock, memory).await?;
        // Behind the fence: servers that lose what a 202 promises do not go on selling under an older opening.
        self.check_durability(&opening.keys).await?;
        let fence = Fence::new(self.partition, opening.epoch);

        let watermark = Watermark::read(&self.pool, self.partition).await?;
        // Before anything replaces the consumer group, and also where the judge refuses.
        let missing = opening.entries_missing().await?;
        let history = self.history(&watermark).await?;
        let verdict = judge(&history);
        let gap_accepted_by = kind.gap_accepted_by();
        let from = match &verdict {
            Verdict::Intact => watermark.entry.next(),
            Verdict::Rebuild(_) => EntryId::ZERO,
            Verdict::Refuse { .. } if gap_accepted_by.is_some() => EntryId::ZERO,
            Verdict::Refuse { watermark: at, first } => {
                opening.report_lost(&watermark, missing).await?;
                return Err(OpenError::Gap { watermark: *at, first: *first });
            }
        };
        let start = drain::Start { from, watermark: watermark.entry, accepts_gap: gap_accepted_by.is_some() };
        let limit = self.options.postgres_timeout;
        let Drained { applied: drained, mut given_up } = match weakened!("opening_without_drain") {
            true => Drained::default(),
            false => drain::drain(&self.redis, &opening.keys, &self.pool, fence, start, limit).await?,
        };
        crash_point!("opening_after_drain");
        let entries_lost = opening.report_lost(&watermark, missing).await?;
        if let Some(by) = gap_accepted_by {
            if let Verdict::Refuse { watermark, first } = &verdict
                && given_up.is_empty()
            {
                given_up.push((*watermark, *first));
            }
            self.report_given_up(by, &given_up, &drained, entries_lost).await?;
        }
        let rebuilt = match &verdict {
            Verdict::Rebuild(why) => Some(*why),
            Verdict::Refuse { .. } => Some("an operator accepts what is missing from the log"),
            Verdict::Intact if kind != OpenKind::AsNeeded => Some("an operator asks for it"),
            Verdict::Intact if !opening.stock_agrees().await? => {
                Some("the stock differs from what the database computes")
            }
            Verdict::Intact => None,
        };
        if let Some(why) = rebuilt {
            match watermark.entry {
                EntryId::ZERO => tracing::info!(partition = %self.partition, "a new partition"),
                _ => tracing::warn!(partition = %self.partition, why, "rebuilds redis from postgres"),
            }
            rebuild::rebuild(&opening, progress).await?;
            crash_point!("opening_after_rebuild");
        }
        let floor = history.highest_known.max(watermark.entry);
        let mut reached = watermark;
        if verdict != Verdict::Intact {
            // Said before the log begins anew: whoever dies on the next line leaves a log that begins above the old
            // watermark, and that must not look like a gap.
            let base = Watermark { entry: history.last_generated.max(floor), mark: String::new() };
            reached = opening.raise(reached, base).await?;
            crash_point!("opening_after_base");
        }
        let reached = opening.begin_log_anew(history.last_generated, floor, reached).await?;
        if let Some(then) = sells_not_before(&server, recorded.as_ref(), memory.given().as_ref(), since) {
            let wait_ms = then.saturating_duration_since(Instant::now()).as_millis() as u64;
            tracing::info!(partition = %self.partition, wait_ms, "waits out the lease of another server");
            tokio::time::sleep_until(then.into()).await;
        }
        let epoch = opening.epoch;
        let (scripts, clock, replicas) = opening.finish(&server, lock, memory).await?;
        let took = started.elapsed();
        self.metrics.keeper.opened(self.partition, rebuilt.is_some(), took);
        tracing::info!(
            partition = %self.partition, epoch, drained = drained.new_orders,
            over_allotment = drained.over_allotment, dead_letters = drained.dead_letters, entries_lost,
            rebuilt = rebuilt.is_some(), took_ms = took.as_millis() as u64, "partition is open",
        );
        let report = Report { epoch, drained, rebuilt, entries_lost, took };
        Ok(Opened { scripts, server, clock, replicas, watermark: reached, report })
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

    /// Adds records of orders to those of their buyers, if this opening is still the one.
    pub async fn remember(
        &self,
        buyers: &Key,
        which: Which,
        records: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        let mut all = Vec::with_capacity(records.len() + 2);
        all.push(self.token.as_str().into());
        all.push(which.word().into());
        all.extend(records);
        let keys = vec![self.keys.meta.clone(), buyers.clone()];
        self.keeper.redis.run_keeper(KeeperScript::Remember, keys, all).await
    }

    /// Writes the opening into the log, above every id that was ever given out, and begins the consumer group there:
    /// everything up to it is persisted.
    async fn begin_log_anew(
        &self,
        last_generated: EntryId,
        floor: EntryId,
        watermark: Watermark,
    ) -> Result<Watermark, OpenError> {
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
        let reached = self.raise(watermark, Watermark { entry: id, mark: mark.to_string() }).await?;
        crash_point!("opening_after_watermark");
        // All that was appended before is persisted, or reported as lost.
        let count = ["appended".into(), 0.into(), "settled".into(), 0.into(), "opening".into()];
        let count = count.into_iter().chain([id.to_string().into()]).collect();
        self.step("HSET", &self.keys.meta, count).await?;
        self.step("XGROUP", &self.keys.log, vec!["DESTROY".into(), GROUP.into()]).await?;
        crash_point!("opening_without_group");
        self.step("XGROUP", &self.keys.log, vec!["CREATE".into(), GROUP.into(), id.to_string().into()])
            .await?;
        Ok(reached)
    }

    async fn raise(&self, from: Watermark, to: Watermark) -> Result<Watermark, OpenError> {
        match from.raise(&to, &self.keeper.pool, self.keeper.partition, self.epoch).await? {
            true => Ok(if to.entry > from.entry { to } else { from }),
            false => Err(OpenError::OtherPostgres),
        }
    }

    /// Loads the scripts, says where it sells, and sells: on one connection, so that the process that holds the marker
    /// is the one that `open.lua` finds to be the server on which this opening began. Any other server's lease is over.
    async fn finish(
        self,
        server: &ServerIdentity,
        lock: &KeeperLock,
        memory: &Memory,
    ) -> Result<(StampedScripts, ServerClock, i64), OpenError> {
        let Self { keeper, keys, epoch, token, .. } = self;
        let lease = keeper.options.lease;
        let stamp = Stamp::new(keeper.partition, epoch);
        let scripts = StampedScripts::new(stamp);
        let session = keeper.redis.session().await?;
        session.load_scripts(&scripts, &keys.meta).await?;
        crash_point!("opening_after_load");
        let mut late = Lateness::of(lease);
        memory.gives(&server.run_id, epoch, Instant::now(), late, lease);
        if !RecordedLease::write(&keeper.pool, keeper.partition, epoch, server, lease).await? {
            return Err(OpenError::OtherPostgres);
        }
        let mut server_ms = keeper.redis_time_ms().await?;
        for _ in 0..OPEN_TRIES {
            let clock = ServerClock::new(server_ms, Instant::now());
            // The time first, the lock then: a process that stands still in between sends what nobody heeds.
            let sent = Instant::now();
            if !lock.is_proven(sent) {
                tokio::time::sleep(OPEN_RETRY).await;
                server_ms = keeper.redis_time_ms().await?;
                continue;
            }
            memory.gives(&server.run_id, epoch, sent, late, lease);
            let args: Vec<Value> = vec![
                token.as_str().into(),
                stamp.to_string().into(),
                (lease.as_millis() as i64).into(),
                server.run_id.as_str().into(),
                server.master_replid.as_str().into(),
                clock.not_after(sent, late).into(),
            ];
            let reply = session.run_keeper(KeeperScript::Open, vec![keys.meta.clone()], args).await?;
            let (said, now_ms, replicas): (String, i64, i64) = reply.convert().map_err(RedisError::from)?;
            if said == "open" {
                crash_point!("opening_after_open");
                return Ok((scripts, ServerClock::new(now_ms, Instant::now()), replicas));
            }
            late.was_late();
            server_ms = now_ms;
        }
        Err(OpenError::LockLost)
    }
}
