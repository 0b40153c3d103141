//! The catalogue on a real PostgreSQL; each test has a database of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod cli;
mod control;
mod create;
mod lines;
mod plans;
mod schema;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use doorbuster::catalogue::{CatalogueStore, NewSale};
use doorbuster::postgres::{PgPool, connect_pool, ensure_partitions, migrate};
use serde_json::{Value, json};

/// Far above what a statement takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(20);

struct Catalogue {
    url: String,
    pool: PgPool,
    store: CatalogueStore,
}

impl Catalogue {
    /// A migrated database with `partitions`.
    async fn new(partitions: u8) -> Self {
        let url = support::new_database().await;
        migrate(&url, TIMEOUT).await.unwrap();
        let pool = connect_pool(&url, 8, TIMEOUT).unwrap();
        ensure_partitions(&pool, partitions).await.unwrap();
        Self { url, store: CatalogueStore::new(pool.clone(), TIMEOUT), pool }
    }

    /// The first column of the only row of `statement`.
    async fn number(&self, statement: &str) -> i64 {
        self.pool.get().await.unwrap().query_one(statement, &[]).await.unwrap().get(0)
    }

    async fn execute(&self, statement: &str) {
        self.pool.get().await.unwrap().batch_execute(statement).await.unwrap();
    }
}

/// A sale of 10 shirts and 3 mugs that opens in 2100, with its products.
fn definition(id: &str) -> Value {
    json!({
        "id": id, "name": "Demo",
        "opens_at": "2100-01-01T09:00:00Z", "closes_at": "2100-01-01T10:00:00Z",
        "items": [
            {"sku": "TEE", "stock": 10, "per_buyer_limit": 2},
            {"sku": "MUG", "price": 450, "stock": 3}
        ],
        "products": [
            {"sku": "TEE", "name": "Shirt", "price": 1999, "currency": "EUR"},
            {"sku": "MUG", "name": "Mug", "price": 500, "currency": "EUR"}
        ]
    })
}

fn new_sale(definition: &Value) -> NewSale {
    NewSale::read(definition).unwrap()
}
