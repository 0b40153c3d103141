//! `Prefer: wait=N`: the response comes with the outcome, or when the time is over.

use std::time::{Duration, Instant};

use doorbuster::live::publish_order_changes;
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partition;
use doorbuster::redis::{Heard, Keys, RedisOptions, Subscriber};
use hyper::Method;
use serde_json::json;

use crate::support::{Block, Client, PATIENCE, Reply, World};

async fn claim(client: &Client, key: &str, prefer: &str) -> Reply {
    let headers = [
        ("x-buyer-id", "alice"),
        ("idempotency-key", key),
        ("content-type", "application/json"),
        ("prefer", prefer),
    ];
    let body = json!({ "items": [{ "sku": "TEE", "quantity": 1 }] }).to_string();
    client.send(Method::POST, "/v1/sales/demo/orders", &headers, body).await.unwrap()
}

async fn get(client: &Client, path: &str, prefer: &str) -> Reply {
    let headers = [("x-buyer-id", "alice"), ("prefer", prefer)];
    client.send(Method::GET, path, &headers, String::new()).await.unwrap()
}

fn applied(reply: &Reply) -> Option<&str> {
    reply.headers.get("preference-applied").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_is_answered_with_its_outcome() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        world.open_sale("demo", &[("TEE", 10, None)]).await;
        let client = world.client();
        let placed = claim(&client, "k", "wait=20").await;
        assert_eq!((placed.status.as_u16(), &placed.body["state"]), (201, &"confirmed".into()), "{placed:?}");
        assert_eq!(applied(&placed), Some("wait=20"));
        assert_eq!(placed.location(), format!("/v1/orders/{}", placed.id()));
        // The same key again made nothing.
        let again = claim(&client, "k", "wait=20").await;
        assert_eq!((again.status.as_u16(), &again.body["state"]), (200, &"confirmed".into()));
        let shown = get(&client, placed.location(), "wait=20").await;
        assert_eq!((shown.status.as_u16(), applied(&shown)), (200, Some("wait=20")));
        // A refusal has no outcome to wait for.
        let refused = client.claim("demo", "bob", "k", &[("TEE", 100)]).await;
        assert_eq!((refused.status.as_u16(), applied(&refused)), (409, None));
        assert_eq!(applied(&client.claim("demo", "bob", "k2", &[("TEE", 1)]).await), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_does_not_come_in_time_is_told_later() {
    let world = World::with(|settings| settings.wait_max_s = doorbuster::config::Seconds::new(2)).await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    let block = Block::persisting(&world).await;
    let begun = Instant::now();
    let placed = claim(&client, "k", "wait=1").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((placed.status.as_u16(), applied(&placed)), (202, Some("wait=1")), "{placed:?}");
    // As long as the node allows, and no longer.
    let begun = Instant::now();
    let shown = get(&client, placed.location(), "wait=100").await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!((&shown.body["state"], applied(&shown)), (&"accepted".into(), Some("wait=2")));
    let waiting = tokio::spawn({
        let (client, path) = (client.clone(), placed.location().to_owned());
        async move { get(&client, &path, "wait=2").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    block.release().await;
    let shown = waiting.await.unwrap();
    assert_eq!(shown.body["state"], "confirmed");
    assert!(shown.body["items"][0]["unit_price"].is_number(), "whole: {shown:?}");
}

/// The node tells those who wait whatever becomes of Redis' messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_hangs_nobody() {
    let world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    let block = Block::persisting(&world).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { claim(&client, "k", "wait=25").await }
    });
    world
        .until("the node listens", || async {
            world.redis_says(&["PUBSUB", "SHARDNUMSUB", "{p0}:order-changes"]).await.ends_with('1')
        })
        .await;
    // From now on nobody may publish; what settles must settle all the same.
    world.redis_says(&["ACL", "SETUSER", "default", "resetchannels"]).await;
    world.redis_says(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    block.release().await;
    let placed = waiting.await.unwrap();
    assert_eq!((placed.status.as_u16(), &placed.body["state"]), (201, &"confirmed".into()), "{placed:?}");
    world.drained().await;
}

/// One message for each batch that is settled, and for each change that is told; none where nobody listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_only_to_those_who_listen() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    let sent = || async { world.redis_says(&["INFO", "commandstats"]).await.contains("cmdstat_spublish") };
    assert!(!sent().await, "nobody listens");

    let options = RedisOptions { url: world.redis.url(), timeout: Duration::from_secs(10), queue_max: 100 };
    let mut subscriber = Subscriber::connect(&options).unwrap();
    let channel = Keys::new(Partition::new(0)).order_changes;
    world.until("it listens", || async { subscriber.subscribe(&channel).await.is_ok() }).await;
    let placed = client.claim(&sale, "alice", "k2", &[("TEE", 1)]).await;
    let id: OrderId = placed.id().parse().unwrap();
    let text = id.entry().to_string();
    let heard = Heard::Message { channel: "{p0}:order-changes".to_owned(), text };
    assert_eq!(tokio::time::timeout(PATIENCE, subscriber.hear()).await.unwrap(), heard);
    assert!(sent().await);
    publish_order_changes(&world.redis_client().await, id.partition(), &[id]).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, subscriber.hear()).await.unwrap(), heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_bound_nobody_waits() {
    let world = World::with(|settings| settings.waiters_max = 0).await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    let placed = claim(&client, "k", "wait=20").await;
    assert_eq!((placed.status.as_u16(), applied(&placed)), (202, None));
}

/// A node that stops answers those who wait, and is not kept from stopping by them.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_answered_when_the_node_stops() {
    let mut world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let block = Block::persisting(&world).await;
    let client = world.client();
    let waiting = tokio::spawn(async move { claim(&client, "k", "wait=25").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let node = world.node.take().unwrap();
    let stopping = tokio::spawn(node.stop());
    let placed = waiting.await.unwrap();
    assert_eq!(placed.status.as_u16(), 202, "{placed:?}");
    block.release().await;
    assert_eq!(stopping.await.unwrap().requests_cut, 0);
}
