//! Orders that nobody has seen before, by binary COPY: it puts many rows into a page at once, which costs Postgres a third
//! less than the same rows by INSERT (docs/PERFORMANCE.md).

use std::pin::pin;

use deadpool_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use crate::log::OrderEntry;
use crate::order_id::OrderId;
use crate::persist::items::KnownItems;
use crate::persist::transaction::{Fence, WriteError};
use crate::persist::units::Units;

/// Takes orders, in the columns of [`COPY_TYPES`]. <https://www.postgresql.org/docs/15/sql-copy.html>
pub const COPY_ORDERS: &str = "COPY orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, skus, \
                               quantities, unit_prices) FROM STDIN BINARY";
/// The types of the columns of [`COPY_ORDERS`].
pub const COPY_TYPES: [Type; 10] = [
    Type::UUID,
    Type::TEXT,
    Type::INT2,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::TEXT,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
];

/// Writes orders, sorted by id; `units` are those of these very orders. `false`, with nothing written, where a sale has its orders wait for a
/// payment: those have more to them than a row, see `sql/persist/orders.sql`.
///
/// # Errors
/// [`WriteError::UnknownItem`], or the database, also where an order is known.
pub(super) async fn write_confirmed(
    tx: &Transaction<'_>,
    fence: Fence,
    items: &KnownItems,
    orders: &[(OrderId, &OrderEntry)],
    units: &Units<'_>,
) -> Result<bool, WriteError> {
    let Some(prices) = items.prices(tx, fence, units).await? else { return Ok(false) };
    let statement = tx.prepare_cached(COPY_ORDERS).await?;
    let mut rows = pin!(BinaryCopyInWriter::new(tx.copy_in(&statement).await?, &COPY_TYPES));
    let mut lines = Lines::default();
    let mut places = units.places.as_slice();
    for (id, order) in orders {
        let (own, rest) = places.split_at(order.lines.len());
        places = rest;
        lines.set(order, own, &prices);
        let row: [&(dyn ToSql + Sync); 10] = [
            &id.to_uuid(),
            &order.sale.as_str(),
            &fence.partition.to_sql(),
            &order.buyer.as_str(),
            &order.key.as_str(),
            &order.fingerprint.cast_signed(),
            &"confirmed",
            &lines.skus,
            &lines.quantities,
            &lines.unit_prices,
        ];
        rows.as_mut().write(&row).await?;
    }
    rows.finish().await?;
    Ok(true)
}

/// The lines of one order, as its row has them. One for all orders, which saves three allocations for each.
#[derive(Default)]
struct Lines<'a> {
    skus: Vec<&'a str>,
    quantities: Vec<i32>,
    unit_prices: Vec<i64>,
}

impl<'a> Lines<'a> {
    /// Takes the lines of an order, whose items' prices are at these places.
    fn set(&mut self, order: &'a OrderEntry, places: &[usize], prices: &[i64]) {
        self.skus.clear();
        self.quantities.clear();
        self.unit_prices.clear();
        for ((sku, quantity), &place) in order.lines.iter().zip(places) {
            self.skus.push(sku.as_str());
            self.quantities.push(quantity.cast_signed());
            self.unit_prices.push(prices[place]);
        }
    }
}
