//! Promise 3: the same key gives the same order, whatever has happened since.

use std::time::Duration;

use doorbuster::catalogue::{ControlAction, SaleId};

use crate::support::{Client, Reply, World};

async fn assert_found(client: &Client, sale: &SaleId, first: &Reply, when: &str) {
    let again = client.claim(sale, "alice", "key", &[("TEE", 1)]).await;
    assert_eq!(again.status, 200, "{when}: {again:?}");
    assert_eq!((again.id(), again.location()), (first.id(), first.location()), "{when}");
    let other_body = client.claim(sale, "alice", "key", &[("TEE", 2)]).await;
    assert_eq!(other_body.problem(), (422, "idempotency-key-reused"), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_its_order_back_whatever_happened_since() {
    for partitions in [1, 4] {
        let mut world = World::with_short_lease(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", i64::from(partitions), None)]).await;
        let client = world.client();
        let first = client.claim(&sale, "alice", "key", &[("TEE", 1)]).await;
        assert_eq!(first.status, 202);
        assert_found(&client, &sale, &first, "sold out").await;
        world.drained().await;
        assert_found(&client, &sale, &first, "persisted").await;
        world.control(&sale, ControlAction::Pause).await;
        assert_found(&client, &sale, &first, "paused").await;
        world.stop_node().await;
        world.start_node().await;
        let client = world.client();
        assert_found(&client, &sale, &first, "after a restart of the node").await;
        world.redis.restart().await.unwrap();
        world.start_anew_after_redis().await;
        assert_found(&client, &sale, &first, "after a restart of redis").await;
        world.control(&sale, ControlAction::Close).await;
        assert_found(&client, &sale, &first, "closed").await;
        world.drained().await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_its_order_back_when_the_sale_is_long_over() {
    let world = World::with(|settings| settings.sale_retention_s = doorbuster::config::Seconds::new(1)).await;
    let closes = jiff::Timestamp::now() + Duration::from_secs(8);
    let sale = world.sale("brief", &[("TEE", 5, None)], "2020-01-01T00:00:00Z", &closes.to_string()).await;
    let client = world.client();
    let first = client.claim(&sale, "alice", "key", &[("TEE", 1)]).await;
    assert_eq!(first.status, 202);
    world
        .until("the sale's keys are removed", || async {
            world.count("SELECT count(*) FROM sale_publications WHERE removed_at IS NOT NULL").await == 1
        })
        .await;
    assert_eq!(world.redis_says(&["KEYS", "{p0}:sale:*"]).await, "", "keys are left");
    assert_found(&client, &sale, &first, "retired").await;
    let other = client.claim(&sale, "bob", "key", &[("TEE", 1)]).await;
    assert_eq!(other.problem(), (409, "closed"));
    // A node that has never seen the sale.
    let second = world.second_node(|_| {}).await;
    let elsewhere = Client::new(second.api.unwrap());
    assert_found(&elsewhere, &sale, &first, "at another node").await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_retries_at_once_make_one_order() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
        let claims: Vec<_> = (0..50)
            .map(|_| {
                let (client, sale) = (world.client(), sale.clone());
                tokio::spawn(async move { client.claim(&sale, "alice", "key", &[("TEE", 1)]).await })
            })
            .collect();
        let mut ids = std::collections::HashSet::new();
        let mut accepted = 0;
        for claim in claims {
            let reply = claim.await.unwrap();
            accepted += u32::from(reply.status == 202);
            ids.insert(reply.id());
        }
        assert_eq!((accepted, ids.len()), (1, 1));
        assert_eq!(world.stock(&sale, "TEE").await, 99);
        world.drained().await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 1);
    }
}

/// Once everything is sold a node keeps the list of those who have orders. A unit that comes back is sold by another node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_knows_who_has_orders_notices_who_got_one_since() {
    let world = World::with_partitions(1).await;
    let sale = world.open_sale("demo", &[("TEE", 3, None)]).await;
    let client = world.client();
    for buyer in ["a", "b", "c"] {
        assert_eq!(client.claim(&sale, buyer, "key", &[("TEE", 1)]).await.status, 202);
    }
    let mut late = 0;
    world
        .until("the node has read who has orders, and asks without names", || {
            late += 1;
            let (client, sale, buyer) = (client.clone(), sale.clone(), format!("late-{late}"));
            let calls = world.redis_says(&["INFO", "commandstats"]);
            async move {
                let refused = client.claim(&sale, &buyer, "key", &[("TEE", 1)]).await;
                assert_eq!(refused.problem(), (409, "sold-out"));
                calls.await.contains("cmdstat_hscan")
            }
        })
        .await;
    let known = client.claim(&sale, "a", "key", &[("TEE", 1)]).await;
    assert_eq!(known.status, 200, "{known:?}");
    let refused = client.claim(&sale, "nobody", "key", &[("TEE", 1)]).await;
    assert_eq!(refused.problem(), (409, "sold-out"));

    world.db.execute("UPDATE sale_stock SET allotted = allotted + 1", &[]).await.unwrap();
    world.redis_says(&["HINCRBY", &format!("{{p0}}:sale:{sale}"), "stock:TEE", "1"]).await;
    let second = world.second_node(|_| {}).await;
    assert!(second.wait_ready(Duration::from_secs(10)).await);
    let elsewhere = Client::new(second.api.unwrap());
    let first = elsewhere.claim(&sale, "dora", "key", &[("TEE", 1)]).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = client.claim(&sale, "dora", "key", &[("TEE", 1)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, first.id()), "{again:?}");
    second.stop().await;
}
