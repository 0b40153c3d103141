//! Rows into types. Columns are read by their place in the statements under `sql/catalogue`.

use tokio_postgres::Row;

use super::StoreError;
use crate::catalogue::control::{SaleControl, SaleWindow, UnknownWord};
use crate::catalogue::money::{self, Money};
use crate::catalogue::sale::{BuyerCancel, PaymentPolicy};
use crate::catalogue::{Item, ItemStock, Product, ProductText, Sale, Sku, StoredProduct};

pub(super) fn sale(row: &Row) -> Result<Sale, StoreError> {
    let control: SaleControl = row.try_get::<_, &str>(4)?.parse()?;
    let payment: PaymentPolicy = row.try_get::<_, &str>(5)?.parse().map_err(UnknownWord::from)?;
    let buyer_cancel: BuyerCancel = row.try_get::<_, &str>(10)?.parse().map_err(UnknownWord::from)?;
    Ok(Sale {
        id: row.try_get::<_, &str>(0)?.parse()?,
        name: row.try_get(1)?,
        window: SaleWindow { control, opens_at: row.try_get(2)?, closes_at: row.try_get(3)? },
        payment,
        hold_s: row.try_get(9)?,
        buyer_cancel,
        version: row.try_get(6)?,
        created_at: row.try_get(7)?,
        retired_at: row.try_get(8)?,
    })
}

pub(super) fn item(row: &Row) -> Result<Item, StoreError> {
    Ok(Item {
        sku: sku(row, 0)?,
        position: row.try_get(1)?,
        price: money(row, 2)?,
        per_buyer_limit: row.try_get(4)?,
        product: ProductText {
            name: row.try_get(5)?,
            description: row.try_get(6)?,
            image_url: row.try_get(7)?,
        },
    })
}

pub(super) fn stock(row: &Row) -> Result<ItemStock, StoreError> {
    Ok(ItemStock {
        sku: sku(row, 0)?,
        partition: row.try_get(1)?,
        allotted: row.try_get(2)?,
        sold: row.try_get(3)?,
    })
}

pub(super) fn product(row: &Row) -> Result<StoredProduct, StoreError> {
    let product = Product {
        sku: sku(row, 0)?,
        name: row.try_get(1)?,
        description: row.try_get(2)?,
        price: money(row, 3)?,
        image_url: row.try_get(5)?,
    };
    Ok(StoredProduct { product, created_at: row.try_get(6)?, updated_at: row.try_get(7)? })
}

fn sku(row: &Row, column: usize) -> Result<Sku, StoreError> {
    Ok(row.try_get::<_, &str>(column)?.parse()?)
}

/// Reads a price and, in the next column, its currency.
fn money(row: &Row, column: usize) -> Result<Money, StoreError> {
    let code: &str = row.try_get(column + 1)?;
    let currency = money::currency(code)
        .ok_or_else(|| UnknownWord { word: code.to_owned(), allowed: "the ISO 4217 codes" })?;
    Ok(Money { minor_units: row.try_get(column)?, currency })
}
