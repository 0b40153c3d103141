//! Persists a batch whatever is in it: bad entries are found by halving and set apart, the rest goes through.

use std::time::Duration;

use deadpool_postgres::Object;

use crate::log::{LogEntry, RawEntry};
use crate::persist::anomaly::{self, Incident};
use crate::persist::transaction::{self, Entry, Fence, WriteError, begin};
use crate::postgres::{PgError, PgPool, within};

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Orders that are new in the database.
    pub new_orders: u64,
    /// Orders cancelled since the gate refused them.
    pub over_allotment: u64,
    /// Entries set apart.
    pub dead_letters: u64,
}

/// Persists every entry of a batch: when it returns, each of them is an order, a ledger row, a cancelled order or
/// a dead letter. Doing it again changes nothing.
///
/// # Errors
/// [`WriteError::Superseded`], or a transient error of the database; then part of the batch may be written, and the
/// whole batch is to be tried again. `limit` bounds each transaction, also where Postgres has stopped answering.
pub async fn persist(
    pool: &PgPool,
    fence: Fence,
    batch: &[RawEntry],
    limit: Duration,
) -> Result<Applied, WriteError> {
    let mut db = pool.get().await.map_err(PgError::from)?;
    let mut applied = Applied::default();
    let mut entries: Vec<(usize, Entry)> = Vec::with_capacity(batch.len());
    for (index, raw) in batch.iter().enumerate() {
        if raw.is_vanished() {
            within(limit, report_vanished(&mut db, fence, raw)).await?;
            continue;
        }
        match raw.decode() {
            Ok(entry) => entries.push((index, (raw.id, entry))),
            Err(error) => {
                within(limit, set_apart(&mut db, fence, raw, None, &error.to_string())).await?;
                applied.dead_letters += 1;
            }
        }
    }
    let (indexes, entries): (Vec<usize>, Vec<Entry>) = entries.into_iter().unzip();
    // Halves still to be written, the earliest last: at most one per level of halving.
    let mut halves: Vec<_> = std::iter::once(0..entries.len()).collect();
    while let Some(range) = halves.pop() {
        if range.is_empty() {
            continue;
        }
        // Each transaction on its own: a batch full of bad entries takes many, and must get through in the end.
        match within(limit, transaction::write(&mut db, fence, &entries[range.clone()])).await {
            Ok(new_orders) => applied.new_orders += new_orders,
            Err(error) if !error.is_about_the_data() => return Err(error),
            Err(error) if range.len() == 1 => {
                let raw = &batch[indexes[range.start]];
                let entry = &entries[range.start].1;
                within(limit, end_alone(&mut db, fence, raw, entry, &error, &mut applied)).await?;
            }
            Err(_) => {
                let middle = range.start + range.len() / 2;
                halves.push(middle..range.end);
                halves.push(range.start..middle);
            }
        }
    }
    Ok(applied)
}

/// The one entry that is to blame.
async fn end_alone(
    db: &mut Object,
    fence: Fence,
    raw: &RawEntry,
    entry: &LogEntry,
    error: &WriteError,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let order = match entry {
        LogEntry::Order(order) => Some(order),
        _ => None,
    };
    if let (WriteError::OverAllotment, Some(order)) = (error, order) {
        transaction::write_over_allotment(db, fence, raw.id, order).await?;
        applied.over_allotment += 1;
    } else {
        set_apart(db, fence, raw, order, &error.to_string()).await?;
        applied.dead_letters += 1;
    }
    Ok(())
}

async fn set_apart(
    db: &mut Object,
    fence: Fence,
    raw: &RawEntry,
    order: Option<&crate::log::OrderEntry>,
    error: &str,
) -> Result<(), WriteError> {
    let tx = begin(db, fence).await?;
    anomaly::write_dead_letter(&tx, fence, raw, order, error).await?;
    tx.commit().await?;
    Ok(())
}

async fn report_vanished(db: &mut Object, fence: Fence, entry: &RawEntry) -> Result<(), WriteError> {
    let tx = begin(db, fence).await?;
    let subject = format!("{} {}", fence.partition, entry.id);
    let detail = "pending, but deleted from the log";
    anomaly::raise(&tx, Incident::EntryVanished, fence.partition, &subject, detail).await?;
    tx.commit().await?;
    Ok(())
}
