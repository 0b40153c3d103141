//! What buyers can look up.

use doorbuster::config::Millis;
use doorbuster::log::EntryId;
use doorbuster::order_id::{Mark, OrderId};
use doorbuster::partition::Partition;

use crate::support::{Block, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_read_from_the_log_until_postgres_has_it() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        let block = Block::persisting(&world).await;
        let client = world.client();
        let placed = client.claim(&sale, "alice", "k", &[("TEE", 2)]).await;
        let order = client.get(placed.location(), "alice").await;
        assert_eq!((order.status.as_u16(), &order.body["state"]), (200, &"accepted".into()));
        assert_eq!(order.body["items"], serde_json::json!([{ "sku": "TEE", "quantity": 2 }]));
        let accepted_at = order.body["accepted_at"].clone();
        block.release().await;
        world.drained().await;
        let order = client.get(placed.location(), "alice").await;
        assert_eq!(order.body["state"], "confirmed");
        assert_eq!(order.body["accepted_at"], accepted_at);
        // Nobody else's business, and nobody else can tell that it exists.
        assert_eq!(client.get(placed.location(), "bob").await.problem(), (404, "not-found"));
        for unknown in ["01KAJ3V2PC00000001ZZZZZZZZ", "nonsense", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            let reply = client.get(&format!("/v1/orders/{unknown}"), "alice").await;
            assert_eq!(reply.problem(), (404, "not-found"), "{unknown}");
        }
    }
}

/// Promise 5: "there is none" only where both who could have it were asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_looked_for_is_503_never_404() {
    let mut world = World::with_own_postgres(|settings| settings.lease_ms = Millis::new(3_000)).await;
    let client = world.client();
    let id = OrderId::new(EntryId { ms: 1_700_000_000_000, seq: 0 }, Partition::new(0), Mark::random());
    let path = format!("/v1/orders/{id}");
    assert_eq!(client.get(&path, "alice").await.problem(), (404, "not-found"));
    world.redis.stop().await.unwrap();
    assert_eq!(client.get(&path, "alice").await.problem(), (503, "unavailable"), "without redis");
    world.redis.restart().await.unwrap();
    world.start_anew_after_redis().await;
    world.until("both answer", || async { client.get(&path, "alice").await.status == 404 }).await;
    world.postgres.as_mut().unwrap().stop().await.unwrap();
    assert_eq!(client.get(&path, "alice").await.problem(), (503, "unavailable"), "without postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyers_orders_come_in_pages_newest_first() {
    let world = World::with_partitions(4).await;
    let sale = world.open_sale("demo", &[("TEE", 400, None)]).await;
    let client = world.client();
    let mut placed = Vec::new();
    for key in 0..25 {
        placed.push(client.claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await.id());
        client.claim(&sale, "bob", &key.to_string(), &[("TEE", 1)]).await;
    }
    placed.reverse();
    world.drained().await;
    let mut found = Vec::new();
    let mut next = Some("/v1/buyers/me/orders?limit=10".to_owned());
    let mut pages = 0;
    while let Some(path) = next {
        let page = client.get(&path, "alice").await;
        assert_eq!(page.status, 200, "{page:?}");
        found.extend(
            page.body["orders"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()),
        );
        next = page.body["next"].as_str().map(str::to_owned);
        pages += 1;
        assert!(pages <= 4, "pages without end");
    }
    assert_eq!(found, placed);
    let bad = client.get("/v1/buyers/me/orders?limit=0", "alice").await;
    assert_eq!(bad.problem(), (400, "malformed-request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_shown_with_live_stock() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 12, Some(3)), ("MUG", 8, None)]).await;
        world.sale("later", &[("TEE", 4, None)], "2090-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await;
        let client = world.client();
        client.claim(&sale, "alice", "k", &[("TEE", 2)]).await;
        world
            .until("the stock is live", || async {
                client.get("/v1/sales/demo", "alice").await.body["items"][0]["left"] == 10
            })
            .await;
        let shown = client.get("/v1/sales/demo", "alice").await.body;
        assert_eq!((&shown["status"], &shown["items"][1]["left"]), (&"open".into(), &8.into()));
        assert_eq!(shown["items"][0]["per_buyer_limit"], 3);
        assert_eq!(
            (&shown["items"][0]["price"], &shown["items"][0]["currency"]),
            (&1999.into(), &"EUR".into())
        );
        let list = client.get("/v1/sales", "alice").await.body;
        let list = list["sales"].as_array().unwrap();
        let statuses: Vec<_> =
            list.iter().map(|sale| (sale["id"].as_str(), sale["status"].as_str())).collect();
        assert_eq!(statuses, [(Some("demo"), Some("open")), (Some("later"), Some("not_yet_open"))]);
        assert_eq!(client.get("/v1/sales/none", "alice").await.problem(), (404, "not-found"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_stock_is_null_never_zero() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 12, None)]).await;
    let client = world.client();
    assert_eq!(client.get("/v1/sales/demo", "alice").await.body["items"][0]["left"], 12);
    world.redis.stop().await.unwrap();
    world
        .until("the stock is unknown", || async {
            client.get(&format!("/v1/sales/{sale}"), "alice").await.body["items"][0]["left"].is_null()
        })
        .await;
}
