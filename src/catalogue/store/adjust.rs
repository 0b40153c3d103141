//! Changes an allotment while its sale runs.
//!
//! More units count in Postgres in the transaction that asks for them, and reach Redis afterwards. Fewer are taken from
//! Redis first, where it has them, and from Postgres when its log entry is persisted. So Redis never has a unit that
//! Postgres could refuse (promise 1). Either way an intent for each partition is what makes it happen, once.

use std::time::Duration;

use deadpool_postgres::Transaction;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{CatalogueStore, StoreError};
use crate::catalogue::allotment::STOCK_MAX;
use crate::catalogue::{Adjustment, SaleId, Sku, split_by_free, split_evenly};
use crate::postgres::within;

const INTENTS: &str = include_str!("../../../sql/catalogue/adjustment_intents.sql");
const FREE: &str = include_str!("../../../sql/catalogue/free_units.sql");
const INSERT: &str = include_str!("../../../sql/catalogue/insert_adjustment.sql");
/// Between two looks at what became of an adjustment.
const POLL: Duration = Duration::from_millis(20);

/// What became of an adjustment. Units are counted as they were asked for: the three sum up to the delta.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Adjusted {
    /// In Redis and in Postgres.
    pub applied: i64,
    /// Not taken, since they were sold by then.
    pub refused: i64,
    /// On their way: a partition that is closed takes them when it is open.
    pub pending: i64,
}

/// One partition's part.
struct Part {
    sku: String,
    units: i64,
    is_open: bool,
    is_refused: bool,
}

impl CatalogueStore {
    /// Asks for an adjustment, and waits for it, at most `wait`. The same key again changes nothing, and tells what became
    /// of it.
    ///
    /// # Errors
    /// [`StoreError::Retired`], [`StoreError::NoSuchItem`], [`StoreError::TooFewUnits`], [`StoreError::TooManyUnits`],
    /// [`StoreError::KeyReused`], [`StoreError::NoSuchSale`], [`StoreError::Postgres`].
    pub async fn adjust(&self, asked: &Adjustment, wait: Duration) -> Result<Adjusted, StoreError> {
        let causes = within(self.limit, self.ask(asked)).await?;
        let end = Instant::now() + wait;
        loop {
            let parts = within(self.limit, async {
                let client = self.connection().await?;
                let rows = client.query(INTENTS, &[&causes]).await?;
                Ok::<_, StoreError>(rows.iter().map(Part::read).collect::<Vec<_>>())
            })
            .await?;
            let adjusted = Adjusted::of(&parts);
            if adjusted.pending == 0 || Instant::now() >= end {
                return Ok(adjusted);
            }
            sleep(POLL).await;
        }
    }

    /// Writes the intents, where they are not there yet; answers with all causes that they may have.
    async fn ask(&self, asked: &Adjustment) -> Result<Vec<String>, StoreError> {
        let mut client = self.connection().await?;
        let tx = client.transaction().await?;
        lock_sale(&tx, &asked.sale).await?;
        let free = free_units(&tx, asked).await?;
        let causes: Vec<String> =
            free.iter().map(|(partition, _, _)| asked.key.cause(&asked.sale, *partition)).collect();
        let known: Vec<Part> = tx.query(INTENTS, &[&causes]).await?.iter().map(Part::read).collect();
        if !known.is_empty() {
            let same = known.iter().all(|part| part.sku == asked.sku.as_str())
                && known.iter().map(|part| part.units).sum::<i64>() == asked.delta;
            return if same { Ok(causes) } else { Err(StoreError::KeyReused(asked.key.clone())) };
        }
        let shares = shares(asked, &free)?;
        let kind = if asked.delta > 0 { "raise" } else { "lower" };
        let partitions: Vec<i16> = free.iter().map(|(partition, _, _)| *partition).collect();
        let (sale, sku, actor, reason) =
            (asked.sale.as_str(), asked.sku.as_str(), &asked.actor, &asked.reason);
        tx.execute(INSERT, &[&sale, &sku, &kind, &actor, &reason, &partitions, &causes, &shares]).await?;
        tx.commit().await?;
        tracing::info!(%asked.sale, %asked.sku, asked.delta, %asked.key, actor, reason, "an allotment is adjusted");
        Ok(causes)
    }
}

/// One adjustment of a sale at a time, and none of one that is being retired.
async fn lock_sale(tx: &Transaction<'_>, sale: &SaleId) -> Result<(), StoreError> {
    let row = tx
        .query_opt(
            "SELECT retired_at IS NOT NULL OR EXISTS (SELECT FROM sale_publications p
                                                      WHERE p.sale_id = $1 AND p.drained_at IS NOT NULL)
             FROM sales WHERE id = $1 FOR NO KEY UPDATE",
            &[&sale.as_str()],
        )
        .await?;
    match row.map(|row| row.get(0)) {
        None => Err(StoreError::NoSuchSale(sale.clone())),
        Some(true) => Err(StoreError::Retired(sale.clone())),
        Some(false) => Ok(()),
    }
}

/// By partition: its number, the units that nobody has bought, as far as Postgres knows, and the allotment.
async fn free_units(tx: &Transaction<'_>, asked: &Adjustment) -> Result<Vec<(i16, i64, i64)>, StoreError> {
    let rows = tx.query(FREE, &[&asked.sale.as_str(), &asked.sku.as_str()]).await?;
    if rows.is_empty() {
        return Err(StoreError::NoSuchItem(asked.sale.clone(), asked.sku.clone()));
    }
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// More is split evenly. Fewer is taken where there is something to take; Redis has the last word on that, partition by
/// partition, all of a partition's share or nothing.
fn shares(asked: &Adjustment, free: &[(i16, i64, i64)]) -> Result<Vec<i64>, StoreError> {
    if asked.delta > 0 {
        let allotted: i64 = free.iter().map(|(_, _, allotted)| *allotted).sum();
        if allotted.saturating_add(asked.delta) > STOCK_MAX {
            return Err(StoreError::TooManyUnits(asked.sku.clone()));
        }
        return Ok(split_evenly(asked.delta, u16::try_from(free.len()).unwrap_or(u16::MAX)));
    }
    let units: Vec<i64> = free.iter().map(|(_, free, _)| (*free).max(0)).collect();
    let too_few = || StoreError::TooFewUnits { sku: asked.sku.clone(), free: units.iter().sum() };
    split_by_free(asked.delta.saturating_neg(), &units).ok_or_else(too_few)
}

impl Part {
    fn read(row: &tokio_postgres::Row) -> Self {
        Self { sku: row.get(0), units: row.get(1), is_open: row.get(2), is_refused: row.get(3) }
    }
}

impl Adjusted {
    fn of(parts: &[Part]) -> Self {
        let sum =
            |of: &dyn Fn(&Part) -> bool| parts.iter().filter(|part| of(part)).map(|part| part.units).sum();
        Self {
            applied: sum(&|part| !part.is_open && !part.is_refused),
            refused: sum(&|part| part.is_refused),
            pending: sum(&|part| part.is_open),
        }
    }
}

/// The units of each item as its sale was created, for comparing definitions: what was adjusted since is no other one.
pub(super) async fn first_allotments(
    tx: &Transaction<'_>,
    sale: &SaleId,
) -> Result<Vec<(Sku, i64)>, StoreError> {
    let rows = tx
        .query(
            "SELECT l.key, sum(l.value::bigint)::bigint FROM stock_intents i, jsonb_each_text(i.lines) l
             WHERE i.sale_id = $1 AND i.kind = 'allotment' GROUP BY l.key",
            &[&sale.as_str()],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get::<_, &str>(0)?.parse()?, row.try_get(1)?))).collect()
}
