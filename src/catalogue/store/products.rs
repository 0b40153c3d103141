//! Products: put, listed, read.

use deadpool_postgres::GenericClient;

use super::{CatalogueStore, PAGE_MAX, Page, StoreError, rows};
use crate::catalogue::{Product, Sku, StoredProduct};
use crate::postgres::within;

const COLUMNS: &str = "sku, name, description, price, currency, image_url, created_at, updated_at";

impl CatalogueStore {
    /// Puts one product: creates it, or replaces what it said.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn upsert_product(&self, product: &Product) -> Result<(), StoreError> {
        self.upsert_products(std::slice::from_ref(product)).await
    }

    /// Puts all of `products`, or none.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn upsert_products(&self, products: &[Product]) -> Result<(), StoreError> {
        within(self.limit, async { upsert(&self.connection().await?, products).await }).await
    }

    /// One page of products by SKU, beginning after `after`.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_products(
        &self,
        after: Option<&Sku>,
        limit: u16,
    ) -> Result<Page<StoredProduct, Sku>, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let statement = format!(
            "SELECT {COLUMNS} FROM products WHERE $1::text IS NULL OR sku > $1 ORDER BY sku LIMIT $2"
        );
        within(self.limit, async {
            let client = self.connection().await?;
            let found = client.query(&statement, &[&after.map(Sku::as_str), &(i64::from(limit) + 1)]).await?;
            let products = found.iter().map(rows::product).collect::<Result<Vec<_>, _>>()?;
            Ok(Page::cut(products, limit, |row| row.product.sku.clone()))
        })
        .await
    }

    /// One product.
    ///
    /// # Errors
    /// [`StoreError::NoSuchProduct`], [`StoreError::Postgres`].
    pub async fn get_product(&self, sku: &Sku) -> Result<StoredProduct, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM products WHERE sku = $1");
        within(self.limit, async {
            let client = self.connection().await?;
            let found = client.query_opt(&statement, &[&sku.as_str()]).await?;
            rows::product(&found.ok_or_else(|| StoreError::NoSuchProduct(sku.clone()))?)
        })
        .await
    }
}

pub(super) async fn upsert(client: &impl GenericClient, products: &[Product]) -> Result<(), StoreError> {
    if products.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = products.iter().map(|product| product.sku.as_str()).collect();
    let names: Vec<&str> = products.iter().map(|product| product.name.as_str()).collect();
    let descriptions: Vec<&str> = products.iter().map(|product| product.description.as_str()).collect();
    let prices: Vec<i64> = products.iter().map(|product| product.price.minor_units).collect();
    let currencies: Vec<&str> = products.iter().map(|product| product.price.currency.code()).collect();
    let images: Vec<Option<&str>> = products.iter().map(|product| product.image_url.as_deref()).collect();
    client
        .execute(
            include_str!("../../../sql/catalogue/upsert_products.sql"),
            &[&skus, &names, &descriptions, &prices, &currencies, &images],
        )
        .await?;
    Ok(())
}
