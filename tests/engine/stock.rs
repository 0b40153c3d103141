//! Changes of stock, from Postgres through Redis and its log back into Postgres.

use std::time::Duration;

use doorbuster::catalogue::ControlAction;
use doorbuster::config::Secret;
use hyper::Method;
use serde_json::json;

use crate::support::{Block, Client, World};

/// A sale whose definition is in Redis and whose units are not yet answers 503: "applied" must mean that it sells.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_is_said_to_be_applied_sells_at_once() {
    let token = "0123456789abcdef0123456789abcdef";
    let world = World::with(|settings| settings.admin_token = Secret::new(token)).await;
    let (admin, buyer) = (Client::new(world.node().admin.unwrap()), world.client());
    let bearer = format!("Bearer {token}");
    for number in 0..5 {
        let sale = format!("sale-{number}");
        let definition = json!({
            "id": sale, "name": sale, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
            "items": [{ "sku": "TEE", "stock": 1 }],
            "products": [{ "sku": "TEE", "name": "Tee", "price": 1999, "currency": "EUR" }],
        });
        let headers = [("authorization", bearer.as_str())];
        let created = admin.send(Method::POST, "/admin/v1/sales", &headers, definition.to_string());
        let created = created.await.unwrap();
        assert_eq!((created.status.as_u16(), &created.body["applied"]), (201, &json!(true)), "{created:?}");
        let reply = buyer.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_takes_effect_once_however_often_it_is_sent() {
    let world = World::new().await;
    let block = Block::writing(&world, "stock_ledger").await;
    let items = [("TEE", 10, None)];
    let sale = world.published_sale("demo", &items, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await;
    let stock = || async { world.redis_says(&["HGET", "{p0}:sale:demo", "stock:TEE"]).await };
    world.until("the allotment is in redis", || async { !stock().await.is_empty() }).await;
    // Its log entry is not persisted, so the keeper sends it again with every turn.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.count("SELECT count(*) FROM stock_intents WHERE applied_at IS NULL").await, 1);
    assert_eq!(stock().await, "10");
    block.release().await;
    world.no_intents_open().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM stock_ledger").await, 1);
    world.assert_balanced(&sale, "TEE").await;
}

/// Whoever deletes the keys of a sale: what an operator changes in the moment before that is noticed must not hide it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_sale_that_was_deleted_does_not_begin_it_anew() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    let order = client.claim(&sale, "alice", "k", &[("TEE", 3)]).await;
    assert_eq!(order.status, 202);
    world.drained().await;
    world.redis_says(&["DEL", "{p0}:sale:demo", "{p0}:sale:demo:buyers"]).await;
    world.control(&sale, ControlAction::Pause).await;
    world
        .until("the sale is rebuilt, and knows its orders", || {
            let (client, sale) = (client.clone(), sale.clone());
            async move { client.claim(&sale, "alice", "k", &[("TEE", 3)]).await.status == 200 }
        })
        .await;
    assert_eq!(client.claim(&sale, "alice", "k", &[("TEE", 3)]).await.id(), order.id());
    assert_eq!(client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.problem(), (409, "paused"));
    world.control(&sale, ControlAction::Resume).await;
    assert_eq!(client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.status, 202);
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}
