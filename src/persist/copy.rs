//! Orders that nobody has seen before, by binary COPY: it puts many rows into a page at once, which costs Postgres a third
//! less than the same rows by INSERT (docs/PERFORMANCE.md).

use std::pin::pin;

use deadpool_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use crate::log::OrderEntry;
use crate::order_id::OrderId;
use crate::persist::items::{KnownItems, Prices};
use crate::persist::transaction::{Fence, WriteError};
use crate::persist::units::Units;

const ORDERS: &str =
    "COPY orders (id, sale_id, partition, buyer, idem_key, fingerprint, state) FROM STDIN BINARY";
const ORDER_TYPES: [Type; 7] =
    [Type::UUID, Type::TEXT, Type::INT2, Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT];
const LINES: &str = "COPY order_lines (order_id, sku, quantity, unit_price) FROM STDIN BINARY";
const LINE_TYPES: [Type; 4] = [Type::UUID, Type::TEXT, Type::INT4, Type::INT8];

/// Writes orders, sorted by id, with their lines, whose sums are `units`. `false`, with nothing written, where a sale has its
/// orders wait for a payment: those have more to them than a row, see `sql/persist/orders.sql`.
///
/// # Errors
/// [`WriteError::UnknownItem`], or the database, also where an order is known.
pub(super) async fn write_confirmed(
    tx: &Transaction<'_>,
    fence: Fence,
    items: &KnownItems,
    orders: &[(OrderId, &OrderEntry)],
    units: &Units,
) -> Result<bool, WriteError> {
    let Some(prices) = items.prices(tx, fence, units).await? else { return Ok(false) };
    copy_orders(tx, fence, orders).await?;
    copy_lines(tx, orders, &prices).await?;
    Ok(true)
}

async fn copy_orders(
    tx: &Transaction<'_>,
    fence: Fence,
    orders: &[(OrderId, &OrderEntry)],
) -> Result<(), WriteError> {
    let statement = tx.prepare_cached(ORDERS).await?;
    let mut rows = pin!(BinaryCopyInWriter::new(tx.copy_in(&statement).await?, &ORDER_TYPES));
    for (id, order) in orders {
        let row: [&(dyn ToSql + Sync); 7] = [
            &id.to_uuid(),
            &order.sale.as_str(),
            &fence.partition.to_sql(),
            &order.buyer.as_str(),
            &order.key.as_str(),
            &order.fingerprint.cast_signed(),
            &"confirmed",
        ];
        rows.as_mut().write(&row).await?;
    }
    rows.finish().await?;
    Ok(())
}

async fn copy_lines(
    tx: &Transaction<'_>,
    orders: &[(OrderId, &OrderEntry)],
    prices: &Prices<'_>,
) -> Result<(), WriteError> {
    let statement = tx.prepare_cached(LINES).await?;
    let mut rows = pin!(BinaryCopyInWriter::new(tx.copy_in(&statement).await?, &LINE_TYPES));
    for (id, order) in orders {
        for (sku, quantity) in &order.lines {
            let price = prices.get(&(order.sale.as_str(), sku.as_str())).ok_or(WriteError::UnknownItem)?;
            let row: [&(dyn ToSql + Sync); 4] =
                [&id.to_uuid(), &sku.as_str(), &quantity.cast_signed(), price];
            rows.as_mut().write(&row).await?;
        }
    }
    rows.finish().await?;
    Ok(())
}
