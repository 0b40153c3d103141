//! Redis from Postgres: definitions, stock, and every order that a retry may ask for.

use std::collections::BTreeMap;

use deadpool_postgres::Object;
use fred::types::Value;

use crate::catalogue::{SaleId, Sku};
use crate::faults::crash_point;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::RedisError;

use super::ProgressSink;
use super::open_error::OpenError;
use super::opening::Opening;
use super::records::Records;
use super::remembered_orders::{add_dead_letters, add_orders};

const EXPECTED_STOCK: &str = include_str!("../../sql/keeper/expected_stock.sql");
const REBUILT_STOCK: &str = include_str!("../../sql/keeper/rebuilt_stock.sql");

/// Fields of a sale in one step: bounded by what Lua can unpack.
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
    let db = opening.keeper.pool.get().await.map_err(PgError::from)?;
    unhurried(&db, restore_sales(opening, &db, progress)).await
}

async fn restore_sales(
    opening: &Opening<'_>,
    db: &Object,
    progress: ProgressSink<'_>,
) -> Result<(), OpenError> {
    let partition = opening.keeper.partition;
    let mut sales = BTreeMap::new();
    for definition in definitions(db, partition).await? {
        sales.insert(definition.sale.as_str().to_owned(), definition);
    }
    for (sale, items) in stock(db, REBUILT_STOCK, partition).await? {
        if let Some(definition) = sales.get_mut(sale.as_str()) {
            definition.stock.extend(items);
        }
    }
    let mut records = Records::new(opening);
    add_dead_letters(db, partition, &sales, &mut records).await?;
    crash_point!("rebuild_before_orders");
    add_orders(db, partition, &mut sales, &mut records, progress).await?;
    records.finish().await?;
    for definition in sales.into_values() {
        definition.restore(opening).await?;
    }
    Ok(())
}

/// A sale as Redis is to hold it.
pub(super) struct Definition {
    pub sale: SaleId,
    fields: Vec<Value>,
    pub stock: BTreeMap<Sku, i64>,
    /// All their units are in other partitions: sold out here, not unknown.
    without_units: Vec<Sku>,
}

impl Definition {
    fn put(&mut self, name: &str, value: Value) {
        self.fields.extend([name.into(), value]);
    }

    async fn restore(mut self, opening: &Opening<'_>) -> Result<(), OpenError> {
        for sku in std::mem::take(&mut self.without_units) {
            self.stock.entry(sku).or_insert(0);
        }
        for (sku, units) in std::mem::take(&mut self.stock) {
            self.put(&format!("stock:{sku}"), units.into());
        }
        let keys = opening.keys.sale(&self.sale);
        // The field that tells an empty key from a deleted one, see publish_sale.lua.
        opening.step("HSET", &keys.buyers, vec![" ".into(), "".into()]).await?;
        for chunk in self.fields.chunks(FIELDS_STEP) {
            opening.step("HSET", &keys.sale, chunk.to_vec()).await?;
        }
        Ok(())
    }
}

async fn definitions(db: &Object, partition: Partition) -> Result<Vec<Definition>, PgError> {
    let sales = db
        .query(
            // The version that the log tells of: a newer one is published, and so logged, once the partition is open.
            "SELECT s.id, p.version, s.control, s.opens_at, s.closes_at
             FROM sales s JOIN sale_publications p ON p.sale_id = s.id AND p.partition = $1
             WHERE s.retired_at IS NULL AND p.version > 0 ORDER BY s.id",
            &[&partition.to_sql()],
        )
        .await?;
    let mut definitions = Vec::with_capacity(sales.len());
    for row in sales {
        let Ok(sale) = row.get::<_, &str>(0).parse::<SaleId>() else { continue };
        let items = db.query(crate::stock::ITEMS, &[&sale.as_str(), &partition.to_sql()]).await?;
        let mut definition =
            Definition { sale, fields: Vec::new(), stock: BTreeMap::new(), without_units: Vec::new() };
        definition.put("version", row.get::<_, i64>(1).into());
        definition.put("control", row.get::<_, &str>(2).into());
        definition.put("opens_at", row.get::<_, jiff::Timestamp>(3).as_millisecond().into());
        definition.put("closes_at", row.get::<_, jiff::Timestamp>(4).as_millisecond().into());
        for item in &items {
            let sku: &str = item.get(0);
            if let Some(limit) = item.get::<_, Option<i32>>(1) {
                definition.put(&format!("limit:{sku}"), limit.into());
            }
            if item.get(2) {
                definition.without_units.extend(sku.parse());
            }
        }
        definitions.push(definition);
    }
    Ok(definitions)
}

/// Sales by their ids.
pub(super) type Definitions = BTreeMap<String, Definition>;

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
