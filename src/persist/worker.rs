//! A consumer of the log: reads, persists, settles.

use std::time::{Duration, Instant};

use fred::types::Value;
use futures_util::FutureExt;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::faults::{crash_point, weakened};
use crate::gate::Gate;
use crate::log::{RawEntry, read_entries};
use crate::metrics::PersistMetrics;
use crate::order_id::OrderId;
use crate::persist::reading::{self, Reading, Unread};
use crate::persist::{Fence, Foreseen, KnownItems, Reserve, WriteError, persist, persist_again};
use crate::postgres::PgPool;
use crate::redis::{GROUP, Keys, Redis, RedisError, Script, StampedScripts};

/// How long a read waits for entries. Bounds the time a worker takes to notice that it is to stop.
pub const READ_BLOCK: Duration = Duration::from_millis(500);
/// Between tries while the database is away: grows to this.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// How long a worker that was superseded waits for the next opening before it asks again.
const REOPENING_MAX: Duration = Duration::from_millis(250);

/// In a rush a worker that has read all there was lets entries gather before it reads again: a transaction costs the same for
/// fifty as for five hundred, and it is the buyers' processor that it would spend. Below this many entries there is no rush.
const GATHER_FROM: usize = 8;
const GATHER: Duration = Duration::from_millis(80);

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct PersistOptions {
    /// Entries in one transaction; those that share an entry of the stream stay together.
    pub batch_max: usize,
    /// After which a silent consumer's entries are taken over.
    pub idle: Duration,
    /// For one transaction, also where Postgres has stopped answering.
    pub timeout: Duration,
}

/// One consumer of one partition.
#[derive(Clone)]
pub struct PersistWorker {
    /// For everything that does not block.
    pub redis: Redis,
    /// For XREADGROUP alone.
    pub reader: Redis,
    /// Where orders end.
    pub pool: PgPool,
    /// What is known of items: one for all workers of the partition.
    pub items: KnownItems,
    /// The partition.
    pub gate: Gate,
    /// Its name in the group: unique, since entries are pending for a name.
    pub consumer: String,
    /// Which of the partition's workers in this process it is, from 0.
    pub number: usize,
    /// All of them.
    pub reserve: Reserve,
    /// How.
    pub options: PersistOptions,
    /// What it has done.
    pub metrics: PersistMetrics,
}

/// Why a worker begins anew.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl PersistWorker {
    /// Works until `stop`, and finishes the batch in hand.
    pub async fn run(mut self, stop: CancellationToken) {
        let keys = Keys::new(self.gate.partition());
        // A reply that was lost leaves entries with this consumer: after every interruption it asks for its own first.
        let mut reading = Reading::new(self.options.batch_max);
        let mut takeover = tokio::time::interval(self.options.idle / 2);
        takeover.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let turn = async {
                if reading.next == Unread::New {
                    self.reserve.wait_turn(self.number).await;
                }
                self.gate.wait_open().await
            };
            let scripts = tokio::select! {
                scripts = turn => scripts,
                () = stop.cancelled() => break,
            };
            if let Err(interrupted) = self.round(&keys, &scripts, &mut reading, &mut takeover, &stop).await {
                reading.next = Unread::Own;
                tracing::warn!(
                    partition = %scripts.stamp.partition, consumer = self.consumer, %interrupted, "begins anew"
                );
                if let Interrupted::Redis(RedisError::Fenced(_)) = interrupted {
                    self.gate.refused(&scripts.stamp);
                }
                let superseded = matches!(
                    interrupted,
                    Interrupted::Write(WriteError::Superseded(_) | WriteError::OtherPostgres)
                );
                // The keeper is about to open anew: nothing that is read before can be written.
                let pause = if superseded { REOPENING_MAX } else { BACKOFF_MIN };
                let _ = tokio::time::timeout(pause, self.gate.wait_other_than(&scripts.stamp)).await;
            }
        }
    }

    /// Takes over what is due, reads once, and settles it.
    async fn round(
        &self,
        keys: &Keys,
        scripts: &StampedScripts,
        reading: &mut Reading,
        takeover: &mut Interval,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        // The epoch is known before anything is read: what was read under an older one is given up.
        let fence = Fence::new(scripts.stamp.partition, scripts.stamp.epoch);
        if takeover.tick().now_or_never().is_some() {
            let abandoned = self.take_over(keys, fence).await?;
            self.settle_all(keys, scripts, fence, (abandoned, Unread::Own), stop).await?;
        }
        let asked = reading.next;
        let batch = self.read(keys, reading).await?;
        let entries = batch.len();
        let left_others = reading.has_read(&batch);
        if asked == Unread::New {
            self.reserve.has_read(entries, left_others);
        }
        self.settle_all(keys, scripts, fence, (batch, asked), stop).await?;
        if asked == Unread::New && entries >= GATHER_FROM && !left_others {
            tokio::time::sleep(GATHER).await;
        }
        Ok(())
    }

    async fn read(&self, keys: &Keys, reading: &Reading) -> Result<Vec<RawEntry>, RedisError> {
        let args: Vec<Value> = vec![
            "GROUP".into(),
            GROUP.into(),
            self.consumer.as_str().into(),
            "COUNT".into(),
            (reading.count() as i64).into(),
            "BLOCK".into(),
            (READ_BLOCK.as_millis() as i64).into(),
            "STREAMS".into(),
            keys.log.clone().into(),
            match reading.next {
                Unread::Own => "0".into(),
                Unread::New => ">".into(),
            },
        ];
        match self.reader.blocking_command("XREADGROUP", &keys.log, args).await? {
            Value::Null => Ok(Vec::new()),
            Value::Array(streams) => match streams.into_iter().next() {
                Some(Value::Array(stream)) => read_entries(stream.into_iter().nth(1).unwrap_or(Value::Null)),
                _ => Err(RedisError::Unexpected("not a list of streams".into())),
            },
            _ => Err(RedisError::Unexpected("not a list of streams".into())),
        }
    }

    /// Takes entries of consumers that have been silent for too long. Entries that are pending but no longer
    /// in the log are reported by Redis once, here: each is an incident.
    async fn take_over(&self, keys: &Keys, fence: Fence) -> Result<Vec<RawEntry>, RedisError> {
        let args: Vec<Value> = vec![
            GROUP.into(),
            self.consumer.as_str().into(),
            (self.options.idle.as_millis() as i64).into(),
            "0".into(),
            "COUNT".into(),
            (self.options.batch_max as i64).into(),
        ];
        let reply = self.redis.on_key("XAUTOCLAIM", &keys.log, args).await?;
        let Value::Array(parts) = reply else {
            return Err(RedisError::Unexpected("reply to XAUTOCLAIM".into()));
        };
        let mut parts = parts.into_iter().skip(1);
        let mut entries = read_entries(parts.next().unwrap_or(Value::Null))?;
        if let Some(Value::Array(ids)) = parts.next() {
            // Redis has dropped them from the group, and tells of them this once: they go the way of the others.
            let ids = ids.iter().filter_map(|id| id.as_str()?.parse().ok());
            entries.extend(ids.map(RawEntry::vanished));
        }
        if !entries.is_empty() {
            tracing::warn!(partition = %fence.partition, entries = entries.len(), "took over from a silent consumer");
        }
        Ok(entries)
    }

    /// Persists and settles what was read, in batches.
    async fn settle_all(
        &self,
        keys: &Keys,
        scripts: &StampedScripts,
        fence: Fence,
        (entries, delivery): (Vec<RawEntry>, Unread),
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        let mut rest = entries.as_slice();
        // What is left of it as it stops is taken over by others.
        while !rest.is_empty() && (rest.len() == entries.len() || !stop.is_cancelled()) {
            let (batch, behind) = rest.split_at(reading::batch_len(rest, self.options.batch_max));
            self.settle_batch(keys, scripts, fence, (batch, delivery), stop).await?;
            rest = behind;
        }
        Ok(())
    }

    /// Persists, then settles. A database that is away is waited for: the entries stay pending meanwhile.
    async fn settle_batch(
        &self,
        keys: &Keys,
        scripts: &StampedScripts,
        fence: Fence,
        (batch, mut delivery): (&[RawEntry], Unread),
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        if weakened!("settle_before_commit") {
            self.settle(keys, scripts, batch, &[]).await?;
        }
        let mut backoff = BACKOFF_MIN;
        let due = loop {
            let limit = self.options.timeout;
            let begun = Instant::now();
            let persisted = match delivery {
                Unread::New => persist(&self.pool, fence, &self.items, batch, limit).await,
                Unread::Own => persist_again(&self.pool, fence, batch, &Foreseen::default(), limit).await,
            };
            // Part of it may be written.
            delivery = Unread::Own;
            match persisted {
                Ok(applied) => {
                    self.metrics.persisted(batch.len(), &applied, begun.elapsed());
                    break applied.payments_due;
                }
                Err(WriteError::Postgres(error)) if !stop.is_cancelled() => {
                    self.metrics.retried();
                    tracing::warn!(partition = %fence.partition, %error, entries = batch.len(), "tries again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        };
        crash_point!("persist_before_settle");
        self.settle(keys, scripts, batch, &due).await?;
        crash_point!("persist_after_settle");
        Ok(())
    }

    async fn settle(
        &self,
        keys: &Keys,
        scripts: &StampedScripts,
        batch: &[RawEntry],
        payments_due: &[OrderId],
    ) -> Result<(), RedisError> {
        let by_size = reading::by_size(batch);
        let held_by: usize = by_size.values().map(Vec::len).sum();
        let mut args: Vec<Value> = Vec::with_capacity(payments_due.len() + held_by + 2 * by_size.len() + 2);
        args.push(GROUP.into());
        args.push((payments_due.len() as i64).into());
        args.extend(payments_due.iter().map(|order| Value::from(order.to_string())));
        for (size, ids) in by_size {
            args.push((size as i64).into());
            args.push((ids.len() as i64).into());
            args.extend(ids.iter().map(|id| Value::from(id.to_string())));
        }
        let begun = Instant::now();
        let all =
            vec![keys.meta.clone(), keys.log.clone(), keys.order_changes.clone(), keys.payments.clone()];
        let settled = self.redis.run(scripts, Script::Settle, all, args).await;
        self.metrics.settled(settled.is_ok(), begun.elapsed());
        let (_, uncounted): (u64, u64) = settled?.convert()?;
        if uncounted > 0 {
            tracing::warn!(
                partition = %scripts.stamp.partition, entries = uncounted,
                "the log held entries that no script has written: somebody added them by hand",
            );
        }
        Ok(())
    }
}
