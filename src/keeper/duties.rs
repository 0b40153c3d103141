//! What a keeper does while its partition is open.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::catalogue::SaleId;
use crate::log::EntryId;
use crate::metrics::PartitionSampler;
use crate::postgres::PgError;
use crate::reconcile::{Depth, DriftWatch, Reconciler};
use crate::redis::{GROUP, RedisError, Script};
use crate::stock::{ApplyError, IntentSender, publish_sales};

use super::lease::Renewals;
use super::lock::KeeperLock;
use super::memory::Memory;
use super::opening::Opened;
use super::watermark::Watermark;
use super::{Held, Keeper, lease, retention};

/// How soon a lost lock is noticed, and taken again.
const LOCK: Duration = Duration::from_millis(250);
/// How soon a change that Postgres decided is on its way to Redis.
const CHANGES: Duration = Duration::from_millis(50);
/// How much of the log may have to be read again after a crash.
const WATERMARK: Duration = Duration::from_millis(500);
/// How soon a deleted key is noticed where no claim meets it; and how many sales are looked at.
const PRESENCE: Duration = Duration::from_secs(2);
const PRESENCE_SALES_MAX: i64 = 1000;
/// How often the log is trimmed and old sales are retired.
const RETENTION: Duration = Duration::from_secs(5);

/// Holds an open partition until it is lost.
pub(super) async fn hold(
    keeper: &Keeper,
    opened: &Opened,
    lock: &KeeperLock,
    memory: &Memory,
    stop: &CancellationToken,
) -> Held {
    let doubt = Doubt::default();
    let (drift, sampler) = (drift_watch(keeper), sampler(keeper));
    let error = tokio::select! {
        error = Renewals::new(keeper, opened, memory).run(|then| lock.is_proven(then)) => error,
        held = keep_lock(keeper, opened, lock, memory, &doubt) => return held,
        () = keys_missing(keeper) => return Held::Reopen,
        () = watermarks(keeper, opened, &doubt) => return Held::Reopen,
        never = changes(keeper, opened) => match never {},
        never = retentions(keeper, opened) => match never {},
        never = drift.run(&opened.scripts) => match never {},
        never = sampler.run(&opened.scripts) => match never {},
        () = stop.cancelled() => return Held::Stopped,
    };
    lease::lost(keeper, opened, lock, &error)
}

/// Whether the lock was lost and what the database holds is not known: nobody else's doing, or not yet.
#[derive(Default)]
struct Doubt(AtomicBool);

impl Doubt {
    fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Ends when another keeper may be at work, or another Postgres. A lost connection alone is neither: while Postgres is
/// away nobody else can take the lock, and whoever takes it raises the epoch.
async fn keep_lock(
    keeper: &Keeper,
    opened: &Opened,
    lock: &KeeperLock,
    memory: &Memory,
    doubt: &Doubt,
) -> Held {
    let mut ticks = every(LOCK);
    loop {
        ticks.tick().await;
        if lock.is_held() {
            continue;
        }
        if !doubt.0.swap(true, Ordering::AcqRel) {
            tracing::warn!(partition = %keeper.partition, "the keeper's lock is lost for now");
        }
        match lock.retake(&keeper.pool, keeper.partition).await {
            Ok(true) => match keeper.is_postgres_as_opened(opened).await {
                Ok(true) => doubt.0.store(false, Ordering::Release),
                Ok(false) => {
                    if let Err(error) = keeper.catch_up(opened, lock, memory).await {
                        tracing::warn!(partition = %keeper.partition, %error, "could not catch up before it opens anew");
                    }
                    return Held::Reopen;
                }
                Err(_) => return Held::Reopen,
            },
            Ok(false) => return Held::StepDown,
            Err(error) => tracing::debug!(partition = %keeper.partition, %error, "cannot retake the lock"),
        }
    }
}

/// Ends when a sale that was published is no longer in Redis: whoever deleted it, an opening rebuilds it.
async fn keys_missing(keeper: &Keeper) {
    let mut ticks = every(PRESENCE);
    loop {
        ticks.tick().await;
        match missing_sale(keeper).await {
            Ok(None) => {}
            Ok(Some(sale)) => {
                tracing::error!(partition = %keeper.partition, %sale, "a sale's keys were deleted from redis");
                return;
            }
            Err(error) => {
                tracing::debug!(partition = %keeper.partition, %error, "cannot look for missing keys")
            }
        }
    }
}

async fn missing_sale(keeper: &Keeper) -> Result<Option<SaleId>, ApplyError> {
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    let published = db
        .query(
            "SELECT p.sale_id FROM sale_publications p JOIN sales s ON s.id = p.sale_id
             WHERE p.partition = $1 AND p.version > 0 AND s.retired_at IS NULL ORDER BY 1 LIMIT $2",
            &[&keeper.partition.to_sql(), &PRESENCE_SALES_MAX],
        )
        .await
        .map_err(PgError::from)?;
    let keys = keeper.keys();
    for row in published {
        let Ok(sale) = row.get::<_, &str>(0).parse::<SaleId>() else { continue };
        let of_sale = keys.sale(&sale);
        let definition = keeper.redis.on_key("HEXISTS", &of_sale.sale, vec!["version".into()]).await?;
        let buyers = keeper.redis.on_key("HEXISTS", &of_sale.buyers, vec![" ".into()]).await?;
        if definition.as_i64() == Some(0) || buyers.as_i64() == Some(0) {
            return Ok(Some(sale));
        }
    }
    Ok(None)
}

fn drift_watch(keeper: &Keeper) -> DriftWatch {
    let (redis, pool) = (keeper.redis.clone(), keeper.pool.clone());
    DriftWatch {
        reconciler: Reconciler { redis, pool, patience: None, depth: Depth::Aggregates },
        pause: keeper.options.reconcile,
        metrics: keeper.metrics.clone(),
    }
}

fn sampler(keeper: &Keeper) -> PartitionSampler {
    let (redis, pool) = (keeper.redis.clone(), keeper.pool.clone());
    PartitionSampler { redis, pool, metrics: keeper.metrics.clone() }
}

enum Never {}

async fn changes(keeper: &Keeper, opened: &Opened) -> Never {
    let intents = IntentSender::default();
    repeat(CHANGES, keeper, "publishing changes", || async {
        publish_sales(&keeper.redis, &opened.scripts, &keeper.pool).await?;
        intents.send(&keeper.redis, &opened.scripts, &keeper.pool).await
    })
    .await
}

/// Raises the watermark, until the entry that it was raised to last is gone from the log: somebody deleted what Postgres
/// may not have. Also until the row says otherwise than this keeper.
async fn watermarks(keeper: &Keeper, opened: &Opened, doubt: &Doubt) {
    let mut known = opened.watermark.clone();
    let mut ticks = every(WATERMARK);
    loop {
        ticks.tick().await;
        if doubt.is_there() {
            continue;
        }
        match raise_watermark(keeper, opened, &mut known).await {
            Ok(true) => {}
            // What else there is to do about another Postgres begins with the lock.
            Ok(false) if doubt.is_there() => {}
            Ok(false) => {
                tracing::error!(
                    partition = %keeper.partition, watermark = %known.entry,
                    "the log, or the database, no longer goes on from the watermark"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(partition = %keeper.partition, %error, "raising the watermark failed; it will be tried again");
            }
        }
    }
}

async fn raise_watermark(
    keeper: &Keeper,
    opened: &Opened,
    known: &mut Watermark,
) -> Result<bool, ApplyError> {
    let position = position(keeper, opened, known.entry).await?;
    if position.mark_asked != known.mark {
        return Ok(false);
    }
    let Some(next) = position.watermark.filter(|next| next.entry > known.entry) else { return Ok(true) };
    let raised = known.raise(&next, &keeper.pool, keeper.partition, opened.scripts.stamp.epoch).await?;
    if raised {
        *known = next;
    }
    Ok(raised)
}

async fn retentions(keeper: &Keeper, opened: &Opened) -> Never {
    repeat(RETENTION, keeper, "retention", || retention::run(keeper, opened)).await
}

/// Does something again and again; what fails is tried at the next turn.
async fn repeat<F: Future<Output = Result<(), ApplyError>>>(
    pause: Duration,
    keeper: &Keeper,
    what: &str,
    mut work: impl FnMut() -> F,
) -> Never {
    let mut ticks = every(pause);
    loop {
        ticks.tick().await;
        if let Err(error) = work().await {
            tracing::warn!(partition = %keeper.partition, %error, "{what} failed; it will be tried again");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

pub(super) fn every(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Where a log stands.
pub(super) struct Position {
    /// Persisted without a gap up to here; `None` where that entry is gone.
    pub watermark: Option<Watermark>,
    /// The last entry.
    pub last: EntryId,
    /// Mark of the entry that was asked for; empty where it is gone.
    pub mark_asked: String,
}

/// Asks `position.lua`.
pub(super) async fn position(
    keeper: &Keeper,
    opened: &Opened,
    asked: EntryId,
) -> Result<Position, RedisError> {
    let args = vec![GROUP.into(), asked.to_string().into()];
    let reply = keeper.redis.run(&opened.scripts, Script::Position, vec![keeper.keys().log], args).await?;
    let (entry, mark, last, _length, mark_asked): (String, String, String, i64, String) = reply.convert()?;
    Ok(Position {
        watermark: entry.parse().ok().map(|entry| Watermark { entry, mark }),
        last: last.parse().unwrap_or(EntryId::ZERO),
        mark_asked,
    })
}
