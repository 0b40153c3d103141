//! Persists a batch whatever is in it: bad entries are found by halving and set apart, the rest goes through.

use std::collections::HashSet;
use std::time::Duration;

use deadpool_postgres::Object;

use crate::log::{EntryId, LogEntry, OrderEntry, RawEntry};
use crate::persist::anomaly::{self, Incident};
use crate::persist::transaction::{self, Entry, Fence, Run, WriteError, begin};
use crate::persist::{Applied, Foreseen};
use crate::postgres::{PgError, PgPool, within};

/// Persists every entry of a batch: when it returns, each of them is an order, a ledger row, a cancelled order or
/// a dead letter. Doing it again changes nothing.
///
/// # Errors
/// [`WriteError::Superseded`], or a transient error of the database; then part of the batch may be written, and the
/// whole batch is to be tried with [`persist_again`]. `limit` bounds each transaction, also where Postgres has stopped
/// answering.
pub async fn persist(
    pool: &PgPool,
    fence: Fence,
    batch: &[RawEntry],
    limit: Duration,
) -> Result<Applied, WriteError> {
    persist_as(pool, Run { fence, all_new: true, foreseen: None, rehearsal: None }, batch, limit).await
}

/// As [`persist`], for entries of which some may have been persisted before. An entry that was set apart is left to
/// whoever ends it, although it might go through by now: its units are counted there.
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
    persist_as(pool, Run { fence, all_new: false, foreseen: Some(foreseen), rehearsal: None }, batch, limit)
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
        Run { fence, all_new: false, foreseen: Some(foreseen), rehearsal: Some(before) },
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
    let apart = match run.foreseen {
        Some(_) => within(limit, set_apart_before(&db, run.fence, batch)).await?,
        None => HashSet::new(),
    };
    let mut entries: Vec<(usize, Entry)> = Vec::with_capacity(batch.len());
    for (index, raw) in batch.iter().enumerate() {
        if apart.contains(&raw.id) {
            applied.known_dead_letters += 1;
            continue;
        }
        if raw.is_vanished() {
            within(limit, report_vanished(&mut db, run, raw)).await?;
            continue;
        }
        match raw.decode() {
            Ok(entry) => entries.push((index, (raw.id, entry))),
            Err(error) => {
                within(limit, set_apart(&mut db, run, raw, None, &error.to_string())).await?;
                applied.unreadable += 1;
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
        match within(limit, transaction::write(&mut db, run, &entries[range.clone()])).await {
            Ok(written) => applied += written,
            Err(error) if run.all_new && error.is_conflict() => {
                run.all_new = false;
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

/// Entries of the batch that are dead letters, whatever became of those.
async fn set_apart_before(
    db: &Object,
    fence: Fence,
    batch: &[RawEntry],
) -> Result<HashSet<EntryId>, WriteError> {
    let ids = || batch.iter().map(|entry| entry.id);
    let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(HashSet::new()) };
    let statement = db
        .prepare_cached(
            "SELECT entry_ms, entry_seq FROM dead_letters
             WHERE partition = $1 AND (entry_ms, entry_seq) >= ($2, $3) AND (entry_ms, entry_seq) <= ($4, $5)",
        )
        .await?;
    let (partition, from, to) = (fence.partition.to_sql(), first, last);
    let rows = db
        .query(&statement, &[&partition, &from.ms_sql(), &from.seq_sql(), &to.ms_sql(), &to.seq_sql()])
        .await?;
    Ok(rows.iter().filter_map(|row| EntryId::from_sql(row.get(0), row.get(1))).collect())
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
    let order = match entry {
        LogEntry::Order(order) => Some(order),
        _ => None,
    };
    if let (WriteError::OverAllotment, Some(order)) = (error, order) {
        if run.rehearsal.is_none() {
            transaction::write_over_allotment(db, run.fence, raw.id, order).await?;
        }
        applied.over_allotment += 1;
    } else {
        set_apart(db, run, raw, order, &error.to_string()).await?;
        applied.dead_letters += 1;
    }
    Ok(())
}

async fn set_apart(
    db: &mut Object,
    run: Run<'_>,
    raw: &RawEntry,
    order: Option<&OrderEntry>,
    error: &str,
) -> Result<(), WriteError> {
    let tx = begin(db, run.fence).await?;
    if run.rehearsal.is_none() {
        anomaly::write_dead_letter(&tx, run.fence, raw, order, error).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn report_vanished(db: &mut Object, run: Run<'_>, entry: &RawEntry) -> Result<(), WriteError> {
    let (tx, partition) = (begin(db, run.fence).await?, run.fence.partition);
    let subject = format!("{partition} {}", entry.id);
    let detail = "pending, but deleted from the log";
    anomaly::raise(&tx, Incident::EntryVanished, partition, &subject, detail).await?;
    tx.commit().await?;
    Ok(())
}
