//! Sales: read and listed.

use std::sync::Arc;

use deadpool_postgres::GenericClient;
use jiff::Timestamp;

use super::{CatalogueStore, PAGE_MAX, Page, StoreError, rows};
use crate::catalogue::{Item, ItemStock, Sale, SaleDefinition, SaleDetail, SaleId, SaleSummary};
use crate::postgres::within;

impl CatalogueStore {
    /// One page of sales by id, beginning after `after`; with those that are retired, or without.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_sales(
        &self,
        after: Option<&SaleId>,
        limit: u16,
        with_retired: bool,
    ) -> Result<Page<SaleSummary, SaleId>, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        within(self.limit, async {
            let client = self.connection().await?;
            let found = client
                .query(
                    include_str!("../../../sql/catalogue/list_sales.sql"),
                    &[&after.map(SaleId::as_str), &(i64::from(limit) + 1), &with_retired],
                )
                .await?;
            let summaries = found
                .iter()
                .map(|row| {
                    Ok(SaleSummary {
                        sale: rows::sale(row)?,
                        items: row.try_get(11)?,
                        allotted: row.try_get(12)?,
                        sold: row.try_get(13)?,
                    })
                })
                .collect::<Result<Vec<_>, StoreError>>()?;
            Ok(Page::cut(summaries, limit, |row| row.sale.id.clone()))
        })
        .await
    }

    /// Everything of one sale.
    ///
    /// # Errors
    /// [`StoreError::NoSuchSale`], [`StoreError::Postgres`].
    pub async fn get_sale(&self, id: &SaleId) -> Result<SaleDetail, StoreError> {
        within(self.limit, async {
            let client = self.connection().await?;
            let (sale, _) = sale(&client, id).await?.ok_or_else(|| StoreError::NoSuchSale(id.clone()))?;
            let items = items(&client, id).await?;
            let stock = stock(&client, id).await?;
            let published = client
                .query_one(
                    "SELECT coalesce(min(version), 0) FROM sale_publications WHERE sale_id = $1",
                    &[&id.as_str()],
                )
                .await?;
            let definition = SaleDefinition::new(sale, items);
            Ok(SaleDetail { definition, stock, published_version: published.try_get(0)? })
        })
        .await
    }

    /// What a node needs to take a sale's orders; `None` where there is no such sale.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn load_definition(&self, id: &SaleId) -> Result<Option<Arc<SaleDefinition>>, StoreError> {
        within(self.limit, async {
            let client = self.connection().await?;
            let Some((sale, _)) = sale(&client, id).await? else { return Ok(None) };
            let items = items(&client, id).await?;
            Ok(Some(Arc::new(SaleDefinition::new(sale, items))))
        })
        .await
    }
}

/// The sale and the database's time, in whole milliseconds.
pub(super) async fn sale(
    client: &impl GenericClient,
    id: &SaleId,
) -> Result<Option<(Sale, Timestamp)>, StoreError> {
    let statement = include_str!("../../../sql/catalogue/sale.sql");
    match client.query_opt(statement, &[&id.as_str()]).await? {
        Some(row) => Ok(Some((rows::sale(&row)?, row.try_get(11)?))),
        None => Ok(None),
    }
}

pub(super) async fn items(client: &impl GenericClient, id: &SaleId) -> Result<Vec<Item>, StoreError> {
    let statement = include_str!("../../../sql/catalogue/sale_items.sql");
    client.query(statement, &[&id.as_str()]).await?.iter().map(rows::item).collect()
}

pub(super) async fn stock(client: &impl GenericClient, id: &SaleId) -> Result<Vec<ItemStock>, StoreError> {
    let statement = include_str!("../../../sql/catalogue/sale_stock.sql");
    client.query(statement, &[&id.as_str()]).await?.iter().map(rows::stock).collect()
}
