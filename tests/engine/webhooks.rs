//! What is told to the outside: at least once, signed, under one id; and nothing where nobody wants to know.

use std::collections::HashSet;
use std::time::Duration;

use doorbuster::catalogue::ControlAction::{Close, Pause, Resume};
use doorbuster::config::{Millis, Role, Seconds};
use doorbuster::postgres::connect_pool;
use doorbuster::webhooks::{NewEndpoint, WebhookSecret, WebhookStore};

use crate::support::receiver::{Answer, Receiver};
use crate::support::{PATIENCE, World};

fn quick(settings: &mut doorbuster::config::Settings) {
    settings.webhook_retry_ms = Millis::new(20);
    settings.webhook_timeout_ms = Millis::new(2_000);
}

impl World {
    fn webhooks(&self) -> WebhookStore {
        WebhookStore::new(connect_pool(&self.postgres_url, 2, PATIENCE).unwrap(), PATIENCE)
    }

    async fn add_webhook(&self, id: &str, url: &str, types: &[&str]) -> WebhookSecret {
        let new = NewEndpoint {
            id: Some(id.to_owned()),
            url: url.to_owned(),
            event_types: types.iter().map(|word| (*word).to_owned()).collect(),
            secret: None,
        };
        self.webhooks().add(new).await.unwrap().1
    }

    async fn waiting(&self) -> i64 {
        self.count("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_signed_and_as_a_cloud_event() {
    for partitions in [1, 3] {
        let world = World::with(|settings| {
            quick(settings);
            settings.partitions = partitions;
        })
        .await;
        let receiver = Receiver::start([]).await;
        let secret = world.add_webhook("shop", &receiver.url(), &["order.confirmed"]).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        let placed = world.client().claim(&sale, "alice", "k", &[("TEE", 2)]).await;
        world.until("it is told", || async { !receiver.received().is_empty() }).await;
        let told = receiver.received().remove(0);
        let (id, timestamp) = (told.header("webhook-id"), told.header("webhook-timestamp"));
        let signature = secret.sign(id, timestamp.parse().unwrap(), told.body.as_bytes());
        assert_eq!(told.header("webhook-signature"), signature);
        assert_eq!(told.header("content-type"), "application/cloudevents+json; charset=utf-8");
        let event = told.event();
        assert_eq!((&event["id"], &event["type"]), (&id.into(), &"order.confirmed".into()));
        assert_eq!((&event["subject"], &event["source"]), (&placed.id().into(), &"/v1/sales/demo".into()));
        let data = &event["data"];
        assert_eq!((&data["buyer"], &data["state"]), (&"alice".into(), &"confirmed".into()));
        let items = serde_json::json!([{ "sku": "TEE", "quantity": 2, "unit_price": 1999 }]);
        assert_eq!(data["items"], items);
        world.until("it is written down", || async { world.waiting().await == 0 }).await;
        // What is not wanted is not told.
        world.control(&sale, Pause).await;
        assert_eq!(world.count("SELECT count(*) FROM webhook_events").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_nobody_wants_to_know() {
    let world = World::with(quick).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.control(&sale, Pause).await;
    world.control(&sale, Resume).await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM webhook_events").await, 0);
    let receiver = Receiver::start([]).await;
    world.add_webhook("shop", &receiver.url(), &["order.confirmed"]).await;
    world.webhooks().remove("shop").await.unwrap();
    client.claim(&sale, "bob", "k", &[("TEE", 1)]).await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM webhook_events").await, 0);
    assert!(world.webhooks().remove("shop").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_told_through_its_life() {
    let world = World::with(quick).await;
    // Before anybody wanted to know: not told later.
    world.open_sale("old", &[("TEE", 1, None)]).await;
    let receiver = Receiver::start([]).await;
    let types =
        ["sale.opened", "sale.paused", "sale.resumed", "sale.sold_out", "sale.closed", "order.cancelled"];
    world.add_webhook("shop", &receiver.url(), &types).await;
    let opens_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string();
    let sale = world.sale("demo", &[("TEE", 2, None)], &opens_at, "2100-01-01T00:00:00Z").await;
    let told = async |count: usize| {
        world.until("it is told", || async { receiver.received().len() >= count }).await;
        receiver.types()
    };
    assert_eq!(told(1).await, ["sale.opened"]);
    world.control(&sale, Pause).await;
    assert_eq!(told(2).await.last().unwrap(), "sale.paused");
    world.control(&sale, Resume).await;
    assert_eq!(told(3).await.last().unwrap(), "sale.resumed");
    world.client().claim(&sale, "alice", "k", &[("TEE", 2)]).await;
    assert_eq!(told(4).await.last().unwrap(), "sale.sold_out");
    assert_eq!(receiver.received()[3].event()["data"]["allotted"], 2);
    world
        .db
        .batch_execute("UPDATE orders SET state = 'cancelled', cancel_reason = 'operator'")
        .await
        .unwrap();
    assert_eq!(told(5).await.last().unwrap(), "order.cancelled");
    assert_eq!(receiver.received()[4].event()["data"]["cancel_reason"], "operator");
    world.control(&sale, Close).await;
    assert_eq!(told(6).await.last().unwrap(), "sale.closed");
    // A window that ends by itself is told as well; and nothing is told twice, however often it is looked.
    let closes_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string();
    world.sale("short", &[("TEE", 1, None)], "2020-01-01T00:00:00Z", &closes_at).await;
    assert_eq!(told(7).await.last().unwrap(), "sale.closed");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.received().len(), 7, "{:?}", receiver.types());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_tried_again_under_the_same_id() {
    let world = World::with(quick).await;
    let elsewhere = Receiver::start([]).await;
    let answers = [Answer::Status(500), Answer::Redirect(elsewhere.address), Answer::Slow(PATIENCE)];
    let failing = Receiver::start(answers).await;
    let healthy = Receiver::start([]).await;
    world.add_webhook("failing", &failing.url(), &["order.confirmed"]).await;
    world.add_webhook("healthy", &healthy.url(), &["order.confirmed"]).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.until("the healthy one is told", || async { !healthy.received().is_empty() }).await;
    world.until("it is delivered in the end", || async { world.waiting().await == 0 }).await;
    let received = failing.received();
    assert_eq!(received.len(), 4);
    let first = &received[0];
    for again in &received {
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(again.body, first.body);
    }
    assert_eq!(healthy.received().len(), 1);
    assert_eq!(healthy.received()[0].header("webhook-id"), first.header("webhook-id"));
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_shown_and_can_be_redriven() {
    let world = World::with(|settings| {
        quick(settings);
        settings.webhook_give_up_s = Seconds::new(1);
    })
    .await;
    let receiver = Receiver::start([]).await;
    let url = receiver.url();
    drop(receiver);
    world.add_webhook("down", &url, &["order.confirmed"]).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    let webhooks = world.webhooks();
    world.until("it is given up", || async { !webhooks.dead(None, 10).await.unwrap().is_empty() }).await;
    let dead = webhooks.dead(Some("down"), 10).await.unwrap().remove(0);
    assert!(dead.attempts > 2 && dead.error.contains("connect"), "{dead:?}");
    let listed = webhooks.list().await.unwrap().remove(0);
    assert_eq!((listed.waiting, listed.dead), (0, 1));
    // Mended: the same event, under the same id.
    let receiver = Receiver::start([]).await;
    world.db.execute("UPDATE webhook_endpoints SET url = $1", &[&receiver.url()]).await.unwrap();
    assert_eq!(webhooks.redrive("down", Some("evt_other")).await.unwrap(), 0);
    assert_eq!(webhooks.redrive("down", Some(&dead.event)).await.unwrap(), 1);
    world.until("it is delivered", || async { world.waiting().await == 0 }).await;
    assert_eq!(receiver.received()[0].header("webhook-id"), dead.event);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_left_alone() {
    let world = World::with(quick).await;
    let receiver = Receiver::start([Answer::Status(410)]).await;
    world.add_webhook("gone", &receiver.url(), &["order.confirmed"]).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    let webhooks = world.webhooks();
    world
        .until("it is disabled", || async {
            webhooks.list().await.unwrap()[0].disabled_at.is_some() && world.waiting().await == 0
        })
        .await;
    client.claim(&sale, "bob", "k", &[("TEE", 1)]).await;
    world.drained().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM webhook_events").await, 1, "nobody wants to know");
    assert_eq!(webhooks.redrive("gone", None).await.unwrap(), 1);
    world.until("it is delivered", || async { receiver.received().len() == 2 }).await;
    assert!(webhooks.list().await.unwrap()[0].disabled_at.is_none());
}

/// The process dies between the commit and the delivery; and between the delivery and writing it down.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_an_event_is_told_and_twice_under_one_id() {
    let mut world = World::with(|settings| {
        quick(settings);
        settings.webhook_timeout_ms = Millis::new(20_000);
    })
    .await;
    // Answers so late that its sender is dead by then.
    let receiver = Receiver::start([Answer::Slow(Duration::from_secs(5))]).await;
    world.add_webhook("shop", &receiver.url(), &["order.confirmed"]).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    world.settings.role = Role::Worker;
    let api = world.second_node(|settings| settings.role = Role::Api).await;
    world.start_node_silently().await;
    assert!(api.wait_ready(PATIENCE).await);
    crate::support::Client::new(api.api.unwrap()).claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    world.crash_node();
    assert_eq!((world.waiting().await, receiver.received().len()), (1, 0), "committed, not delivered");

    world.settings.role = Role::Webhooks;
    world.start_node_silently().await;
    world.until("it arrives", || async { receiver.received().len() == 1 }).await;
    world.crash_node();
    assert_eq!(world.waiting().await, 1, "nobody knows that it arrived");
    world.start_node_silently().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.received().len(), 1, "the attempt may still be under way");
    world.db.batch_execute("UPDATE webhook_deliveries SET next_at = now()").await.unwrap();
    world.until("it is delivered", || async { world.waiting().await == 0 }).await;
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    api.stop().await;
}

/// Workers side by side share the work; and each order that is stored is told, with none besides, whoever crashes.
#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_told_once_by_workers_side_by_side() {
    let mut world = World::with_short_lease(2).await;
    let receiver = Receiver::start([]).await;
    world.add_webhook("shop", &receiver.url(), &["order.confirmed", "order.cancelled"]).await;
    let sale = world.open_sale("demo", &[("TEE", 1_000, None)]).await;
    let other = world.second_node(|settings| settings.role = Role::Webhooks).await;
    let mut placed = HashSet::new();
    for round in 0..2 {
        let client = world.client();
        for buyer in 0..60 {
            let buyer = format!("b{round}-{buyer}");
            placed.insert(client.claim(&sale, &buyer, "k", &[("TEE", 1)]).await.id());
        }
        if round == 0 {
            world.drained().await;
            world.until("all are told", || async { world.waiting().await == 0 }).await;
            let received = receiver.received();
            assert_eq!(received.len(), placed.len(), "without a crash nothing is told twice");
            world.crash_node();
            world.start_node().await;
        }
    }
    world.drained().await;
    world.until("all are told", || async { world.waiting().await == 0 }).await;
    let told: HashSet<String> =
        receiver.received().iter().map(|one| one.event()["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, placed);
    let events = world.count("SELECT count(*) FROM webhook_events").await;
    assert_eq!(events, world.count("SELECT count(*) FROM orders").await);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_handle_webhooks_over_http() {
    let token = "0123456789abcdef0123456789abcdef";
    let world = World::with(|settings| {
        quick(settings);
        settings.admin_token = doorbuster::config::Secret::new(token);
    })
    .await;
    let receiver = Receiver::start([]).await;
    let admin = crate::support::Client::new(world.node().admin.unwrap());
    let bearer = format!("Bearer {token}");
    let send = async |method: &str, path: &str, body: serde_json::Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/admin/v1/webhooks{path}");
        admin.send(method.parse().unwrap(), &path, &[("authorization", &bearer)], body).await.unwrap()
    };
    let null = serde_json::Value::Null;
    let new = serde_json::json!({ "id": "shop", "url": receiver.url(), "event_types": ["sale.opened"] });
    let added = send("POST", "", new.clone()).await;
    assert_eq!(added.status, 201, "{added:?}");
    assert!(added.body["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(send("POST", "", new).await.problem(), (409, "conflict"));
    let wrong = serde_json::json!({ "url": "ftp://x", "event_types": ["sale.opened"] });
    assert_eq!(send("POST", "", wrong).await.problem(), (422, "invalid-definition"));
    let listed = send("GET", "", null.clone()).await;
    assert_eq!(listed.body["webhooks"][0]["id"], "shop");
    assert!(!listed.body.to_string().contains("whsec_"), "the secret is shown once");
    let event = send("POST", "/shop/test", null.clone()).await.body["event"].as_str().unwrap().to_owned();
    world.until("it is told", || async { !receiver.received().is_empty() }).await;
    assert_eq!(receiver.received()[0].header("webhook-id"), event);
    assert_eq!(receiver.types(), ["webhook.test"]);
    assert_eq!(send("GET", "/shop/dead", null.clone()).await.body["dead"], serde_json::json!([]));
    assert_eq!(send("POST", "/shop/redrive", null.clone()).await.body["redriven"], 0);
    assert_eq!(send("DELETE", "/shop", null.clone()).await.status, 200);
    assert_eq!(send("POST", "/shop/test", null).await.problem(), (404, "not-found"));
}
