//! Orders that wait for their payment, and what is done with them.

use std::time::Duration;

use doorbuster::catalogue::{NewSale, SaleId};
use doorbuster::order_id::OrderId;
use doorbuster::order_life::{Cancellation, LifeError, OrderLife, OrderOf, Outcome, Step, Told};
use doorbuster::postgres::connect_pool;
use hyper::Method;
use serde_json::{Value, json};

use super::{Client, PATIENCE, Reply, World};

/// What a test says in `order_events`.
pub const TOLD: Told<'static> = Told { actor: "test", reason: "since the test wants it" };

impl World {
    /// A sale that is open and asks for payment, of `stock` units of `TEE`, at most one for each buyer. `more` are further
    /// fields of its definition.
    pub async fn paid_sale(&self, id: &str, stock: i64, hold_s: i64, more: Value) -> SaleId {
        let mut definition = json!({
            "id": id, "name": id, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
            "payment": "checkout", "hold_s": hold_s,
            "items": [{ "sku": "TEE", "stock": stock, "per_buyer_limit": 1 }],
            "products": [{ "sku": "TEE", "name": "Tee", "price": 1999, "currency": "EUR" }],
        });
        for (name, value) in more.as_object().unwrap() {
            definition[name] = value.clone();
        }
        let sale = NewSale::read(&definition).unwrap();
        let created = self.store.create_sale(&sale, "test").await.unwrap();
        assert!(self.store.wait_published(&sale.id, created.version(), PATIENCE).await.applied);
        self.no_intents_open().await;
        sale.id
    }

    /// The door to stored orders, over connections of its own.
    pub fn orders(&self) -> OrderLife {
        let pool = connect_pool(&self.postgres_url, 8, Duration::from_secs(10)).unwrap();
        OrderLife::new(pool, Duration::from_secs(10))
    }

    /// An order that is stored.
    pub async fn order(&self, sale: &SaleId, buyer: &str) -> OrderId {
        let reply = self.client().claim(sale, buyer, "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        self.drained().await;
        reply.id().parse().unwrap()
    }

    /// Orders of so many buyers, stored.
    pub async fn orders_of(&self, sale: &SaleId, buyers: u32) -> Vec<OrderId> {
        let client = self.client();
        let claims = (0..buyers).map(|n| {
            let (client, sale) = (client.clone(), sale.clone());
            tokio::spawn(async move { client.claim(&sale, &format!("b-{n}"), "k", &[("TEE", 1)]).await })
        });
        let mut orders = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            let reply = claim.await.unwrap();
            assert_eq!(reply.status, 202, "{reply:?}");
            orders.push(reply.id().parse().unwrap());
        }
        self.drained().await;
        orders
    }

    /// Each change of stock is over, each unit is where it belongs, and each cancelled order came back once and left one
    /// step.
    pub async fn assert_settled(&self, sale: &SaleId) {
        self.no_intents_open().await;
        self.drained().await;
        self.assert_balanced(sale, "TEE").await;
        let cancelled = self.count("SELECT count(*) FROM orders WHERE state = 'cancelled'").await;
        let returned = "SELECT coalesce(sum(delta), 0)::bigint FROM stock_ledger WHERE cause LIKE 'return:%'";
        assert_eq!(self.count(returned).await, cancelled, "units that came back");
        let steps = "SELECT count(*) FROM order_events WHERE state = 'cancelled'";
        assert_eq!(self.count(steps).await, cancelled, "steps that cancelled");
    }
}

/// Confirms.
pub async fn confirm(orders: &OrderLife, id: OrderId) -> Result<Outcome, LifeError> {
    orders.step(id, OrderOf::Anyone, Step::Confirm, TOLD).await
}

/// Cancels.
pub async fn cancel(orders: &OrderLife, id: OrderId, why: Cancellation) -> Result<Outcome, LifeError> {
    orders.step(id, OrderOf::Anyone, Step::Cancel(why), TOLD).await
}

impl Client {
    /// As a buyer cancels.
    pub async fn cancel(&self, id: impl std::fmt::Display, buyer: &str) -> Reply {
        let path = format!("/v1/orders/{id}/cancel");
        self.send(Method::POST, &path, &[("x-buyer-id", buyer)], String::new()).await.unwrap()
    }
}
