//! What Redis remembers of orders, out of Postgres: one pass over them gives their records, and the units that they hold.

use std::collections::HashSet;
use std::fmt::Write as _;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::claim::{IdempotencyKey, record_head};
use crate::log::{EntryId, LogEntry, RawEntry, lines_text};
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::PgError;

use super::open_error::OpenError;
use super::rebuild::Definitions;
use super::records::Records;
use super::{Progress, ProgressSink};

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
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::BOOL_ARRAY,
];

/// Orders between two words about the progress.
const TELL_EVERY: u64 = 1000;

/// What Redis keeps of an order, as its buyer and his record. `None` where the order holds no key of its own, or the key is one
/// that this version cannot have written. One whose units went back does not count against the buyer's limits: its record
/// tells of no lines.
fn remembered(row: &BinaryCopyOutRow, lines: &[(&str, i32)], is_returned: bool) -> Option<(String, String)> {
    let (id, is_duplicate) = (OrderId::from_uuid(row.get(0)), row.get::<bool>(5));
    let key = IdempotencyKey::from_content(row.get(3)).ok().filter(|_| !is_duplicate)?;
    let mut record = record_head(&key, row.get::<i64>(4).cast_unsigned(), id.mark());
    let _ = write!(record, "{} ", id.entry());
    for (place, (sku, quantity)) in lines.iter().filter(|_| !is_returned).enumerate() {
        let separator = if place > 0 { "," } else { "" };
        let _ = write!(record, "{separator}{sku}:{quantity}");
    }
    record.push(';');
    Some((row.get::<&str>(2).to_owned(), record))
}

/// Adds a record of each order, and takes its units from the stock. A refused line removed a unit that never existed: it
/// takes nothing.
pub(super) async fn add_orders(
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
    while let Some(row) = rows.try_next().await.map_err(PgError::from)? {
        told.done += 1;
        if told.done.is_multiple_of(TELL_EVERY) {
            progress(told);
        }
        // One that Redis does not hold.
        let Some(definition) = sales.get_mut(row.get::<&str>(1)) else { continue };
        let lines: Vec<_> = row.get::<Vec<&str>>(6).into_iter().zip(row.get::<Vec<i32>>(7)).collect();
        let refused = row.get::<Option<Vec<bool>>>(8).unwrap_or_default();
        for (place, (sku, quantity)) in lines.iter().enumerate() {
            if refused.get(place) != Some(&true)
                && let Some(units) = definition.stock.get_mut(*sku)
            {
                *units -= i64::from(*quantity);
            }
        }
        let is_returned = returned.contains(&row.get::<Uuid>(0));
        if let Some((buyer, record)) = remembered(&row, &lines, is_returned) {
            records.add(&definition.sale, buyer, record).await?;
        }
    }
    progress(Progress { done: told.done, total: told.done });
    Ok(())
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
pub(super) async fn add_dead_letters(
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
            records.add(&order.sale, order.buyer.as_str().to_owned(), record).await?;
        }
    }
    Ok(())
}
