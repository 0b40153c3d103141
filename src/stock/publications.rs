//! Sales whose definition a partition does not have yet.

use deadpool_postgres::Object;
use fred::types::Value;

use crate::catalogue::SaleId;
use crate::faults::crash_point;
use crate::log::SaleEntry;
use crate::order_id::Mark;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::{Keys, Redis, RedisError, Script, StampedScripts};

use super::ApplyError;

const UNPUBLISHED: &str = include_str!("../../sql/stock/unpublished.sql");
/// Columns: SKU, limit, whether this partition has no unit.
pub(crate) const ITEMS: &str = include_str!("../../sql/stock/items.sql");
/// Reply where the sale's keys were deleted. The keeper notices, and opens anew.
const GONE: i64 = -1;
/// Sales in one round.
const ROUND: i64 = 100;

/// Tells Redis every sale of which this partition has an older version, or none.
///
/// # Errors
/// [`ApplyError`]; what was told stays told.
pub async fn publish_sales(redis: &Redis, scripts: &StampedScripts, pool: &PgPool) -> Result<(), ApplyError> {
    let partition = scripts.stamp.partition;
    let db = pool.get().await.map_err(PgError::from)?;
    let statement = db.prepare_cached(UNPUBLISHED).await.map_err(PgError::from)?;
    let rows = db.query(&statement, &[&partition.to_sql(), &ROUND]).await.map_err(PgError::from)?;
    for row in rows {
        let Ok(sale) = row.get::<_, &str>(0).parse::<SaleId>() else { continue };
        let version: i64 = row.get(1);
        let entry = SaleEntry { mark: Mark::random(), sale: sale.clone(), version, definition: row.get(5) };
        let mut args: Vec<Value> = vec![
            version.into(),
            row.get::<_, &str>(2).into(),
            row.get::<_, jiff::Timestamp>(3).as_millisecond().into(),
            row.get::<_, jiff::Timestamp>(4).as_millisecond().into(),
            entry.encode().into(),
            row.get::<_, i64>(6).into(),
        ];
        args.extend(items(&db, &sale, partition).await?);
        let keys = Keys::new(partition);
        let of_sale = keys.sale(&sale);
        let all = vec![keys.meta, of_sale.sale, of_sale.buyers, keys.log];
        let reply = redis.run(scripts, Script::PublishSale, all, args).await?;
        crash_point!("publish_before_said");
        let in_force =
            reply.as_i64().ok_or_else(|| RedisError::Unexpected("reply of publish_sale".into()))?;
        if in_force == GONE {
            tracing::error!(%partition, %sale, version, "a sale is gone from redis: it is published once it is rebuilt");
            continue;
        }
        db.execute(
            "UPDATE sale_publications SET version = greatest(version, $3) WHERE sale_id = $1 AND partition = $2",
            &[&sale.as_str(), &partition.to_sql(), &in_force.min(version)],
        )
        .await
        .map_err(PgError::from)?;
        tracing::info!(%partition, %sale, version, "published");
    }
    Ok(())
}

/// Of each item: SKU, limit, and whether all its units are in other partitions.
async fn items(db: &Object, sale: &SaleId, partition: Partition) -> Result<Vec<Value>, ApplyError> {
    let rows = db.query(ITEMS, &[&sale.as_str(), &partition.to_sql()]).await.map_err(PgError::from)?;
    let of_item = |row: &tokio_postgres::Row| {
        let limit = row.get::<_, Option<i32>>(1).map_or(Value::from(""), Value::from);
        [Value::from(row.get::<_, &str>(0)), limit, Value::from(if row.get(2) { "0" } else { "" })]
    };
    Ok(rows.iter().flat_map(of_item).collect())
}
