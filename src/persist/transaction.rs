//! One transaction: a batch of log entries becomes rows, or nothing does.

use std::borrow::Cow;
use std::collections::HashSet;

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::ToSql;

use crate::catalogue::Sku;
use crate::faults::{crash_point, weakened, weakened_text};
use crate::log::{EntryId, LogEntry, OrderEntry};
use crate::order::CancelReason;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::persist::foreseen::Foreseen;
use crate::persist::sale::write_sale;
use crate::persist::units::Units;
use crate::persist::{Applied, KnownItems, anomaly, ledger, orders};
use crate::postgres::{PartitionLock, PgError};

const GATE: &str = include_str!("../../sql/persist/gate.sql");

/// Under which epoch a batch was read. Known before it was read, so that a batch of an older epoch is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Of which partition.
    pub partition: Partition,
    /// What Postgres must still hold.
    pub epoch: i64,
    /// Whether it must be the Postgres at which the partition was opened: so for whoever settles afterwards.
    at_opened: bool,
}

impl Fence {
    /// For the Postgres at which the partition was opened.
    pub fn new(partition: Partition, epoch: i64) -> Self {
        Self { partition, epoch, at_opened: true }
    }

    /// For one that may have been restored and not opened yet. Nothing that is written there may be settled.
    pub fn at_any_postgres(self) -> Self {
        Self { at_opened: false, ..self }
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A keeper has raised the epoch since: whoever read the batch gives it up, the keeper drains the log.
    #[error("the partition was opened anew (epoch {0}): the batch is given up")]
    Superseded(i64),
    /// Postgres was restarted, restored or replaced since: it may be older than what was settled.
    #[error(
        "postgres is another process than the one at which the partition was opened: the batch is given up"
    )]
    OtherPostgres,
    /// The gate: an item has fewer units than the batch needs.
    #[error("over the allotment: the database has fewer units than redis sold")]
    OverAllotment,
    /// The gate refused an order, and then did not.
    #[error("units came back while an order was refused: the batch is tried again")]
    GateMoved,
    /// An order names an item that its sale does not have.
    #[error("an order names a sale or an item that does not exist")]
    UnknownItem,
    /// An order has two lines of one item, as no claim has.
    #[error("an order names an item twice")]
    ItemTwice,
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl WriteError {
    /// Whether one of the entries is to blame, so that the batch is worth halving.
    pub fn is_about_the_data(&self) -> bool {
        match self {
            Self::OverAllotment | Self::UnknownItem | Self::ItemTwice => true,
            Self::Superseded(_) | Self::OtherPostgres | Self::GateMoved => false,
            Self::Postgres(error) => error.is_bad_data(),
        }
    }

    /// Whether something is there already.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_unique_violation())
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// An entry with its position.
pub type Entry = (EntryId, LogEntry);

/// The epoch, and whether this is the Postgres at which the partition was opened: a transaction at one that came back
/// with older data, or that another keeper no longer uses, must not settle what only the other one holds.
const EPOCH: &str =
    "SELECT epoch, coalesce(postgres = postgres_identity(), true) FROM partitions WHERE partition = $1";

/// Entries that were set apart, whatever became of them since.
const APART: &str = "SELECT entry_ms, entry_seq FROM dead_letters
    WHERE partition = $1 AND (entry_ms, entry_seq) >= ($2, $3) AND (entry_ms, entry_seq) <= ($4, $5)";

/// How a transaction holds the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Beside others that persist.
    Shared,
    /// While nobody else persists: whoever sets an entry apart must see whether another worker has written it, and no
    /// other worker may be about to.
    Alone,
}

impl Hold {
    fn statement(self) -> &'static str {
        match self {
            Self::Shared => "SELECT pg_advisory_xact_lock_shared($1, $2)",
            Self::Alone => "SELECT pg_advisory_xact_lock($1, $2)",
        }
    }
}

/// Begins a persisting transaction: shares the partition's lock and checks the epoch.
///
/// # Errors
/// [`WriteError::Superseded`], or the database.
pub(crate) async fn begin<'a>(db: &'a mut Object, fence: Fence) -> Result<Transaction<'a>, WriteError> {
    Ok(begin_for(db, fence, Hold::Shared, std::iter::empty()).await?.0)
}

/// As [`begin`], and tells which of these entries were set apart: their units are counted there.
pub(super) async fn begin_for<'a>(
    db: &'a mut Object,
    fence: Fence,
    hold: Hold,
    entries: impl Iterator<Item = EntryId> + Clone,
) -> Result<(Transaction<'a>, HashSet<EntryId>), WriteError> {
    let tx = db.transaction().await?;
    let lock = tx.prepare_cached(hold.statement()).await?;
    let epoch = tx.prepare_cached(EPOCH).await?;
    let apart = tx.prepare_cached(APART).await?;
    let (class, partition) = (PartitionLock::Persist.class(), fence.partition.to_sql());
    let number = i32::from(partition);
    // Statements that are sent together: those behind the lock have snapshots taken after it.
    let lock_keys: [&(dyn ToSql + Sync); 2] = [&class, &number];
    let epoch_of: [&(dyn ToSql + Sync); 1] = [&partition];
    let (first, last) =
        (entries.clone().min().unwrap_or(EntryId::ZERO), entries.max().unwrap_or(EntryId::ZERO));
    let ends = [first.ms_sql(), first.seq_sql(), last.ms_sql(), last.seq_sql()];
    let apart_among: [&(dyn ToSql + Sync); 5] = [&partition, &ends[0], &ends[1], &ends[2], &ends[3]];
    let (_, row, apart) = tokio::try_join!(
        tx.execute(&lock, &lock_keys),
        tx.query_one(&epoch, &epoch_of),
        tx.query(&apart, &apart_among)
    )?;
    match (row.get::<_, i64>(0), row.get::<_, bool>(1) || !fence.at_opened) {
        (epoch, true) if epoch == fence.epoch => {}
        (epoch, true) => return Err(WriteError::Superseded(epoch)),
        (_, false) => return Err(WriteError::OtherPostgres),
    }
    let apart = apart.iter().filter_map(|row| EntryId::from_sql(row.get(0), row.get(1))).collect();
    Ok((tx, apart))
}

/// Under what entries are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub fence: Fence,
    /// Where no order is known, most likely, and one that is is an error: what is known of items.
    pub all_new: Option<&'a KnownItems>,
    /// For entries that may have been persisted before.
    pub foreseen: Option<&'a Foreseen>,
    /// Nothing is to stay written; and what stands before these entries and was not written either.
    pub rehearsal: Option<&'a [Entry]>,
}

/// Writes all entries, or none. One that was set apart is left to whoever ends it, although it might go through by now.
///
/// # Errors
/// [`WriteError`]; then nothing was written.
pub(super) async fn write(db: &mut Object, run: Run<'_>, entries: &[Entry]) -> Result<Applied, WriteError> {
    let ids = entries.iter().map(|(id, _)| *id);
    let (tx, apart) = begin_for(db, run.fence, Hold::Shared, ids).await?;
    let mut entries = Cow::Borrowed(entries);
    if !apart.is_empty() {
        entries.to_mut().retain(|(id, _)| !apart.contains(id));
    }
    if let Some(before) = run.rehearsal {
        apply(&tx, run, before).await?;
    }
    let mut applied = apply(&tx, run, &entries).await?;
    applied.known_dead_letters += apart.len() as u64;
    crash_point!("persist_before_commit");
    match run.rehearsal {
        Some(_) => tx.rollback().await?,
        None => tx.commit().await?,
    }
    Ok(applied)
}

/// Writes entries inside a transaction of [`begin`].
///
/// # Errors
/// [`WriteError`].
pub(crate) async fn write_in(
    tx: &Transaction<'_>,
    fence: Fence,
    entries: &[Entry],
) -> Result<Applied, WriteError> {
    apply(tx, Run { fence, all_new: None, foreseen: None, rehearsal: None }, entries).await
}

/// In the order that matters: a sale before its units, units before the orders that took them, an order before its
/// confirmation and that before its return. An order that could only be had since another one's units came back may so be
/// refused by the gate; halving then parts the two.
async fn apply(tx: &Transaction<'_>, mut run: Run<'_>, entries: &[Entry]) -> Result<Applied, WriteError> {
    let partition = run.fence.partition;
    let mut applied = Applied::default();
    if entries.iter().any(|(_, entry)| matches!(entry, LogEntry::Order(order) if order.names_an_item_twice()))
    {
        return Err(WriteError::ItemTwice);
    }
    for (_, entry) in entries {
        if let LogEntry::Sale(sale) = entry {
            // Nothing is to be known of items that may not stay written.
            run.all_new = None;
            write_sale(tx, partition, sale, &mut applied).await?;
        }
    }
    for (id, entry) in entries {
        match entry {
            LogEntry::Allotment(stock) => {
                ledger::write_allotment(tx, partition, *id, stock, &mut applied).await?;
            }
            LogEntry::Adjustment(entry) if !entry.lowers() => {
                ledger::write_adjustment(tx, partition, *id, entry, &mut applied).await?;
            }
            _ => {}
        }
    }
    let (foreseen, orders): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter_map(|(id, entry)| match entry {
            LogEntry::Order(order) => Some((OrderId::new(*id, partition, order.mark), order)),
            _ => None,
        })
        .partition(|(id, _)| run.foreseen.is_some_and(|foreseen| foreseen.of(*id).is_some()));
    if let (Some(known), false) = (run.foreseen, foreseen.is_empty()) {
        anomaly::write_foreseen(tx, &foreseen, known, &mut applied).await?;
    }
    if !orders.is_empty() {
        orders::write(tx, run, &orders, &mut applied).await?;
    }
    // What a rehearsal counts is told by each entry.
    let ended = match run.rehearsal {
        None => ledger::end_intents(tx, partition, entries, &mut applied).await?,
        Some(_) => HashSet::new(),
    };
    let open = || entries.iter().filter(|(id, _)| !ended.contains(id));
    for (id, entry) in open() {
        if let LogEntry::Confirmation { order, decided } = entry {
            ledger::write_confirmation(tx, partition, *id, *order, decided, &mut applied).await?;
        }
    }
    for (id, entry) in open() {
        if let LogEntry::Return { order, reason, stock } = entry {
            ledger::write_return(tx, run, *id, (*order, *reason), stock, &mut applied).await?;
        }
    }
    // Units that Redis no longer had: last, since what it has sold before and after fits without them.
    for (id, entry) in entries {
        if let LogEntry::Adjustment(entry) = entry
            && entry.lowers()
        {
            ledger::write_adjustment(tx, partition, *id, entry, &mut applied).await?;
        }
    }
    Ok(applied)
}

/// Counts units as sold where they fit, and tells at which places they did.
pub(super) async fn passed_gate(
    tx: &Transaction<'_>,
    partition: Partition,
    units: &Units<'_>,
) -> Result<Vec<usize>, WriteError> {
    let lock = tx.prepare_cached(Hold::Alone.statement()).await?;
    let gate = tx.prepare_cached(weakened_text!(GATE)).await?;
    let (class, partition) = (PartitionLock::Gate.class(), partition.to_sql());
    let number = i32::from(partition);
    let lock_keys: [&(dyn ToSql + Sync); 2] = [&class, &number];
    let units: [&(dyn ToSql + Sync); 4] = [&partition, &units.sales, &units.skus, &units.sums];
    let locked = async { if weakened!("open_gate") { Ok(0) } else { tx.execute(&lock, &lock_keys).await } };
    // Sent together: the gate has a snapshot taken after the lock.
    let (_, rows) = tokio::try_join!(locked, tx.query(&gate, &units))?;
    Ok(rows.iter().filter_map(|row| usize::try_from(row.get::<_, i64>(0) - 1).ok()).collect())
}

/// Writes the one order that the gate refuses: cancelled, its refused lines marked, its other units to be returned.
/// `false` where it was set apart meanwhile.
pub(super) async fn write_over_allotment(
    db: &mut Object,
    fence: Fence,
    id: EntryId,
    order: &OrderEntry,
) -> Result<bool, WriteError> {
    let (tx, apart) = begin_for(db, fence, Hold::Shared, std::iter::once(id)).await?;
    if !apart.is_empty() {
        return Ok(false);
    }
    write_over_allotment_in(&tx, fence, id, order).await?;
    tx.commit().await?;
    Ok(true)
}

/// As [`write_over_allotment`], inside a transaction of [`begin`].
pub(crate) async fn write_over_allotment_in(
    tx: &Transaction<'_>,
    fence: Fence,
    id: EntryId,
    order: &OrderEntry,
) -> Result<(), WriteError> {
    let order_id = OrderId::new(id, fence.partition, order.mark);
    let units = Units::of(std::iter::once(order));
    let places = probe_gate(tx, fence.partition, &units).await?;
    if places.len() == units.len() {
        // Units came back since: the order fits after all, and is written the usual way.
        return Err(WriteError::GateMoved);
    }
    let passed: HashSet<&str> = places.iter().filter_map(|&place| units.skus.get(place).copied()).collect();
    let refused = |sku: &Sku| !passed.contains(sku.as_str());
    let (reason, units) = (CancelReason::OverAllotment, anomaly::Units::ToBeReturned);
    anomaly::write_cancelled(tx, order_id, order, reason, units, refused).await
}

/// Asks the gate without counting anything.
async fn probe_gate(
    tx: &Transaction<'_>,
    partition: Partition,
    units: &Units<'_>,
) -> Result<Vec<usize>, WriteError> {
    tx.batch_execute("SAVEPOINT probe").await?;
    let passed = passed_gate(tx, partition, units).await?;
    tx.batch_execute("ROLLBACK TO SAVEPOINT probe").await?;
    Ok(passed)
}
