//! The outcome of a run of the engine.

use super::{Stored, compare, orders_sql};
use crate::load::Tally;
use crate::stage::{Engine, StageError};

/// Units of these sales that are persisted, from the gate's own count: cheap enough to ask often.
///
/// # Errors
/// [`StageError`].
pub async fn sold_of_sales(engine: &Engine, sales: &[String]) -> Result<u64, StageError> {
    let sql = "SELECT coalesce(sum(sold), 0)::bigint FROM sale_stock WHERE sale_id = ANY($1)";
    let row = engine.servers.db().await?.query_one(sql, &[&sales]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Every fault that the run left; empty where all is well. To be asked once everything is persisted.
///
/// # Errors
/// [`StageError`].
pub async fn check_engine(
    engine: &Engine,
    sales: &[String],
    skus: &[String],
    seen: &Tally,
) -> Result<Vec<String>, StageError> {
    let db = engine.servers.db().await?;
    let orders = db.query_one(&orders_sql("sale_id", "state = 'confirmed'"), &[&sales]).await?;
    let lines = "SELECT coalesce(sum(l.quantity), 0)::bigint FROM orders o, unnest(o.quantities) l (quantity) \
                 WHERE o.sale_id = ANY($1)";
    let units: i64 = db.query_one(lines, &[&sales]).await?.get(0);
    let stock = "SELECT coalesce(sum(sold), 0)::bigint, coalesce(sum(allotted), 0)::bigint, \
                 coalesce(bool_and(sold <= allotted), true) FROM sale_stock WHERE sale_id = ANY($1)";
    let stock = db.query_one(stock, &[&sales]).await?;
    let (sold, allotted) = (stock.get::<_, i64>(0), stock.get::<_, i64>(1));
    let stored = Stored {
        rows: orders.get::<_, i64>(0).unsigned_abs(),
        distinct: orders.get::<_, i64>(1).unsigned_abs(),
        sum: orders.get::<_, &str>(2).parse().unwrap_or(u128::MAX),
        xor: orders.get::<_, i64>(3).cast_unsigned(),
        units: units.unsigned_abs(),
        sold: sold.unsigned_abs(),
        allotted: allotted.unsigned_abs(),
    };
    let mut faults = compare(seen, &stored, true);
    let mut left = 0;
    for sale in sales {
        left += engine.redis_stock(sale, skus).await?;
    }
    if left != allotted - sold || !stock.get::<_, bool>(2) {
        faults.push(format!("redis has {left} units left, postgres {}", allotted - sold));
    }
    let wrong = "SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM dead_letters)";
    let wrong = db.query_one(wrong, &[]).await?;
    if wrong.get::<_, i64>(0) + wrong.get::<_, i64>(1) > 0 {
        faults.push("there are incidents or dead letters".to_owned());
    }
    Ok(faults)
}
