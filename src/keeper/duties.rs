//! What a keeper does while its partition is open.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::catalogue::SaleId;
use crate::log::EntryId;
use crate::metrics::PartitionSampler;
use crate::postgres::PgError;
use crate::reconcile::{Depth, DriftWatch, Reconciler};
use crate::redis::{GROUP, RedisError, Script};
use crate::stock::{ApplyError, apply_intents, publish_sales};

use super::lock::KeeperLock;
use super::opening::Opened;
use super::watermark::Watermark;
use super::{Held, Keeper, lease, retention};

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
    lock: &mut KeeperLock,
    stop: &CancellationToken,
) -> Held {
    let (drift, sampler) = (drift_watch(keeper), sampler(keeper));
    let lost = tokio::select! {
        error = lease::renew(keeper, opened) => Some(error),
        () = step_down(keeper, opened, lock) => return Held::StepDown,
        () = keys_missing(keeper) => return Held::Reopen,
        never = changes(keeper, opened) => match never {},
        never = watermarks(keeper, opened) => match never {},
        never = retentions(keeper, opened) => match never {},
        never = drift.run(&opened.scripts) => match never {},
        never = sampler.run(&opened.scripts) => match never {},
        () = stop.cancelled() => None,
    };
    lost.map_or(Held::Stopped, |error| lease::lost(keeper, opened, lock, &error))
}

/// Ends when another keeper may be at work. A lost connection alone is none: while Postgres is away nobody else can
/// take the lock either, and whoever takes it raises the epoch.
async fn step_down(keeper: &Keeper, opened: &Opened, lock: &mut KeeperLock) {
    let mut ticks = every(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        if lock.is_held() {
            continue;
        }
        match lock.retake(&keeper.pool).await {
            Ok(true) => match epoch(keeper).await {
                Ok(epoch) if epoch == opened.scripts.stamp.epoch => {}
                _ => return,
            },
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(partition = %keeper.partition, %error, "the keeper's lock is lost for now")
            }
        }
    }
}

async fn epoch(keeper: &Keeper) -> Result<i64, ApplyError> {
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    let row = db
        .query_one("SELECT epoch FROM partitions WHERE partition = $1", &[&keeper.partition.to_sql()])
        .await
        .map_err(PgError::from)?;
    Ok(row.get(0))
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
    repeat(CHANGES, keeper, "publishing changes", || async {
        publish_sales(&keeper.redis, &opened.scripts, &keeper.pool).await?;
        apply_intents(&keeper.redis, &opened.scripts, &keeper.pool).await
    })
    .await
}

async fn watermarks(keeper: &Keeper, opened: &Opened) -> Never {
    repeat(WATERMARK, keeper, "raising the watermark", || async {
        let position = position(keeper, opened).await?;
        if let Some(watermark) = position.watermark {
            watermark.raise(&keeper.pool, keeper.partition, opened.scripts.stamp.epoch).await?;
        }
        Ok(())
    })
    .await
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

fn every(pause: Duration) -> Interval {
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
}

/// Asks `position.lua`.
pub(super) async fn position(keeper: &Keeper, opened: &Opened) -> Result<Position, RedisError> {
    let reply = keeper
        .redis
        .run(&opened.scripts, Script::Position, vec![keeper.keys().log], vec![GROUP.into()])
        .await?;
    let (entry, mark, last, _length): (String, String, String, i64) = reply.convert()?;
    Ok(Position {
        watermark: entry.parse().ok().map(|entry| Watermark { entry, mark }),
        last: last.parse().unwrap_or(EntryId::ZERO),
    })
}
