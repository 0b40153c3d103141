//! Redis from Postgres: definitions, stock, and every order that a retry may ask for.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Object;
use fred::types::{Key, Value};
use futures_util::TryStreamExt;

use crate::catalogue::{SaleId, Sku};
use crate::claim::{IdempotencyKey, record_head};
use crate::log::{EntryId, LogEntry, RawEntry, lines_text};
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::RedisError;

use super::open_error::OpenError;
use super::opening::Opening;
use super::{Progress, ProgressSink};

const EXPECTED_STOCK: &str = include_str!("../../sql/keeper/expected_stock.sql");
const REBUILT_STOCK: &str = include_str!("../../sql/keeper/rebuilt_stock.sql");
const REBUILT_ORDERS: &str = include_str!("../../sql/keeper/rebuilt_orders.sql");

/// Buyers in one step, and fields of a sale in one step: bounded by what Lua can unpack.
const BUYERS_STEP: usize = 1000;
const FIELDS_STEP: usize = 2000;
/// Keys in one round of SCAN.
const SCAN_COUNT: i64 = 1000;

/// Stock of the items of a partition, by sale.
pub(super) type StockBySale = BTreeMap<SaleId, Vec<(Sku, i64)>>;

/// What Redis must hold, from aggregates. Everything in the log must be persisted.
pub(super) async fn expected_stock(pool: &PgPool, partition: Partition) -> Result<StockBySale, PgError> {
    let db = pool.get().await?;
    unhurried(&db, stock(&db, EXPECTED_STOCK, partition)).await
}

/// Runs what may take longer than any other statement: sums over every order and return.
async fn unhurried<T, E: From<PgError>>(
    db: &Object,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    db.batch_execute("SET statement_timeout = 0").await.map_err(PgError::from)?;
    let result = work.await;
    db.batch_execute("RESET statement_timeout").await.map_err(PgError::from)?;
    result
}

async fn stock(db: &Object, query: &str, partition: Partition) -> Result<StockBySale, PgError> {
    let mut by_sale = StockBySale::new();
    for row in db.query(query, &[&partition.to_sql()]).await? {
        if let (Ok(sale), Ok(sku)) = (row.get::<_, &str>(0).parse(), row.get::<_, &str>(1).parse()) {
            by_sale.entry(sale).or_default().push((sku, row.get(2)));
        }
    }
    Ok(by_sale)
}

/// Replaces all that the partition's Redis holds of its sales. The log stays as it is; causes of stock changes need no
/// rebuilding, since an intent whose cause was applied and persisted is never sent again.
pub(super) async fn rebuild(opening: &Opening<'_>, progress: ProgressSink<'_>) -> Result<(), OpenError> {
    remove_sales(opening).await?;
    let partition = opening.keeper.partition;
    let db = opening.keeper.pool.get().await.map_err(PgError::from)?;
    unhurried(&db, restore_sales(opening, &db, partition, progress)).await
}

async fn restore_sales(
    opening: &Opening<'_>,
    db: &Object,
    partition: Partition,
    progress: ProgressSink<'_>,
) -> Result<(), OpenError> {
    let row = db
        .query_one(
            "SELECT count(*) FROM orders o JOIN sales s ON s.id = o.sale_id AND s.retired_at IS NULL
             WHERE o.partition = $1 AND o.cancel_reason IS DISTINCT FROM 'duplicate'",
            &[&partition.to_sql()],
        )
        .await
        .map_err(PgError::from)?;
    let (mut done, total) = (0, row.get::<_, i64>(0).unsigned_abs());
    progress(Progress { done, total });
    let mut stock = stock(db, REBUILT_STOCK, partition).await?;
    let sales = db
        .query(
            "SELECT id, version, control, opens_at, closes_at FROM sales WHERE retired_at IS NULL ORDER BY id",
            &[],
        )
        .await
        .map_err(PgError::from)?;
    for row in sales {
        let Ok(sale) = row.get::<_, &str>(0).parse::<SaleId>() else { continue };
        let mut fields: Vec<Value> = Vec::new();
        let mut put = |name: String, value: Value| fields.extend([name.into(), value]);
        put("version".into(), row.get::<_, i64>(1).into());
        put("control".into(), row.get::<_, &str>(2).into());
        put("opens_at".into(), row.get::<_, jiff::Timestamp>(3).as_millisecond().into());
        put("closes_at".into(), row.get::<_, jiff::Timestamp>(4).as_millisecond().into());
        let mut stock = stock.remove(&sale).unwrap_or_default();
        let items = db
            .query(crate::stock::ITEMS, &[&sale.as_str(), &partition.to_sql()])
            .await
            .map_err(PgError::from)?;
        for item in &items {
            let sku: &str = item.get(0);
            if let Some(limit) = item.get::<_, Option<i32>>(1) {
                put(format!("limit:{sku}"), limit.into());
            }
            // All its units are in other partitions: sold out here, not unknown.
            if item.get(2) && !stock.iter().any(|(known, _)| known.as_str() == sku) {
                stock.extend(sku.parse().map(|sku| (sku, 0)));
            }
        }
        for (sku, units) in stock {
            put(format!("stock:{sku}"), units.into());
        }
        let keys = opening.keys.sale(&sale);
        for chunk in fields.chunks(FIELDS_STEP) {
            opening.step("HSET", &keys.sale, chunk.to_vec()).await?;
        }
        // The field that tells an empty key from a deleted one, see publish_sale.lua.
        opening.step("HSET", &keys.buyers, vec![" ".into(), "".into()]).await?;
        done += restore_orders(opening, db, partition, &sale).await?;
        progress(Progress { done, total });
    }
    Ok(())
}

async fn restore_orders(
    opening: &Opening<'_>,
    db: &Object,
    partition: Partition,
    sale: &SaleId,
) -> Result<u64, OpenError> {
    let mut orders = 0;
    let partition = partition.to_sql();
    let statement = db.prepare_cached(REBUILT_ORDERS).await.map_err(PgError::from)?;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&partition, &sale.as_str()];
    let rows = db.query_raw(&statement, params).await.map_err(PgError::from)?;
    let mut rows = std::pin::pin!(rows);
    let buyers = opening.keys.sale(sale).buyers;
    let dead = dead_records(db, partition, sale).await?;
    let mut step = BuyersStep { opening, key: &buyers, records: Vec::new(), dead };
    while let Some(row) = rows.try_next().await.map_err(PgError::from)? {
        let id = OrderId::from_uuid(row.get(0));
        let Ok(key) = IdempotencyKey::from_content(row.get(2)) else { continue };
        let head = record_head(&key, row.get::<_, i64>(3).cast_unsigned(), id.mark());
        let record = format!("{head}{} {};", id.entry(), row.get::<_, &str>(4));
        step.add(row.get(1), &record).await?;
        orders += 1;
    }
    for buyer in step.dead.keys().cloned().collect::<Vec<_>>() {
        step.add(&buyer, "").await?;
    }
    step.send().await?;
    Ok(orders)
}

/// Records of the orders that wait among the dead letters, by buyer: their keys are taken and their units counted, as
/// of any other order.
async fn dead_records(
    db: &Object,
    partition: i16,
    sale: &SaleId,
) -> Result<HashMap<String, String>, OpenError> {
    let rows = db
        .query(
            "SELECT entry_ms, entry_seq, fields FROM dead_letters
             WHERE partition = $1 AND sale_id = $2 AND ended_at IS NULL ORDER BY entry_ms, entry_seq",
            &[&partition, &sale.as_str()],
        )
        .await
        .map_err(PgError::from)?;
    let mut records: HashMap<String, String> = HashMap::new();
    for row in rows {
        let Some(id) = EntryId::from_sql(row.get(0), row.get(1)) else { continue };
        if let Ok(LogEntry::Order(order)) = RawEntry::from_fields(id, row.get(2)).decode() {
            let head = record_head(&order.key, order.fingerprint, order.mark);
            let of_buyer = records.entry(order.buyer.as_str().to_owned()).or_default();
            of_buyer.push_str(&format!("{head}{id} {};", lines_text(&order.lines)));
        }
    }
    Ok(records)
}

/// Records of several buyers on their way to Redis.
struct BuyersStep<'a> {
    opening: &'a Opening<'a>,
    key: &'a Key,
    records: Vec<(String, String)>,
    /// Of buyers who have not come up yet.
    dead: HashMap<String, String>,
}

impl BuyersStep<'_> {
    async fn add(&mut self, buyer: &str, record: &str) -> Result<(), OpenError> {
        if let Some((last, records)) = self.records.last_mut()
            && last == buyer
        {
            records.push_str(record);
            return Ok(());
        }
        if self.records.len() == BUYERS_STEP {
            self.send().await?;
        }
        let dead = self.dead.remove(buyer).unwrap_or_default();
        self.records.push((buyer.to_owned(), dead + record));
        Ok(())
    }

    async fn send(&mut self) -> Result<(), OpenError> {
        let fields: Vec<Value> =
            self.records.drain(..).flat_map(|(buyer, records)| [buyer.into(), records.into()]).collect();
        if !fields.is_empty() {
            self.opening.step("HSET", self.key, fields).await?;
        }
        Ok(())
    }
}

/// Removes every key of every sale, also of sales that Postgres does not know.
async fn remove_sales(opening: &Opening<'_>) -> Result<(), OpenError> {
    let redis = &opening.keeper.redis;
    let mut cursor = "0".to_owned();
    loop {
        let args = vec![
            cursor.as_str().into(),
            "MATCH".into(),
            opening.keys.sales_pattern().into(),
            "COUNT".into(),
            SCAN_COUNT.into(),
        ];
        let reply = redis.command("SCAN", &opening.keys.meta, args).await?;
        let (next, found): (String, Vec<String>) = reply.convert().map_err(RedisError::from)?;
        for key in found {
            opening.step("UNLINK", &key.into(), Vec::new()).await?;
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}
