//! Orders that cannot stay as the log has them: cancelled with their reason, and an incident raised.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::catalogue::Sku;
use crate::incidents;
use crate::log::{EntryId, OrderEntry, RawEntry, StockEntry};
use crate::order::CancelReason;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::persist::Applied;
use crate::persist::foreseen::{Ended, Foreseen};
use crate::persist::transaction::{Fence, WriteError};
use crate::postgres::lock_gates;

const CANCELLED_ORDER: &str = include_str!("../../sql/persist/cancelled_order.sql");
const CANCELLED_IN_LOG: &str = include_str!("../../sql/persist/cancelled_in_log.sql");

/// What an operator has to know although the engine went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// Redis sold a unit that the database does not have.
    OverAllotment,
    /// Redis accepted one key twice.
    DuplicateOrder,
    /// A pending entry is no longer in the log.
    EntryVanished,
}

impl Incident {
    fn kind(self) -> &'static str {
        match self {
            Self::OverAllotment => "over_allotment",
            Self::DuplicateOrder => "duplicate_order",
            Self::EntryVanished => "entry_vanished",
        }
    }
}

/// Raises an incident, once for each subject.
pub(super) async fn raise(
    tx: &Transaction<'_>,
    incident: Incident,
    partition: Partition,
    subject: &str,
    detail: &str,
) -> Result<(), WriteError> {
    Ok(incidents::raise(tx, incident.kind(), partition, subject, detail).await?)
}

/// Orders that the insert left out: either known already (a replay), or a second order of one key.
pub(super) async fn settle_left_out(
    tx: &Transaction<'_>,
    left_out: &[(OrderId, &OrderEntry)],
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let known = known_orders(tx, left_out).await?;
    applied.known_orders += known.len() as u64;
    for &(id, order) in left_out.iter().filter(|(id, _)| !known.contains(id)) {
        write_cancelled(tx, id, order, CancelReason::Duplicate, Units::ToBeReturned, |_| false).await?;
        applied.duplicates += 1;
    }
    Ok(())
}

/// Orders of which the log says further on that they were cancelled as they were persisted: so they are again.
pub(super) async fn write_foreseen(
    tx: &Transaction<'_>,
    orders: &[(OrderId, &OrderEntry)],
    foreseen: &Foreseen,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let known = known_orders(tx, orders).await?;
    applied.known_orders += known.len() as u64;
    for &(id, order) in orders.iter().filter(|(id, _)| !known.contains(id)) {
        let Some(Ended { reason, returned }) = foreseen.of(id) else { continue };
        write_cancelled(tx, id, order, *reason, Units::ReturnedInLog, |sku| !returned.contains(sku)).await?;
        match reason {
            CancelReason::Duplicate => applied.duplicates += 1,
            _ => applied.over_allotment += 1,
        }
    }
    Ok(())
}

async fn known_orders(
    tx: &Transaction<'_>,
    orders: &[(OrderId, &OrderEntry)],
) -> Result<HashSet<OrderId>, WriteError> {
    let ids: Vec<Uuid> = orders.iter().map(|(id, _)| id.to_uuid()).collect();
    let rows = tx.query("SELECT id FROM orders WHERE id = ANY($1)", &[&ids]).await?;
    Ok(rows.iter().map(|row| OrderId::from_uuid(row.get(0))).collect())
}

/// Whether the database has this order.
pub(super) async fn is_known(tx: &Transaction<'_>, order: OrderId) -> Result<bool, WriteError> {
    Ok(tx.query_opt("SELECT FROM orders WHERE id = $1", &[&order.to_uuid()]).await?.is_some())
}

/// What becomes of the units of an order that is written as cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// Redis is to be told.
    ToBeReturned,
    /// Redis was told: the entry that says so is persisted when its turn comes.
    ReturnedInLog,
}

/// Writes an order as cancelled. Lines that are `refused` removed a unit which never existed and stay gone; the
/// units of the others go back on sale.
pub(super) async fn write_cancelled(
    tx: &Transaction<'_>,
    id: OrderId,
    order: &OrderEntry,
    reason: CancelReason,
    units: Units,
    refused: impl Fn(&Sku) -> bool,
) -> Result<(), WriteError> {
    let skus: Vec<&str> = order.lines.iter().map(|(sku, _)| sku.as_str()).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|(_, quantity)| quantity.cast_signed()).collect();
    let refusals: Vec<bool> = order.lines.iter().map(|(sku, _)| refused(sku)).collect();
    let partition = id.partition().to_sql();
    let written = tx
        .execute(
            CANCELLED_ORDER,
            &[
                &id.to_uuid(),
                &partition,
                &order.sale.as_str(),
                &order.buyer.as_str(),
                &order.key.as_str(),
                &order.fingerprint.cast_signed(),
                &reason.as_str(),
                &skus,
                &quantities,
                &refusals,
            ],
        )
        .await?;
    if written == 0 {
        return Err(WriteError::UnknownItem);
    }
    let returned: HashMap<&str, u32> = order
        .lines
        .iter()
        .zip(&refusals)
        .filter(|(_, refused)| !**refused)
        .map(|((sku, quantity), _)| (sku.as_str(), *quantity))
        .collect();
    // Also where nothing is returned: the log then tells a later replay which order it was.
    if units == Units::ToBeReturned {
        tx.execute(
            "INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
             VALUES ($1, 'return', $2, $3, $4, $5, $6, 'persist worker') ON CONFLICT DO NOTHING",
            &[
                &StockEntry::cause_of_return(id),
                &order.sale.as_str(),
                &partition,
                &id.to_uuid(),
                &serde_json::json!(returned),
                &reason.as_str(),
            ],
        )
        .await?;
    }
    let incident = match reason {
        CancelReason::Duplicate => Incident::DuplicateOrder,
        _ => Incident::OverAllotment,
    };
    let detail = format!("order of {} in {} cancelled", order.buyer.as_str(), order.sale);
    raise(tx, incident, id.partition(), &id.to_string(), &detail).await
}

/// Cancels an order that is active although its units went back; tells how many that were (0 or 1).
pub(super) async fn cancel_replayed(
    tx: &Transaction<'_>,
    (order, reason): (OrderId, CancelReason),
    stock: &StockEntry,
    at: EntryId,
) -> Result<u64, WriteError> {
    let (id, ms, at_once) = (order.to_uuid(), at.ms_sql(), reason.is_found_by_persisting());
    let params: [&(dyn ToSql + Sync); 4] = [&id, &reason.as_str(), &ms, &at_once];
    let cancelled = tx.execute(&tx.prepare_cached(CANCELLED_IN_LOG).await?, &params).await?;
    if cancelled > 0 {
        lock_gates(tx, [order.partition()]).await?;
        let skus: Vec<&str> = stock.lines.iter().map(|(sku, _)| sku.as_str()).collect();
        let units: Vec<i64> = stock.lines.iter().map(|(_, units)| *units).collect();
        tx.execute(
            "UPDATE sale_stock s SET sold = s.sold - l.units
             FROM (SELECT * FROM unnest($3::text[], $4::bigint[]) AS t (sku, units) ORDER BY sku) l
             WHERE s.sale_id = $1 AND s.partition = $2 AND s.sku = l.sku",
            &[&stock.sale.as_str(), &order.partition().to_sql(), &skus, &units],
        )
        .await?;
    }
    Ok(cancelled)
}

/// Puts an entry that cannot be persisted where an operator sees it. Its units, where they can be read, stay counted.
pub(super) async fn write_dead_letter(
    tx: &Transaction<'_>,
    fence: Fence,
    entry: &RawEntry,
    order: Option<&OrderEntry>,
    error: &str,
) -> Result<(), WriteError> {
    let fields: Vec<&[u8]> =
        entry.fields.iter().flat_map(|(field, value)| [&field[..], &value[..]]).collect();
    let lines = order.map(OrderEntry::lines_json);
    tracing::error!(partition = %fence.partition, entry = %entry.id, error, "dead letter");
    tx.execute(
        "INSERT INTO dead_letters (partition, entry_ms, entry_seq, fields, sale_id, buyer, lines, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        &[
            &fence.partition.to_sql(),
            &entry.id.ms_sql(),
            &entry.id.seq_sql(),
            &fields,
            &order.map(|order| order.sale.as_str()),
            &order.map(|order| order.buyer.as_str()),
            &lines,
            &error,
        ],
    )
    .await?;
    Ok(())
}
