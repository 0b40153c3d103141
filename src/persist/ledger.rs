//! Changes of stock out of the log: the ledger, and what a restored database has lost of their causes.

use std::collections::HashSet;

use deadpool_postgres::Transaction;
use uuid::Uuid;

use crate::faults::weakened;
use crate::log::{DecidedEntry, EntryId, LogEntry, StockEntry};
use crate::order::CancelReason;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::persist::transaction::{Entry, Run, WriteError};
use crate::persist::{Applied, anomaly};
use crate::postgres::lock_gates;

const CONFIRMED_IN_LOG: &str = include_str!("../../sql/persist/confirmed_in_log.sql");
const END_INTENTS: &str = include_str!("../../sql/persist/end_intents.sql");
const LEDGER: &str = include_str!("../../sql/persist/ledger.sql");
const LOST_INTENT: &str = include_str!("../../sql/persist/lost_intent.sql");
const RAISE_ALLOTMENT: &str = include_str!("../../sql/persist/raise_allotment.sql");

/// Units that were added. Where their intent was lost, the allotment is raised here: exactly once, since the ledger
/// takes an entry once.
pub(super) async fn write_allotment(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    stock: &StockEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let written = write_rows(tx, partition, id, stock, applied).await?;
    if written.new_rows == 0 || written.intent_is_known {
        return Ok(());
    }
    let (skus, units) = columns(stock);
    lock_gates(tx, [partition]).await?;
    let raised =
        tx.execute(RAISE_ALLOTMENT, &[&stock.sale.as_str(), &partition.to_sql(), &skus, &units]).await?;
    if raised != skus.len() as u64 {
        return Err(WriteError::UnknownItem);
    }
    let lost = Lost { kind: "allotment", order: None, reason: "allotment", actor: "log" };
    write_lost_intent(tx, partition, id, stock, lost).await
}

/// An operator's change. A raise counts since its intent was written; where that was lost, from here. A lowering counts
/// from here on in any case: Redis does not have the units any more.
pub(super) async fn write_adjustment(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    entry: &DecidedEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let (stock, lowers) = (&entry.stock, entry.lowers());
    let written = write_rows(tx, partition, id, stock, applied).await?;
    if written.new_rows == 0 {
        return Ok(());
    }
    if lowers || !written.intent_is_known {
        let (skus, units) = columns(stock);
        lock_gates(tx, [partition]).await?;
        let moved =
            tx.execute(RAISE_ALLOTMENT, &[&stock.sale.as_str(), &partition.to_sql(), &skus, &units]).await?;
        if moved != skus.len() as u64 {
            return Err(WriteError::UnknownItem);
        }
    }
    if written.intent_is_known {
        return Ok(());
    }
    let kind = if lowers { "lower" } else { "raise" };
    let lines = stock.lines.iter().map(|(sku, units)| (sku.clone(), units.abs())).collect();
    let asked = StockEntry { lines, ..stock.clone() };
    let lost = Lost { kind, order: None, reason: &entry.reason, actor: &entry.actor };
    write_lost_intent(tx, partition, id, &asked, lost).await
}

/// What follows from steps that this database has taken itself: the returns and confirmations whose intents it knows, in one
/// statement, however many there are. Their orders have moved in the transaction that wrote the intent. Answers with the
/// entries that are done with; the others are written one by one.
pub(super) async fn end_intents(
    tx: &Transaction<'_>,
    partition: Partition,
    entries: &[Entry],
    applied: &mut Applied,
) -> Result<HashSet<EntryId>, WriteError> {
    let changes: Vec<(&EntryId, &StockEntry)> = entries
        .iter()
        .filter_map(|(id, entry)| match entry {
            LogEntry::Return { stock, .. } => Some((id, stock)),
            LogEntry::Confirmation { decided, .. } => Some((id, &decided.stock)),
            _ => None,
        })
        .collect();
    if changes.is_empty() {
        return Ok(HashSet::new());
    }
    let (ms, seq): (Vec<i64>, Vec<i64>) = changes.iter().map(|(id, _)| (id.ms_sql(), id.seq_sql())).unzip();
    let causes: Vec<&str> = changes.iter().map(|(_, stock)| stock.cause.as_str()).collect();
    let mut of_lines = LineColumns::default();
    changes.iter().for_each(|(id, stock)| of_lines.add(**id, stock));
    let LineColumns { ms: line_ms, seq: line_seq, sales, skus, deltas, causes: line_causes } = &of_lines;
    let statement = tx.prepare_cached(END_INTENTS).await?;
    let rows = tx
        .query(
            &statement,
            &[&partition.to_sql(), &ms, &seq, &causes, line_ms, line_seq, sales, skus, deltas, line_causes],
        )
        .await?;
    let ended: HashSet<EntryId> =
        rows.iter().filter_map(|row| EntryId::from_sql(row.get(0), row.get(1))).collect();
    let new_rows = rows.first().map_or(0, |row| row.get::<_, i64>(2).unsigned_abs());
    let lines =
        changes.iter().filter(|(id, _)| ended.contains(id)).map(|(_, stock)| stock.lines.len() as u64);
    applied.new_ledger_rows += new_rows;
    applied.known_ledger_rows += lines.sum::<u64>() - new_rows;
    Ok(ended)
}

/// Lines of many entries, column by column.
#[derive(Default)]
struct LineColumns<'a> {
    ms: Vec<i64>,
    seq: Vec<i64>,
    sales: Vec<&'a str>,
    skus: Vec<&'a str>,
    deltas: Vec<i64>,
    causes: Vec<&'a str>,
}

impl<'a> LineColumns<'a> {
    fn add(&mut self, id: EntryId, stock: &'a StockEntry) {
        for (sku, units) in &stock.lines {
            self.ms.push(id.ms_sql());
            self.seq.push(id.seq_sql());
            self.sales.push(stock.sale.as_str());
            self.skus.push(sku.as_str());
            self.deltas.push(*units);
            self.causes.push(&stock.cause);
        }
    }
}

/// Units that came back. The entry performs its cancel where the database does not know of it: a replay into an older
/// database must not resurrect the order.
pub(super) async fn write_return(
    tx: &Transaction<'_>,
    run: Run<'_>,
    id: EntryId,
    (order, reason): (OrderId, CancelReason),
    stock: &StockEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let partition = run.fence.partition;
    let written = write_rows(tx, partition, id, stock, applied).await?;
    if written.new_rows > 0 && !weakened!("return_without_cancel") {
        applied.cancelled += anomaly::cancel_replayed(tx, (order, reason), stock, id).await?;
        if run.rehearsal.is_some()
            && !reason.is_found_by_persisting()
            && !anomaly::is_known(tx, order).await?
        {
            // An earlier batch would have written it.
            applied.cancelled += 1;
        }
    }
    if !written.intent_is_known {
        // Applied, so that a rebuild knows that the units no longer count against the buyer.
        let order = Some(order.to_uuid());
        let lost = Lost { kind: "return", order, reason: reason.as_str(), actor: "log" };
        write_lost_intent(tx, partition, id, stock, lost).await?;
    }
    Ok(())
}

/// How many rows an entry has in the ledger.
pub(super) async fn rows_of(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
) -> Result<u64, WriteError> {
    let count = "SELECT count(*) FROM stock_ledger WHERE partition = $1 AND entry_ms = $2 AND entry_seq = $3";
    let row = tx.query_one(count, &[&partition.to_sql(), &id.ms_sql(), &id.seq_sql()]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Whether the entry of this cause was persisted, which leaves no row where it changes no stock.
pub(super) async fn has_ended(tx: &Transaction<'_>, cause: &str) -> Result<bool, WriteError> {
    let ended = "SELECT EXISTS (SELECT FROM stock_intents
                 WHERE cause = $1 AND applied_at IS NOT NULL AND ended_as IS NULL)";
    Ok(tx.query_one(ended, &[&cause]).await?.get(0))
}

struct Written {
    new_rows: u64,
    intent_is_known: bool,
}

async fn write_rows(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    stock: &StockEntry,
    applied: &mut Applied,
) -> Result<Written, WriteError> {
    let (skus, deltas) = columns(stock);
    let statement = tx.prepare_cached(LEDGER).await?;
    let (ms, seq) = (id.ms_sql(), id.seq_sql());
    let row = tx
        .query_one(
            &statement,
            &[&partition.to_sql(), &ms, &seq, &stock.sale.as_str(), &stock.cause, &skus, &deltas],
        )
        .await?;
    let new_rows = row.get::<_, i64>(0).unsigned_abs();
    applied.new_ledger_rows += new_rows;
    applied.known_ledger_rows += skus.len() as u64 - new_rows;
    Ok(Written { new_rows, intent_is_known: row.get(1) })
}

/// An order that was confirmed. Where the database does not know of it, it is confirmed here: nothing else tells a restored
/// database that the order is paid.
pub(super) async fn write_confirmation(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    order: OrderId,
    decided: &DecidedEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let written = write_rows(tx, partition, id, &decided.stock, applied).await?;
    if written.intent_is_known {
        return Ok(());
    }
    let (actor, reason) = (&decided.actor, &decided.reason);
    tx.execute(CONFIRMED_IN_LOG, &[&order.to_uuid(), &actor, &reason, &id.ms_sql()]).await?;
    let lost = Lost { kind: "confirmation", order: Some(order.to_uuid()), reason, actor };
    write_lost_intent(tx, partition, id, &decided.stock, lost).await
}

/// What the log says of an intent that this database has lost.
struct Lost<'a> {
    kind: &'a str,
    order: Option<Uuid>,
    reason: &'a str,
    actor: &'a str,
}

async fn write_lost_intent(
    tx: &Transaction<'_>,
    partition: Partition,
    id: EntryId,
    stock: &StockEntry,
    lost: Lost<'_>,
) -> Result<(), WriteError> {
    let (skus, units) = columns(stock);
    let Lost { kind, order, reason, actor } = lost;
    let (sale, partition, ms) = (stock.sale.as_str(), partition.to_sql(), id.ms_sql());
    tx.execute(
        LOST_INTENT,
        &[&stock.cause, &kind, &sale, &partition, &order, &skus, &units, &reason, &ms, &actor],
    )
    .await?;
    Ok(())
}

fn columns(stock: &StockEntry) -> (Vec<&str>, Vec<i64>) {
    stock.lines.iter().map(|(sku, units)| (sku.as_str(), *units)).unzip()
}
