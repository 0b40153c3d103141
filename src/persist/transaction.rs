//! One transaction: a batch of log entries becomes rows, or nothing does.

use std::collections::HashSet;

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::faults::{crash_point, weakened_text};
use crate::log::{EntryId, LogEntry, OrderEntry, StockEntry};
use crate::order::CancelReason;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::persist::anomaly;
use crate::persist::units::Units;
use crate::postgres::{PartitionLock, PgError};

const ORDERS: &str = include_str!("../../sql/persist/orders.sql");
const GATE: &str = include_str!("../../sql/persist/gate.sql");
const LEDGER: &str = include_str!("../../sql/persist/ledger.sql");

/// Under which epoch a batch was read. Known before it was read, so that a batch of an older epoch is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Of which partition.
    pub partition: Partition,
    /// What Postgres must still hold.
    pub epoch: i64,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A keeper has raised the epoch since: whoever read the batch gives it up, the keeper drains the log.
    #[error("the partition was opened anew (epoch {0}): the batch is given up")]
    Superseded(i64),
    /// The gate: an item has fewer units than the batch needs.
    #[error("over the allotment: the database has fewer units than redis sold")]
    OverAllotment,
    /// The gate refused an order, and then did not.
    #[error("units came back while an order was refused: the batch is tried again")]
    GateMoved,
    /// An order names an item that its sale does not have.
    #[error("an order names a sale or an item that does not exist")]
    UnknownItem,
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl WriteError {
    /// Whether one of the entries is to blame, so that the batch is worth halving.
    pub fn is_about_the_data(&self) -> bool {
        match self {
            Self::OverAllotment | Self::UnknownItem => true,
            Self::Superseded(_) | Self::GateMoved => false,
            Self::Postgres(error) => error.is_bad_data(),
        }
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// An entry with its position.
pub type Entry = (EntryId, LogEntry);

/// Begins a persisting transaction: shares the partition's lock and checks the epoch.
///
/// # Errors
/// [`WriteError::Superseded`], or the database.
pub(super) async fn begin<'a>(db: &'a mut Object, fence: Fence) -> Result<Transaction<'a>, WriteError> {
    let tx = db.transaction().await?;
    let lock = tx.prepare_cached("SELECT pg_advisory_xact_lock_shared($1, $2)").await?;
    let epoch = tx.prepare_cached("SELECT epoch FROM partitions WHERE partition = $1").await?;
    let (class, partition) = (PartitionLock::Persist.class(), fence.partition.to_sql());
    let number = i32::from(partition);
    // Two statements, sent together: the second has a snapshot taken after the lock.
    let lock_keys: [&(dyn ToSql + Sync); 2] = [&class, &number];
    let epoch_of: [&(dyn ToSql + Sync); 1] = [&partition];
    let (_, row) = tokio::try_join!(tx.execute(&lock, &lock_keys), tx.query_one(&epoch, &epoch_of))?;
    match row.get::<_, i64>(0) {
        epoch if epoch == fence.epoch => Ok(tx),
        epoch => Err(WriteError::Superseded(epoch)),
    }
}

/// Writes all entries, or none. Applies them in log order where order matters: orders first, since a return
/// can only follow its order.
///
/// # Errors
/// [`WriteError`]; then nothing was written.
pub(super) async fn write(db: &mut Object, fence: Fence, entries: &[Entry]) -> Result<u64, WriteError> {
    let tx = begin(db, fence).await?;
    let orders: Vec<(OrderId, &OrderEntry)> = entries
        .iter()
        .filter_map(|(id, entry)| match entry {
            LogEntry::Order(order) => Some((OrderId::new(*id, fence.partition, order.mark), order)),
            _ => None,
        })
        .collect();
    let new = if orders.is_empty() { 0 } else { write_orders(&tx, fence.partition, &orders).await? };
    for (id, entry) in entries {
        match entry {
            LogEntry::Allotment(stock) => {
                write_ledger(&tx, fence.partition, *id, stock).await?;
            }
            LogEntry::Return { order, reason, stock } => {
                if write_ledger(&tx, fence.partition, *id, stock).await? > 0 {
                    anomaly::cancel_replayed(&tx, *order, *reason, stock).await?;
                }
            }
            LogEntry::Order(_) | LogEntry::Opening { .. } => {}
        }
    }
    crash_point!("persist_before_commit");
    tx.commit().await?;
    Ok(new)
}

async fn write_orders(
    tx: &Transaction<'_>,
    partition: Partition,
    orders: &[(OrderId, &OrderEntry)],
) -> Result<u64, WriteError> {
    let ids: Vec<Uuid> = orders.iter().map(|(id, _)| id.to_uuid()).collect();
    let sales: Vec<&str> = orders.iter().map(|(_, order)| order.sale.as_str()).collect();
    let buyers: Vec<&str> = orders.iter().map(|(_, order)| order.buyer.as_str()).collect();
    let keys: Vec<&str> = orders.iter().map(|(_, order)| order.key.as_str()).collect();
    let fingerprints: Vec<i64> = orders.iter().map(|(_, order)| order.fingerprint.cast_signed()).collect();
    let lines = || orders.iter().flat_map(|(id, order)| order.lines.iter().map(move |line| (id, line)));
    let line_orders: Vec<Uuid> = lines().map(|(id, _)| id.to_uuid()).collect();
    let skus: Vec<&str> = lines().map(|(_, (sku, _))| sku.as_str()).collect();
    let quantities: Vec<i32> = lines().map(|(_, (_, quantity))| quantity.cast_signed()).collect();

    let statement = tx.prepare_cached(ORDERS).await?;
    let rows = tx
        .query(
            &statement,
            &[
                &partition.to_sql(),
                &ids,
                &sales,
                &buyers,
                &keys,
                &fingerprints,
                &line_orders,
                &skus,
                &quantities,
            ],
        )
        .await?;
    let new: HashSet<OrderId> = rows.iter().map(|row| OrderId::from_uuid(row.get(0))).collect();
    let written = rows.first().map_or(0, |row| row.get::<_, i64>(1));
    let expected: usize =
        orders.iter().filter(|(id, _)| new.contains(id)).map(|(_, order)| order.lines.len()).sum();
    if written.unsigned_abs() != expected as u64 {
        return Err(WriteError::UnknownItem);
    }
    let mut units = Units::default();
    for (_, order) in orders.iter().filter(|(id, _)| new.contains(id)) {
        units.add(&order.sale, &order.lines);
    }
    count_as_sold(tx, partition, &units).await?;
    if new.len() < orders.len() {
        let left_out = orders.iter().filter(|(id, _)| !new.contains(id));
        anomaly::settle_left_out(tx, partition, left_out.copied().collect()).await?;
    }
    Ok(new.len() as u64)
}

/// The gate (promise 1).
async fn count_as_sold(tx: &Transaction<'_>, partition: Partition, units: &Units) -> Result<(), WriteError> {
    if units.is_empty() {
        return Ok(());
    }
    let passed = passed_gate(tx, partition, units).await?;
    if passed.len() == units.len() { Ok(()) } else { Err(WriteError::OverAllotment) }
}

/// Counts units as sold where they fit, and tells for which sales and SKUs they did.
pub(super) async fn passed_gate(
    tx: &Transaction<'_>,
    partition: Partition,
    units: &Units,
) -> Result<Vec<(String, String)>, WriteError> {
    let statement = tx.prepare_cached(weakened_text!(GATE)).await?;
    let columns = units.columns();
    let rows =
        tx.query(&statement, &[&partition.to_sql(), &columns.sales, &columns.skus, &columns.units]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn write_ledger(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    stock: &StockEntry,
) -> Result<i64, WriteError> {
    let skus: Vec<&str> = stock.lines.iter().map(|(sku, _)| sku.as_str()).collect();
    let deltas: Vec<i64> = stock.lines.iter().map(|(_, delta)| *delta).collect();
    let statement = tx.prepare_cached(LEDGER).await?;
    let (ms, seq) = (id.ms_sql(), id.seq_sql());
    let row = tx
        .query_one(
            &statement,
            &[&partition.to_sql(), &ms, &seq, &stock.sale.as_str(), &stock.cause, &skus, &deltas],
        )
        .await?;
    Ok(row.get(0))
}

/// Writes the one order that the gate refuses: cancelled, its refused lines marked, its other units to be returned.
pub(super) async fn write_over_allotment(
    db: &mut Object,
    fence: Fence,
    id: EntryId,
    order: &OrderEntry,
) -> Result<(), WriteError> {
    let tx = begin(db, fence).await?;
    let order_id = OrderId::new(id, fence.partition, order.mark);
    let mut units = Units::default();
    units.add(&order.sale, &order.lines);
    let probe = probe_gate(&tx, fence.partition, &units).await?;
    if probe.len() == units.len() {
        // Units came back since: the order fits after all, and is written the usual way.
        return Err(WriteError::GateMoved);
    }
    anomaly::write_cancelled(&tx, order_id, order, CancelReason::OverAllotment, |sku| {
        !probe.iter().any(|(_, passed)| passed == sku.as_str())
    })
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Asks the gate without counting anything.
async fn probe_gate(
    tx: &Transaction<'_>,
    partition: Partition,
    units: &Units,
) -> Result<Vec<(String, String)>, WriteError> {
    tx.batch_execute("SAVEPOINT probe").await?;
    let passed = passed_gate(tx, partition, units).await?;
    tx.batch_execute("ROLLBACK TO SAVEPOINT probe").await?;
    Ok(passed)
}
