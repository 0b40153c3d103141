//! Persists a batch whatever is in it: bad entries are found by halving and set apart, the rest goes through.

use std::time::Duration;

use deadpool_postgres::{Object, Transaction};

use crate::log::{DecidedEntry, LogEntry, RawEntry};
use crate::order_id::OrderId;
use crate::persist::anomaly::{self, Incident};
use crate::persist::transaction::{self, Entry, Fence, Hold, Run, WriteError, begin_for};
use crate::persist::{Applied, Foreseen, KnownItems, ledger};
use crate::postgres::{PgError, PgPool, within};

/// Persists every entry of a batch: when it returns, each of them is an order, a ledger row, a cancelled order or
/// a dead letter, and only one of these. Doing it again changes nothing.
///
/// # Errors
/// [`WriteError::Superseded`], or a transient error of the database; then part of the batch may be written, and the
/// whole batch is to be tried with [`persist_again`]. `limit` bounds each transaction, also where Postgres has stopped
/// answering.
pub async fn persist(
    pool: &PgPool,
    fence: Fence,
    items: &KnownItems,
    batch: &[RawEntry],
    limit: Duration,
) -> Result<Applied, WriteError> {
    persist_as(pool, Run { fence, all_new: Some(items), foreseen: None, rehearsal: None }, batch, limit).await
}

/// As [`persist`], for entries of which some may have been persisted before.
///
/// # Errors
/// As [`persist`].
pub async fn persist_again(
    pool: &PgPool,
    fence: Fence,
    batch: &[RawEntry],
    foreseen: &Foreseen,
    limit: Duration,
) -> Result<Applied, WriteError> {
    persist_as(pool, Run { fence, all_new: None, foreseen: Some(foreseen), rehearsal: None }, batch, limit)
        .await
}

/// What [`persist_again`] would do, if `before` had been persisted. Every transaction is rolled back.
///
/// # Errors
/// As [`persist`].
pub async fn rehearse(
    pool: &PgPool,
    fence: Fence,
    before: &[Entry],
    batch: &[RawEntry],
    foreseen: &Foreseen,
    limit: Duration,
) -> Result<Applied, WriteError> {
    persist_as(
        pool,
        Run { fence, all_new: None, foreseen: Some(foreseen), rehearsal: Some(before) },
        batch,
        limit,
    )
    .await
}

async fn persist_as(
    pool: &PgPool,
    mut run: Run<'_>,
    batch: &[RawEntry],
    limit: Duration,
) -> Result<Applied, WriteError> {
    let mut db = pool.get().await.map_err(PgError::from)?;
    let mut applied = Applied::default();
    let mut entries: Vec<(usize, Entry)> = Vec::with_capacity(batch.len());
    for (index, raw) in batch.iter().enumerate() {
        if raw.is_vanished() {
            within(limit, report_vanished(&mut db, run, raw, &mut applied)).await?;
            continue;
        }
        match raw.decode() {
            Ok(entry) => entries.push((index, (raw.id, entry))),
            Err(error) => {
                let apart = SetApart { raw, entry: None, error: error.to_string() };
                let written = within(limit, apart.write(&mut db, run, &mut applied)).await?;
                applied.unreadable += u64::from(written);
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
        match within(limit, transaction::write(&mut db, run, &entries[range.clone()])).await {
            Ok(written) => applied += written,
            Err(error) if run.all_new.is_some() && error.is_conflict() => {
                run.all_new = None;
                halves.push(range);
            }
            Err(error) if !error.is_about_the_data() => return Err(error),
            Err(error) if range.len() == 1 => {
                let raw = &batch[indexes[range.start]];
                let entry = &entries[range.start].1;
                within(limit, end_alone(&mut db, run, raw, entry, &error, &mut applied)).await?;
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
    run: Run<'_>,
    raw: &RawEntry,
    entry: &LogEntry,
    error: &WriteError,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    if let (WriteError::OverAllotment, LogEntry::Order(order)) = (error, entry) {
        let written = match run.rehearsal {
            Some(_) => true,
            None => transaction::write_over_allotment(db, run.fence, raw.id, order).await?,
        };
        applied.over_allotment += u64::from(written);
        applied.known_dead_letters += u64::from(!written);
        return Ok(());
    }
    let apart = SetApart { raw, entry: Some(entry), error: error.to_string() };
    apart.write(db, run, applied).await?;
    Ok(())
}

/// An entry that cannot be persisted as it stands.
struct SetApart<'a> {
    raw: &'a RawEntry,
    /// Where it can be read.
    entry: Option<&'a LogEntry>,
    error: String,
}

impl SetApart<'_> {
    /// Sets it apart, unless somebody has done so or has persisted it: a worker that took the entry over, or one that it
    /// was taken from, may have found it sound. Then its units are counted there, and only there. Tells whether it is a
    /// new dead letter.
    async fn write(&self, db: &mut Object, run: Run<'_>, applied: &mut Applied) -> Result<bool, WriteError> {
        let hold = if run.rehearsal.is_some() { Hold::Shared } else { Hold::Alone };
        let (tx, apart) = begin_for(db, run.fence, hold, std::iter::once(self.raw.id)).await?;
        if !apart.is_empty() {
            applied.known_dead_letters += 1;
            return Ok(false);
        }
        if self.is_persisted(&tx, run.fence, applied).await? {
            return Ok(false);
        }
        if run.rehearsal.is_none() {
            let order = match self.entry {
                Some(LogEntry::Order(order)) => Some(order),
                _ => None,
            };
            anomaly::write_dead_letter(&tx, run.fence, self.raw, order, &self.error).await?;
        }
        tx.commit().await?;
        applied.dead_letters += 1;
        Ok(true)
    }

    async fn is_persisted(
        &self,
        tx: &Transaction<'_>,
        fence: Fence,
        applied: &mut Applied,
    ) -> Result<bool, WriteError> {
        let (id, partition) = (self.raw.id, fence.partition);
        match self.entry {
            Some(LogEntry::Order(order)) => {
                let order = OrderId::new(id, partition, order.mark);
                let known = anomaly::is_known(tx, order).await?;
                applied.known_orders += u64::from(known);
                Ok(known)
            }
            Some(
                LogEntry::Allotment(stock)
                | LogEntry::Return { stock, .. }
                | LogEntry::Adjustment(DecidedEntry { stock, .. })
                | LogEntry::Confirmation { decided: DecidedEntry { stock, .. }, .. },
            ) => {
                let rows = ledger::rows_of(tx, partition, id).await?;
                applied.known_ledger_rows += rows;
                Ok(rows > 0 || stock.lines.is_empty() && ledger::has_ended(tx, &stock.cause).await?)
            }
            _ => Ok(false),
        }
    }
}

async fn report_vanished(
    db: &mut Object,
    run: Run<'_>,
    entry: &RawEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let partition = run.fence.partition;
    let (tx, apart) = begin_for(db, run.fence, Hold::Shared, std::iter::once(entry.id)).await?;
    if !apart.is_empty() {
        applied.known_dead_letters += 1;
        return Ok(());
    }
    let subject = format!("{partition} {}", entry.id);
    let detail = "pending, but deleted from the log, with whatever orders shared it";
    anomaly::raise(&tx, Incident::EntryVanished, partition, &subject, detail).await?;
    tx.commit().await?;
    Ok(())
}
