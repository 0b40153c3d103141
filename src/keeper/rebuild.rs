//! Redis from Postgres: definitions, stock, and every order that a retry may ask for.
//!
//! One pass over the orders gives both what Redis remembers of them and the units that they hold.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use deadpool_postgres::Object;
use fred::types::Value;
use futures_util::TryStreamExt;
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::catalogue::{SaleId, Sku};
use crate::claim::{IdempotencyKey, record_head};
use crate::faults::crash_point;
use crate::log::{EntryId, LogEntry, RawEntry, lines_text};
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::RedisError;

use super::opening::{OpenError, Opening};
use super::records::Records;
use super::{Progress, ProgressSink};

const EXPECTED_STOCK: &str = include_str!("../../sql/keeper/expected_stock.sql");
const REBUILT_STOCK: &str = include_str!("../../sql/keeper/rebuilt_stock.sql");
const REBUILT_ORDERS: &str = include_str!("../../sql/keeper/rebuilt_orders.sql");

const FIRST_STOCK: &str = include_str!("../../sql/keeper/first_stock.sql");
/// The columns of `rebuilt_orders.sql`.
const ORDER_COLUMNS: [Type; 9] = [
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::BOOL,
    Type::TEXT,
    Type::INT4,
    Type::BOOL,
];

/// Fields of a sale in one step: bounded by what Lua can unpack.
const FIELDS_STEP: usize = 2000;
/// Keys in one round of SCAN.
const SCAN_COUNT: i64 = 1000;
/// Orders between two words about the progress.
const TELL_EVERY: u64 = 1000;

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
pub(super) async fn rebuild(
    opening: &Opening<'_>,
    progress: ProgressSink<'_>,
) -> Result<(), OpenError> {
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
struct Definition {
    sale: SaleId,
    fields: Vec<Value>,
    stock: BTreeMap<Sku, i64>,
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
type Definitions = BTreeMap<String, Definition>;

/// An order whose lines are being read.
struct OrderRead {
    id: OrderId,
    sale: String,
    buyer: String,
    key: IdempotencyKey,
    fingerprint: u64,
    is_duplicate: bool,
    lines: String,
}

impl OrderRead {
    /// `None` where the key is one that this version cannot have written.
    fn begin(id: OrderId, row: &BinaryCopyOutRow) -> Option<Self> {
        Some(Self {
            id,
            sale: row.get::<&str>(1).to_owned(),
            buyer: row.get::<&str>(2).to_owned(),
            key: IdempotencyKey::from_content(row.get(3)).ok()?,
            fingerprint: row.get::<i64>(4).cast_unsigned(),
            is_duplicate: row.get(5),
            lines: String::new(),
        })
    }

    fn add_line(&mut self, sku: &str, quantity: i32) {
        let separator = if self.lines.is_empty() { "" } else { "," };
        let _ = write!(self.lines, "{separator}{sku}:{quantity}");
    }

    /// Keys are remembered for ever, units while they count against the buyer's limits: not once they went back.
    fn record(&self, returned: &HashSet<Uuid>) -> String {
        let head = record_head(&self.key, self.fingerprint, self.id.mark());
        let lines = if returned.contains(&self.id.to_uuid()) { "" } else { &self.lines };
        format!("{head}{} {lines};", self.id.entry())
    }
}

/// Adds a record of each order, and takes its units from the stock. A refused line removed a unit that never existed: it
/// takes nothing.
async fn add_orders(
    db: &Object,
    partition: Partition,
    sales: &mut Definitions,
    records: &mut Records<'_>,
    progress: ProgressSink<'_>,
) -> Result<(), OpenError> {
    let Some(lowest) = lowest_order(db, partition).await? else { return Ok(()) };
    let returned = returned_orders(db, partition).await?;
    let mut told = Progress { done: 0, total: count_orders(db, partition, lowest).await? };
    let query = REBUILT_ORDERS
        .replace("$1", &partition.to_sql().to_string())
        .replace("$2", &lowest.to_uuid().to_string());
    let copy = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let rows = db.copy_out(&copy).await.map_err(PgError::from)?;
    let mut rows = std::pin::pin!(BinaryCopyOutStream::new(rows, &ORDER_COLUMNS));
    let mut reading: Option<OrderRead> = None;
    while let Some(row) = rows.try_next().await.map_err(PgError::from)? {
        let id = OrderId::from_uuid(row.get(0));
        if reading.as_ref().is_none_or(|order| order.id != id) {
            if let Some(done) = std::mem::replace(&mut reading, OrderRead::begin(id, &row)) {
                add_record(&done, sales, &returned, records).await?;
            }
            told.done += 1;
            if told.done % TELL_EVERY == 0 {
                progress(told);
            }
        }
        let (sku, quantity) = (row.get::<&str>(6), row.get::<i32>(7));
        if let Some(definition) = sales.get_mut(row.get::<&str>(1))
            && !row.get::<bool>(8)
            && let Some(units) = definition.stock.get_mut(sku)
        {
            *units -= i64::from(quantity);
        }
        if let Some(order) = &mut reading {
            order.add_line(sku, quantity);
        }
    }
    if let Some(last) = reading {
        add_record(&last, sales, &returned, records).await?;
    }
    progress(Progress { done: told.done, total: told.done });
    Ok(())
}

async fn add_record(
    order: &OrderRead,
    sales: &Definitions,
    returned: &HashSet<Uuid>,
    records: &mut Records<'_>,
) -> Result<(), OpenError> {
    match sales.get(&order.sale) {
        Some(definition) if !order.is_duplicate => {
            Ok(records.add(&definition.sale, &order.buyer, order.record(returned)).await?)
        }
        _ => Ok(()),
    }
}

/// No order of a sale that Redis holds has a lower id.
async fn lowest_order(db: &Object, partition: Partition) -> Result<Option<OrderId>, PgError> {
    let row = db.query_opt(FIRST_STOCK, &[&partition.to_sql()]).await?;
    let entry = row.and_then(|row| EntryId::from_sql(row.get(0), row.get(1)));
    Ok(entry.map(|entry| OrderId::lowest_at(entry.ms)))
}

async fn count_orders(db: &Object, partition: Partition, lowest: OrderId) -> Result<u64, PgError> {
    let row = db
        .query_one(
            "SELECT count(*) FROM orders WHERE partition = $1 AND id >= $2",
            &[&partition.to_sql(), &lowest.to_uuid()],
        )
        .await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Orders whose units are for sale again.
async fn returned_orders(db: &Object, partition: Partition) -> Result<HashSet<Uuid>, PgError> {
    let rows = db
        .query(
            "SELECT order_id FROM stock_intents
             WHERE partition = $1 AND kind = 'return' AND applied_at IS NOT NULL",
            &[&partition.to_sql()],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Orders that wait among the dead letters: their keys are taken and their units counted, as of any other order.
async fn add_dead_letters(
    db: &Object,
    partition: Partition,
    sales: &Definitions,
    records: &mut Records<'_>,
) -> Result<(), OpenError> {
    let rows = db
        .query(
            "SELECT entry_ms, entry_seq, fields FROM dead_letters
             WHERE partition = $1 AND sale_id IS NOT NULL AND ended_at IS NULL ORDER BY entry_ms, entry_seq",
            &[&partition.to_sql()],
        )
        .await
        .map_err(PgError::from)?;
    for row in rows {
        let Some(id) = EntryId::from_sql(row.get(0), row.get(1)) else { continue };
        if let Ok(LogEntry::Order(order)) = RawEntry::from_fields(id, row.get(2)).decode()
            && sales.contains_key(order.sale.as_str())
        {
            let head = record_head(&order.key, order.fingerprint, order.mark);
            let record = format!("{head}{id} {};", lines_text(&order.lines));
            records.add(&order.sale, order.buyer.as_str(), record).await?;
        }
    }
    Ok(())
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
