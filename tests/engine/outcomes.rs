//! Every answer that a claim can get.

use std::time::Duration;

use doorbuster::catalogue::ControlAction;
use hyper::Method;

use crate::support::{Block, World};

const PARTITIONS: [u8; 2] = [1, 4];

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_claim_is_202_and_ends_in_postgres() {
    for partitions in PARTITIONS {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None), ("MUG", 10, None)]).await;
        let client = world.client();
        let reply = client.claim(&sale, "alice", "key-1", &[("TEE", 2), ("MUG", 1)]).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        assert_eq!(reply.location(), format!("/v1/orders/{}", reply.id()));
        world.drained().await;
        let order = client.get(reply.location(), "alice").await;
        assert_eq!(order.status, 200);
        assert_eq!(order.body["state"], "confirmed");
        assert_eq!(order.body["items"][1]["sku"], "TEE");
        assert_eq!(order.body["items"][1]["quantity"], 2);
        assert_eq!(order.body["items"][1]["unit_price"], 1999);
        assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 1);
        assert_eq!(world.count("SELECT sum(quantity)::bigint FROM order_lines").await, 3);
        for sku in ["TEE", "MUG"] {
            world.assert_balanced(&sale, sku).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_and_limits_refuse() {
    for partitions in PARTITIONS {
        let world = World::with_partitions(partitions).await;
        // Enough for each partition to have some: an empty partition may refuse while another has units.
        let n = i64::from(partitions);
        let sale = world.open_sale("demo", &[("TEE", 3 * n, Some(2)), ("MUG", n, None)]).await;
        let client = world.client();
        assert_eq!(client.claim(&sale, "alice", "1", &[("MUG", 1)]).await.status, 202);
        let refused = if partitions == 1 { (409, "sold-out") } else { (503, "unavailable") };
        assert_eq!(client.claim(&sale, "alice", "2", &[("MUG", 1)]).await.problem(), refused);
        // All or nothing: the line that fits is not taken.
        let both = client.claim(&sale, "alice", "3", &[("TEE", 1), ("MUG", 1)]).await;
        assert_eq!(both.problem(), refused);
        assert_eq!(world.stock(&sale, "TEE").await, 3 * n);
        assert_eq!(client.claim(&sale, "alice", "4", &[("TEE", 3)]).await.problem(), (409, "limit-reached"));
        assert_eq!(client.claim(&sale, "alice", "5", &[("TEE", 2)]).await.status, 202);
        assert_eq!(client.claim(&sale, "alice", "6", &[("TEE", 1)]).await.problem(), (409, "limit-reached"));
        if partitions == 1 {
            let short = client.claim(&sale, "bob", "1", &[("TEE", 2)]).await;
            assert_eq!(short.problem(), (409, "insufficient-stock"));
            assert_eq!((&short.body["sku"], &short.body["left"]), (&"TEE".into(), &1.into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_and_the_operator_decide() {
    for partitions in PARTITIONS {
        let world = World::with_partitions(partitions).await;
        let opens = jiff::Timestamp::now() + Duration::from_secs(60);
        let sale = world.sale("later", &[("TEE", 8, None)], &opens.to_string(), "2100-01-01T00:00:00Z").await;
        let client = world.client();
        let early = client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
        assert_eq!(early.problem(), (409, "not-yet-open"));
        assert!((1..=60).contains(&early.retry_after().unwrap()), "{early:?}");
        world.control(&sale, ControlAction::Open).await;
        assert_eq!(client.claim(&sale, "alice", "1", &[("TEE", 1)]).await.status, 202);
        world.control(&sale, ControlAction::Pause).await;
        let paused = client.claim(&sale, "alice", "2", &[("TEE", 1)]).await;
        assert_eq!(paused.problem(), (409, "paused"));
        assert!(paused.retry_after().is_some());
        world.control(&sale, ControlAction::Resume).await;
        assert_eq!(client.claim(&sale, "alice", "3", &[("TEE", 1)]).await.status, 202);
        world.control(&sale, ControlAction::Close).await;
        let closed = client.claim(&sale, "alice", "4", &[("TEE", 1)]).await;
        assert_eq!((closed.problem(), closed.retry_after()), ((409, "closed"), None));

        let ended =
            world.sale("ended", &[("TEE", 8, None)], "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z").await;
        assert_eq!(client.claim(&ended, "alice", "1", &[("TEE", 1)]).await.problem(), (409, "closed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_limited_but_an_order_is_still_found() {
    for partitions in [1, 4] {
        let world = World::with(|settings| {
            settings.partitions = partitions;
            settings.attempts_per_second = 1;
            settings.attempts_burst = 3;
        })
        .await;
        let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
        let client = world.client();
        let first = client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
        assert_eq!(first.status, 202);
        let mut refused = None;
        for key in 2..30 {
            let reply = client.claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
            if reply.status == 429 {
                refused = Some(reply);
                break;
            }
        }
        let refused = refused.expect("the rate is never reached");
        assert_eq!(refused.problem(), (429, "too-many-attempts"));
        assert!(refused.retry_after().is_some());
        let again = client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
        assert_eq!((again.status.as_u16(), again.id()), (200, first.id()), "hidden by the rate");
        assert_eq!(client.claim(&sale, "bob", "1", &[("TEE", 1)]).await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_is_503_and_hides_no_order() {
    for partitions in [1, 4] {
        let mut world = World::with(|settings| {
            settings.backlog_max = 2;
            settings.partitions = partitions;
        })
        .await;
        let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
        world.drained().await;
        let block = Block::persisting(&world).await;
        let client = world.client();
        let first = client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
        assert_eq!(first.status, 202);
        assert_eq!(client.claim(&sale, "alice", "2", &[("TEE", 1)]).await.status, 202);
        let full = client.claim(&sale, "alice", "3", &[("TEE", 1)]).await;
        assert_eq!(full.problem(), (503, "backlog-full"));
        assert!(full.retry_after().is_some());
        let again = client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
        assert_eq!((again.status.as_u16(), again.id()), (200, first.id()));
        block.release().await;
        world.drained().await;
        assert_eq!(client.claim(&sale, "alice", "3", &[("TEE", 1)]).await.status, 202);
        world.stop_node().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_named() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 5, None)]).await;
    let client = world.client();
    let path = format!("/v1/sales/{sale}/orders");
    let body = || r#"{"items":[{"sku":"TEE","quantity":1}]}"#.to_owned();
    let buyer = ("x-buyer-id", "alice");
    let key = ("idempotency-key", "k");
    let post = |headers: Vec<(&'static str, &'static str)>, path: String, body: String| {
        let client = client.clone();
        async move { client.send(Method::POST, &path, &headers, body).await.unwrap() }
    };
    let cases = [
        (post(vec![key], path.clone(), body()).await, (401, "unauthenticated")),
        (post(vec![buyer], path.clone(), body()).await, (400, "missing-idempotency-key")),
        (
            post(vec![buyer, ("idempotency-key", "a b")], path.clone(), body()).await,
            (400, "malformed-request"),
        ),
        (post(vec![buyer, key], path.clone(), "{".into()).await, (400, "malformed-request")),
        (post(vec![buyer, key], path.clone(), r#"{"items":[]}"#.into()).await, (400, "malformed-request")),
        (post(vec![buyer, key], path.clone(), "x".repeat(20_000)).await, (413, "body-too-large")),
        (
            post(vec![buyer, key, ("content-type", "text/plain")], path.clone(), body()).await,
            (415, "unsupported-media-type"),
        ),
        (post(vec![buyer, key], "/v1/sales/none/orders".into(), body()).await, (404, "not-found")),
        (post(vec![buyer, key], "/v1/sales/NONE%20/orders".into(), body()).await, (404, "not-found")),
        (post(vec![buyer, key], path.clone(), body().replace("TEE", "CUP")).await, (422, "unknown-item")),
        (client.get(&path, "alice").await, (405, "method-not-allowed")),
        (client.get("/v1/nothing", "alice").await, (404, "not-found")),
    ];
    for (i, (reply, expected)) in cases.iter().enumerate() {
        assert_eq!(reply.problem(), *expected, "case {i}: {reply:?}");
        assert_eq!(reply.headers["content-type"], "application/problem+json", "case {i}");
        assert_eq!(reply.headers["cache-control"], "no-store", "case {i}");
    }
    assert_eq!(world.stock(&sale, "TEE").await, 5, "a bad request took stock");
}

/// What a node does not know may have been created, and sold, through another a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_unknown_is_looked_for_again() {
    let world = World::new().await;
    let client = world.client();
    assert_eq!(client.claim("demo", "alice", "1", &[("TEE", 1)]).await.problem(), (404, "not-found"));
    let sale = world.open_sale("demo", &[("TEE", 5, None)]).await;
    assert_eq!(client.claim(&sale, "alice", "1", &[("TEE", 1)]).await.status, 202);
    assert_eq!(client.claim(&sale, "alice", "2", &[("MUG", 1)]).await.problem(), (422, "unknown-item"));
    world
        .db
        .batch_execute(
            "INSERT INTO products (sku, name, price, currency) VALUES ('MUG', 'MUG', 1, 'EUR');
             INSERT INTO sale_items (sale_id, sku, position, price, currency) VALUES ('demo', 'MUG', 2, 1, 'EUR');
             INSERT INTO sale_stock (sale_id, sku, partition, allotted) VALUES ('demo', 'MUG', 0, 5)",
        )
        .await
        .unwrap();
    // Known from here, though Redis has not heard of it.
    assert_eq!(client.claim(&sale, "alice", "2", &[("MUG", 1)]).await.problem(), (503, "unavailable"));
}
