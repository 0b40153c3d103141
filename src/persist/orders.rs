//! Orders, with their lines, and behind them the gate.

use std::collections::HashSet;
use std::sync::LazyLock;

use deadpool_postgres::Transaction;
use serde_json::Value;
use uuid::Uuid;

use crate::log::OrderEntry;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::persist::transaction::{Run, WriteError, passed_gate};
use crate::persist::units::Units;
use crate::persist::{Applied, anomaly, copy};

const ORDERS: &str = include_str!("../../sql/persist/orders.sql");
/// The same, where a known order is an error: for those that wait for a payment, and so are not written by COPY. Without looking
/// for conflicts first Postgres needs a quarter less for an order (docs/PERFORMANCE.md).
static NEW_ORDERS: LazyLock<String> =
    LazyLock::new(|| ORDERS.replacen("    ON CONFLICT DO NOTHING\n", "", 1));

/// Writes what is new of them, by COPY where that is most likely all, and counts it as sold.
///
/// # Errors
/// [`WriteError`].
pub(super) async fn write(
    tx: &Transaction<'_>,
    run: Run<'_>,
    orders: &[(OrderId, &OrderEntry)],
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let all = Units::of(orders.iter().map(|(_, order)| *order));
    if let Some(items) = run.all_new
        && copy::write_confirmed(tx, run.fence, items, orders, &all).await?
    {
        count_as_sold(tx, run.fence.partition, &all).await?;
        applied.new_orders += orders.len() as u64;
        return Ok(());
    }
    let new = insert_orders(tx, run, orders, applied).await?;
    let (new, left_out): (Vec<_>, Vec<_>) = orders.iter().copied().partition(|(id, _)| new.contains(id));
    let units = if left_out.is_empty() { all } else { Units::of(new.iter().map(|(_, order)| *order)) };
    count_as_sold(tx, run.fence.partition, &units).await?;
    if !left_out.is_empty() {
        anomaly::settle_left_out(tx, &left_out, applied).await?;
    }
    applied.new_orders += new.len() as u64;
    Ok(())
}

/// Answers with those that were new.
async fn insert_orders(
    tx: &Transaction<'_>,
    run: Run<'_>,
    orders: &[(OrderId, &OrderEntry)],
    applied: &mut Applied,
) -> Result<HashSet<OrderId>, WriteError> {
    let partition = run.fence.partition;
    let ids: Vec<Uuid> = orders.iter().map(|(id, _)| id.to_uuid()).collect();
    let sales: Vec<&str> = orders.iter().map(|(_, order)| order.sale.as_str()).collect();
    let buyers: Vec<&str> = orders.iter().map(|(_, order)| order.buyer.as_str()).collect();
    let keys: Vec<&str> = orders.iter().map(|(_, order)| order.key.as_str()).collect();
    let fingerprints: Vec<i64> = orders.iter().map(|(_, order)| order.fingerprint.cast_signed()).collect();
    let lines: Vec<Value> = orders.iter().map(|(_, order)| order.lines_json()).collect();

    let statement = tx.prepare_cached(if run.all_new.is_some() { &NEW_ORDERS } else { ORDERS }).await?;
    let rows = tx
        .query(&statement, &[&partition.to_sql(), &ids, &sales, &buyers, &keys, &fingerprints, &lines])
        .await?;
    let new: HashSet<OrderId> = rows.iter().map(|row| OrderId::from_uuid(row.get(0))).collect();
    let due = rows.iter().filter(|row| row.get::<_, Option<bool>>(2).unwrap_or_default());
    applied.payments_due.extend(due.map(|row| OrderId::from_uuid(row.get(0))));
    let written: i64 = rows.iter().map(|row| i64::from(row.get::<_, i32>(1))).sum();
    let expected: usize =
        orders.iter().filter(|(id, _)| new.contains(id)).map(|(_, order)| order.lines.len()).sum();
    if written.unsigned_abs() != expected as u64 {
        return Err(WriteError::UnknownItem);
    }
    Ok(new)
}

/// The gate (promise 1).
async fn count_as_sold(
    tx: &Transaction<'_>,
    partition: Partition,
    units: &Units<'_>,
) -> Result<(), WriteError> {
    if units.is_empty() {
        return Ok(());
    }
    let passed = passed_gate(tx, partition, units).await?;
    if passed.len() == units.len() { Ok(()) } else { Err(WriteError::OverAllotment) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_orders_are_written_by_the_same_statement_without_its_conflict_clause() {
        let statement =
            |text: &str| text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        assert!(statement(ORDERS).contains("ON CONFLICT DO NOTHING"));
        assert!(!statement(&NEW_ORDERS).contains("ON CONFLICT DO NOTHING"));
    }
}
