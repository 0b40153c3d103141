//! A sale on a Redis of its own.

use doorbuster::buyer::BuyerId;
use doorbuster::catalogue::{SaleId, Sku};
use doorbuster::claim::{Claim, Decision, IdempotencyKey, fingerprint, sorted_lines};
use doorbuster::log::{EntryId, LogEntry, OrderEntry};
use doorbuster::order_id::OrderId;

use crate::open_partition::{Definition, NO_BACKLOG, OpenPartition, TestRedis};

pub const PARTITION: u8 = 3;

pub struct Shop {
    pub server: TestRedis,
    pub at: OpenPartition,
    pub sale: SaleId,
}

pub fn sku(text: &str) -> Sku {
    text.parse().unwrap()
}

impl Shop {
    /// Sells `stock`, without limits.
    pub async fn open(stock: &[(&str, i64)]) -> Self {
        Self::open_on(&[], stock).await
    }

    /// As [`Shop::open`], with directives of redis.conf.
    pub async fn open_on(settings: &[(&str, &str)], stock: &[(&str, i64)]) -> Self {
        let server = TestRedis::start(settings).await;
        let at = server.open(PARTITION).await;
        let sale: SaleId = "drop-1".parse().unwrap();
        at.publish(&sale, &Definition::open(1, &[])).await.unwrap();
        if !stock.is_empty() {
            at.add_stock(&sale, "first", stock).await;
        }
        Self { server, at, sale }
    }

    pub fn claim(&self, buyer: &str, key: &str, lines: &[(&str, u64)]) -> Claim {
        let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
        let lines = sorted_lines(lines.iter().map(|(name, units)| (sku(name), *units)).collect()).unwrap();
        Claim::new(self.sale.clone(), BuyerId::parse(buyer.as_bytes()).unwrap(), key, lines)
    }

    pub async fn decide(&self, claims: &[Claim]) -> Vec<Decision> {
        self.at.decide(&self.sale, claims, NO_BACKLOG).await.unwrap()
    }

    pub async fn decide_one(&self, buyer: &str, key: &str, lines: &[(&str, u64)]) -> Decision {
        self.decide(&[self.claim(buyer, key, lines)]).await.pop().unwrap()
    }

    /// As [`Shop::decide_one`], for a claim that must be accepted.
    pub async fn order(&self, buyer: &str, key: &str, lines: &[(&str, u64)]) -> OrderId {
        accepted(&self.decide_one(buyer, key, lines).await)
    }

    /// Orders of one unit of A by as many buyers, each with an entry of the stream to itself.
    pub async fn orders_of_one(&self, count: usize) -> Vec<EntryId> {
        let mut orders = Vec::new();
        for i in 0..count {
            orders.push(self.order(&format!("buyer-{i}"), "k", &[("A", 1)]).await.entry());
        }
        orders
    }

    /// As [`Shop::orders_of_one`], by one call.
    pub async fn orders_of_one_call(&self, key: &str, count: usize) -> Vec<EntryId> {
        let claims: Vec<Claim> =
            (0..count).map(|i| self.claim(&format!("buyer-{i}"), key, &[("A", 1)])).collect();
        self.decide(&claims).await.iter().map(|decision| accepted(decision).entry()).collect()
    }

    pub async fn stock(&self, name: &str) -> Option<i64> {
        self.at.stock(&self.sale, &sku(name)).await
    }

    /// The orders that the log holds.
    pub async fn logged_orders(&self) -> Vec<OrderEntry> {
        let order = |entry: LogEntry| match entry {
            LogEntry::Order(order) => Some(order),
            _ => None,
        };
        self.at.log().await.iter().filter_map(|raw| order(raw.decode().unwrap())).collect()
    }
}

pub fn accepted(decision: &Decision) -> OrderId {
    let Decision::Accepted(id) = decision else { panic!("not accepted: {decision:?}") };
    *id
}

/// The order as the log has it, for a return.
pub fn order_entry(claim: &Claim, sale: &SaleId, key: &str) -> OrderEntry {
    OrderEntry {
        mark: claim.mark,
        fingerprint: fingerprint(&claim.lines),
        sale: sale.clone(),
        buyer: claim.buyer.clone(),
        key: IdempotencyKey::parse(key.as_bytes()).unwrap(),
        lines: claim.lines.clone(),
    }
}
