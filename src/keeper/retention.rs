//! Forgetting in Redis what is safe in Postgres and long past.

use fred::types::Value;

use crate::catalogue::SaleId;
use crate::log::EntryId;
use crate::postgres::PgError;
use crate::redis::{GROUP, Script};
use crate::stock::ApplyError;

use super::Keeper;
use super::duties::position;
use super::opening::Opened;
use super::watermark::Watermark;

const VOID_INTENTS: &str = include_str!("../../sql/keeper/void_intents.sql");
/// Calls of `trim.lua` in one turn, each bounded by the script: more than a partition can take in meanwhile.
const TRIMS_PER_TURN: u32 = 100;
/// Sales that one turn retires, at most.
const SALES_PER_TURN: i64 = 10;

/// One turn: trims the log, and moves sales that are long over a step further.
pub(super) async fn run(keeper: &Keeper, opened: &Opened) -> Result<(), ApplyError> {
    trim(keeper, opened).await?;
    mark_drained(keeper, opened).await?;
    mark_retired(keeper).await?;
    remove_keys(keeper, opened).await?;
    void_intents(keeper).await
}

/// Trims below the retention, and below what Postgres says of itself: never by what Redis says.
async fn trim(keeper: &Keeper, opened: &Opened) -> Result<(), ApplyError> {
    let keys = keeper.keys();
    let kept_from =
        keeper.redis_time_ms().await?.saturating_sub(keeper.options.log_retention.as_millis() as i64);
    let watermark = Watermark::read(&keeper.pool, keeper.partition).await?;
    let bound = EntryId { ms: kept_from.max(0).unsigned_abs(), seq: 0 }.min(watermark.entry);
    let args: Vec<Value> = vec![GROUP.into(), bound.to_string().into()];
    for _ in 0..TRIMS_PER_TURN {
        let both = vec![keys.meta.clone(), keys.log.clone()];
        let removed = keeper.redis.run(&opened.scripts, Script::Trim, both, args.clone()).await?;
        let entries = removed.as_u64().unwrap_or(0);
        if entries == 0 {
            break;
        }
        keeper.metrics.keeper.trimmed(keeper.partition, entries);
        tracing::debug!(partition = %keeper.partition, entries, below = %bound, "trimmed the log");
    }
    Ok(())
}

/// A sale that is over for long enough, and of which this partition has nothing under way, is drained here: its
/// window is closed by the clock of Redis, so no entry of it can follow. Said only to the Postgres that has it all.
async fn mark_drained(keeper: &Keeper, opened: &Opened) -> Result<(), ApplyError> {
    // Before the log is looked at: what is closed at this time stays closed.
    let now_ms = keeper.redis_time_ms().await?;
    let log = position(keeper, opened, EntryId::ZERO).await?;
    if log.watermark.is_none_or(|watermark| watermark.entry < log.last) {
        return Ok(());
    }
    let over_since = now_ms as f64 / 1000.0 - keeper.options.sale_retention.as_secs_f64();
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    db.execute(
        "UPDATE sale_publications p SET drained_at = now()
         FROM sales s
         WHERE s.id = p.sale_id AND p.partition = $1 AND p.drained_at IS NULL AND s.retired_at IS NULL
           AND s.closes_at < to_timestamp($2)
           AND EXISTS (SELECT FROM partitions o
                       WHERE o.partition = $1 AND o.epoch = $3 AND o.postgres = postgres_identity())
           AND NOT EXISTS (SELECT FROM stock_intents i
                           WHERE i.sale_id = s.id AND i.partition = $1 AND i.applied_at IS NULL)
           AND NOT EXISTS (SELECT FROM dead_letters d
                           WHERE d.sale_id = s.id AND d.partition = $1 AND d.ended_at IS NULL)",
        &[&keeper.partition.to_sql(), &over_since, &opened.scripts.stamp.epoch],
    )
    .await
    .map_err(PgError::from)?;
    Ok(())
}

/// From here Postgres answers for the sale's orders: said before the first key is removed.
async fn mark_retired(keeper: &Keeper) -> Result<(), ApplyError> {
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    db.execute(
        "UPDATE sales s SET retired_at = now()
         WHERE s.retired_at IS NULL
           AND EXISTS (SELECT FROM sale_publications p WHERE p.sale_id = s.id)
           AND NOT EXISTS (SELECT FROM sale_publications p WHERE p.sale_id = s.id AND p.drained_at IS NULL)",
        &[],
    )
    .await
    .map_err(PgError::from)?;
    Ok(())
}

async fn remove_keys(keeper: &Keeper, opened: &Opened) -> Result<(), ApplyError> {
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    let partition = keeper.partition.to_sql();
    let retired = db
        .query(
            "SELECT p.sale_id FROM sale_publications p JOIN sales s ON s.id = p.sale_id
             WHERE p.partition = $1 AND p.removed_at IS NULL AND s.retired_at IS NOT NULL LIMIT $2",
            &[&partition, &SALES_PER_TURN],
        )
        .await
        .map_err(PgError::from)?;
    for row in retired {
        let Ok(sale) = row.get::<_, &str>(0).parse::<SaleId>() else { continue };
        let keys = keeper.keys();
        let of_sale = keys.sale(&sale);
        let all = vec![keys.meta, of_sale.sale, of_sale.buyers, of_sale.causes];
        keeper.redis.run(&opened.scripts, Script::Retire, all, Vec::new()).await?;
        db.execute(
            "UPDATE sale_publications SET removed_at = now() WHERE sale_id = $1 AND partition = $2",
            &[&sale.as_str(), &partition],
        )
        .await
        .map_err(PgError::from)?;
        tracing::info!(partition = %keeper.partition, %sale, "retired: postgres answers for its orders");
    }
    Ok(())
}

/// An order may be cancelled, or a hold may end, when its sale is long retired.
async fn void_intents(keeper: &Keeper) -> Result<(), ApplyError> {
    let db = keeper.pool.get().await.map_err(PgError::from)?;
    let voided = db.query(VOID_INTENTS, &[&keeper.partition.to_sql()]).await.map_err(PgError::from)?;
    if !voided.is_empty() {
        let intents = voided.len();
        tracing::info!(partition = %keeper.partition, intents, "changes of stock of retired sales go nowhere");
    }
    Ok(())
}
