//! A sale's definition out of the log.

use deadpool_postgres::Transaction;

use crate::log::SaleEntry;
use crate::partition::Partition;
use crate::persist::Applied;
use crate::persist::transaction::WriteError;

const SALE: &str = include_str!("../../sql/persist/sale.sql");
const SALE_IS_KNOWN: &str = include_str!("../../sql/persist/sale_is_known.sql");

/// Writes what is missing. In ordinary operation nothing is: the database decided it.
pub(super) async fn write_sale(
    tx: &Transaction<'_>,
    partition: Partition,
    entry: &SaleEntry,
    applied: &mut Applied,
) -> Result<(), WriteError> {
    let (sale, partition) = (entry.sale.as_str(), partition.to_sql());
    let statement = tx.prepare_cached(SALE_IS_KNOWN).await?;
    let known = tx.query_opt(&statement, &[&sale, &entry.version, &partition]).await?;
    if known.as_ref().is_some_and(|row| row.get(0)) {
        applied.known_sales += 1;
        return Ok(());
    }
    if known.is_none() && entry.definition.get("items").is_none() {
        // A later version, and this database has none: it cannot be made of that.
        return Err(WriteError::UnknownItem);
    }
    let statement = tx.prepare_cached(SALE).await?;
    match tx.query_opt(&statement, &[&sale, &entry.version, &entry.definition, &partition]).await? {
        Some(row) => {
            let is_new: bool = row.get(0);
            tracing::warn!(sale, version = entry.version, is_new, "a sale was written as the log has it");
            applied.new_sales += 1;
        }
        None => applied.known_sales += 1,
    }
    Ok(())
}
