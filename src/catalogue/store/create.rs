//! A new sale: all its rows in one transaction, and the same definition again is no error.

use std::collections::HashMap;

use deadpool_postgres::Transaction;

use super::{CatalogueStore, StoreError, adjust, products, read};
use crate::catalogue::{FieldError, Item, NewItem, NewSale, PaymentPolicy, Sale, Sku, split_evenly};
use crate::postgres::{AdvisoryLock, within};

/// What [`CatalogueStore::create_sale`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The sale is new; this is its version.
    New(i64),
    /// It existed with this definition and is now at this version. Nothing was written, its products
    /// included.
    Unchanged(i64),
}

impl Created {
    /// The sale's version.
    pub fn version(self) -> i64 {
        match self {
            Self::New(version) | Self::Unchanged(version) => version,
        }
    }
}

impl CatalogueStore {
    /// Creates a sale with its items, products, stock per partition, and the intents that bring the stock
    /// to Redis. `actor` is kept in the intents. Safe to repeat.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where a product is missing, [`StoreError::SaleDiffers`],
    /// [`StoreError::NoPartitions`], [`StoreError::Postgres`].
    pub async fn create_sale(&self, new: &NewSale, actor: &str) -> Result<Created, StoreError> {
        within(self.limit, async {
            let mut client = self.connection().await?;
            let transaction = client.transaction().await?;
            let partitions = lock_partition_count(&transaction).await?;
            let Some(version) = insert_sale(&transaction, new).await? else {
                return compare_with_stored(&transaction, new).await;
            };
            products::upsert(&transaction, &new.products).await?;
            insert_items(&transaction, new).await?;
            check_payable(&transaction, new).await?;
            insert_stock(&transaction, new, partitions).await?;
            insert_publications(&transaction, new).await?;
            transaction
                .execute(
                    include_str!("../../../sql/catalogue/insert_allotment_intents.sql"),
                    &[&new.id.as_str(), &actor],
                )
                .await?;
            transaction.commit().await?;
            Ok(Created::New(version))
        })
        .await
    }
}

/// Holds the number of partitions still until the transaction ends, so that the split stays right.
async fn lock_partition_count(transaction: &Transaction<'_>) -> Result<u16, StoreError> {
    let lock = AdvisoryLock::PartitionCount;
    transaction
        .execute("SELECT pg_advisory_xact_lock_shared($1, $2)", &[&AdvisoryLock::CLASS, &lock.key()])
        .await?;
    let count: i64 = transaction.query_one("SELECT count(*) FROM partitions", &[]).await?.try_get(0)?;
    match u16::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(StoreError::NoPartitions),
    }
}

/// The version of the new row; `None` where the id is taken. Waits for another transaction that is just
/// creating it.
async fn insert_sale(transaction: &Transaction<'_>, new: &NewSale) -> Result<Option<i64>, StoreError> {
    let row = transaction
        .query_opt(
            "INSERT INTO sales (id, name, opens_at, closes_at, payment, hold_s, buyer_cancel) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING version",
            &[
                &new.id.as_str(),
                &new.name,
                &new.opens_at,
                &new.closes_at,
                &new.payment.as_str(),
                &new.hold_s,
                &new.buyer_cancel.as_str(),
            ],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn insert_items(transaction: &Transaction<'_>, new: &NewSale) -> Result<(), StoreError> {
    let skus = skus(new);
    let prices: Vec<Option<i64>> = new.items.iter().map(|item| item.price).collect();
    let currencies: Vec<Option<&str>> =
        new.items.iter().map(|item| item.currency.map(|currency| currency.code())).collect();
    let limits: Vec<Option<i32>> = new.items.iter().map(|item| item.per_buyer_limit).collect();
    let inserted = transaction
        .execute(
            include_str!("../../../sql/catalogue/insert_sale_items.sql"),
            &[&new.id.as_str(), &skus, &prices, &currencies, &limits],
        )
        .await?;
    if inserted == new.items.len() as u64 {
        return Ok(());
    }
    Err(StoreError::Invalid(missing_products(transaction, new).await?))
}

/// An order is paid for in one sum.
async fn check_payable(transaction: &Transaction<'_>, new: &NewSale) -> Result<(), StoreError> {
    if new.payment == PaymentPolicy::None {
        return Ok(());
    }
    let query = "SELECT array_agg(DISTINCT currency ORDER BY currency), min(price) FROM sale_items WHERE sale_id = $1";
    let row = transaction.query_one(query, &[&new.id.as_str()]).await?;
    let (currencies, cheapest): (Vec<String>, i64) = (row.try_get(0)?, row.try_get(1)?);
    if new.payment == PaymentPolicy::Checkout && cheapest == 0 {
        let message = "must all cost something: nobody pays for nothing at a checkout, so nothing would confirm the order; \
                       use payment gateway or none";
        return Err(StoreError::Invalid(vec![FieldError { field: "items".into(), message: message.into() }]));
    }
    if currencies.len() == 1 {
        return Ok(());
    }
    let message = format!(
        "have prices in {}: a sale that is to be paid for has one currency, give each item a price and a currency",
        currencies.join(", ")
    );
    Err(StoreError::Invalid(vec![FieldError { field: "items".into(), message }]))
}

async fn missing_products(
    transaction: &Transaction<'_>,
    new: &NewSale,
) -> Result<Vec<FieldError>, StoreError> {
    let found = transaction.query("SELECT sku FROM products WHERE sku = ANY($1)", &[&skus(new)]).await?;
    let found = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&str>, _>>()?;
    let missing = new.items.iter().enumerate().filter(|(_, item)| !found.contains(&item.sku.as_str()));
    Ok(missing
        .map(|(index, item)| FieldError {
            field: format!("items[{index}].sku"),
            message: format!("there is no product {}: put it first, or give it in products", item.sku),
        })
        .collect())
}

/// A row for every partition, also where its share is 0: the gate must find a row to refuse by.
async fn insert_stock(
    transaction: &Transaction<'_>,
    new: &NewSale,
    partitions: u16,
) -> Result<(), StoreError> {
    let rows = new.items.len() * usize::from(partitions);
    let (mut skus, mut numbers, mut shares) =
        (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
    for item in &new.items {
        for (partition, share) in (0_i16..).zip(split_evenly(item.stock, partitions)) {
            skus.push(item.sku.as_str());
            numbers.push(partition);
            shares.push(share);
        }
    }
    transaction
        .execute(
            "INSERT INTO sale_stock (sale_id, sku, partition, allotted) \
             SELECT $1, share.* FROM unnest($2::text[], $3::int2[], $4::bigint[]) AS share",
            &[&new.id.as_str(), &skus, &numbers, &shares],
        )
        .await?;
    Ok(())
}

/// Version 0: no partition of Redis knows the sale yet.
async fn insert_publications(transaction: &Transaction<'_>, new: &NewSale) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO sale_publications (sale_id, partition) SELECT $1, partition FROM partitions",
            &[&new.id.as_str()],
        )
        .await?;
    Ok(())
}

fn skus(new: &NewSale) -> Vec<&str> {
    new.items.iter().map(|item| item.sku.as_str()).collect()
}

async fn compare_with_stored(transaction: &Transaction<'_>, new: &NewSale) -> Result<Created, StoreError> {
    let Some((sale, _)) = read::sale(transaction, &new.id).await? else {
        // Sales are never deleted: the row is one that this transaction cannot see yet.
        return Err(StoreError::Contended(new.id.clone()));
    };
    let items = read::items(transaction, &new.id).await?;
    let allotted = adjust::first_allotments(transaction, &new.id).await?.into_iter().collect();
    let different = differences(new, &sale, &items, &allotted);
    if different.is_empty() {
        return Ok(Created::Unchanged(sale.version));
    }
    Err(StoreError::SaleDiffers { sale: sale.id, different })
}

/// The fields in which a definition differs from the sale that was made of it or of another.
fn differences(new: &NewSale, sale: &Sale, items: &[Item], allotted: &HashMap<Sku, i64>) -> Vec<String> {
    /// Enough to see what happened; a long list would hide it.
    const DIFFERENCES_MAX: usize = 10;
    let mut different = Vec::new();
    let mut compare = |same: bool, field: String| {
        if !same && different.len() < DIFFERENCES_MAX {
            different.push(field);
        }
    };
    compare(new.name == sale.name, "name".into());
    // An operator may have opened it before its time; that is no other definition.
    let opened_early = sale.version > 1 && sale.window.opens_at < new.opens_at;
    compare(new.opens_at == sale.window.opens_at || opened_early, "opens_at".into());
    compare(new.closes_at == sale.window.closes_at, "closes_at".into());
    compare(new.payment == sale.payment, "payment".into());
    compare(new.hold_s == sale.hold_s, "hold_s".into());
    compare(new.buyer_cancel == sale.buyer_cancel, "buyer_cancel".into());
    compare(new.items.len() == items.len(), "items".into());
    for (index, (wanted, item)) in new.items.iter().zip(items).enumerate() {
        for field in item_differences(wanted, item, allotted.get(&item.sku).copied()) {
            compare(false, format!("items[{index}].{field}"));
        }
    }
    different
}

fn item_differences(wanted: &NewItem, item: &Item, allotted: Option<i64>) -> Vec<&'static str> {
    if wanted.sku != item.sku {
        return vec!["sku"];
    }
    // A price that was left to the product was fixed when the sale was made.
    let same_price = wanted.price.is_none_or(|price| price == item.price.minor_units);
    let same_currency = wanted.currency.is_none_or(|currency| currency == item.price.currency);
    [
        (same_price, "price"),
        (same_currency, "currency"),
        (Some(wanted.stock) == allotted, "stock"),
        (wanted.per_buyer_limit == item.per_buyer_limit, "per_buyer_limit"),
    ]
    .into_iter()
    .filter_map(|(same, field)| (!same).then_some(field))
    .collect()
}
