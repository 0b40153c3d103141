//! Streams of events, over real connections.

use std::time::{Duration, Instant};

use doorbuster::catalogue::ControlAction::{Close, Pause, Resume};
use doorbuster::config::Millis;
use doorbuster::order_life::{Cancellation, OrderOf, Step, Told};
use hyper::Method;
use serde_json::json;

use crate::support::event_stream::{EventStream, Line};
use crate::support::{Block, World};

impl World {
    async fn events(&self, path: &str, last: Option<&str>) -> EventStream {
        EventStream::open(self.node().api.unwrap(), path, "alice", last).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_tells_its_stock_and_state() {
    for partitions in [1, 3] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 12, None), ("MUG", 5, None)]).await;
        let mut events = world.events("/v1/sales/demo/events", None).await;
        assert_eq!(events.status, 200);
        for header in [
            "content-type: text/event-stream\r\n",
            "cache-control: no-store\r\n",
            "x-accel-buffering: no\r\n",
        ] {
            assert!(events.head.contains(header), "{}", events.head);
        }
        let (first, name, data) = events.event().await;
        assert_eq!((name.as_str(), &data["status"]), ("sale", &"open".into()));
        assert_eq!(data["items"], serde_json::json!([{"sku":"TEE","left":12},{"sku":"MUG","left":5}]));
        world.client().claim(&sale, "alice", "k", &[("TEE", 2)]).await;
        let (_, _, data) = events.event().await;
        assert_eq!(data["items"][0]["left"], 10);
        world.control(&sale, Pause).await;
        assert_eq!(events.event().await.2["status"], "paused");
        world.control(&sale, Resume).await;
        let (last, _, data) = events.event().await;
        assert_eq!(data["status"], "open");
        assert_ne!(first, last);
        // Who comes back is told nothing that he knows, and whatever he does not.
        let mut knows = world.events("/v1/sales/demo/events", Some(&last)).await;
        assert!(knows.is_silent_for(Duration::from_millis(400)).await);
        let mut missed = world.events("/v1/sales/demo/events", Some(&first)).await;
        assert_eq!(missed.event().await.0, last);
        world.control(&sale, Close).await;
        for stream in [&mut events, &mut knows, &mut missed] {
            let (id, _, data) = stream.event().await;
            assert_eq!(data["status"], "closed");
            assert_eq!(stream.next().await, None, "nothing more happens");
            assert_eq!(world.events("/v1/sales/demo/events", Some(&id)).await.status, 204);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_gathered_to_ten_a_second() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100_000, None)]).await;
    let mut events = world.events("/v1/sales/demo/events", None).await;
    let client = world.client();
    let buying = tokio::spawn(async move {
        for key in 0.. {
            client.claim(&sale, &format!("b{key}"), "k", &[("TEE", 1)]).await;
        }
    });
    let mut at = Vec::new();
    let mut left = i64::MAX;
    for _ in 0..25 {
        let (_, _, data) = events.event().await;
        let now = data["items"][0]["left"].as_i64().unwrap();
        assert!(now < left, "each event tells something new");
        left = now;
        at.push(data["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    }
    buying.abort();
    for window in at.windows(11) {
        assert!(window[10].duration_since(window[0]) >= jiff::SignedDuration::from_secs(1), "{window:?}");
    }
}

/// A schedule that changes nothing in Redis is told all the same, when its time has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_opens_and_closes_by_itself_is_told() {
    let world = World::new().await;
    let opens_at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let closes_at = opens_at + jiff::SignedDuration::from_millis(700);
    world.sale("timed", &[("TEE", 4, None)], &opens_at.to_string(), &closes_at.to_string()).await;
    let mut events = world.events("/v1/sales/timed/events", None).await;
    let mut told = Vec::new();
    while let Some(line) = events.next().await {
        if let Line::Event { data, .. } = line {
            let at: jiff::Timestamp = data["at"].as_str().unwrap().parse().unwrap();
            told.push((data["status"].as_str().unwrap().to_owned(), at));
        }
    }
    let statuses: Vec<&str> = told.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["not_yet_open", "open", "closed"]);
    assert!(
        told[1].1 >= opens_at.round(jiff::Unit::Millisecond).unwrap() - jiff::SignedDuration::from_millis(1)
    );
    assert!(
        told[2].1 >= closes_at.round(jiff::Unit::Millisecond).unwrap() - jiff::SignedDuration::from_millis(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_tells_its_steps_to_its_buyer() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 12, None)]).await;
    let client = world.client();
    let block = Block::persisting(&world).await;
    let placed = client.claim(&sale, "alice", "k", &[("TEE", 2)]).await;
    let path = format!("{}/events", placed.location());
    let mut events = world.events(&path, None).await;
    let (id, name, data) = events.event().await;
    assert_eq!((id.as_str(), name.as_str(), &data["state"]), ("accepted", "order", &"accepted".into()));
    assert_eq!(data["id"], placed.id());
    assert!(events.is_silent_for(Duration::from_millis(300)).await);
    block.release().await;
    let (id, _, data) = events.event().await;
    assert_eq!((id.as_str(), &data["state"]), ("confirmed", &"confirmed".into()));
    assert_eq!(events.next().await, None, "the outcome is the end");
    // Afterwards: all of it, the rest of it, or nothing, as the client has it.
    let mut late = world.events(&path, None).await;
    assert_eq!(late.event().await.0, "accepted");
    assert_eq!(late.event().await.0, "confirmed");
    let mut back = world.events(&path, Some("accepted")).await;
    assert_eq!(back.event().await.0, "confirmed");
    assert_eq!(world.events(&path, Some("confirmed")).await.status, 204);
    // Nobody else's business.
    let foreign = EventStream::open(world.node().api.unwrap(), &path, "bob", None).await;
    assert_eq!(foreign.status, 404);
    let unknown = world.events("/v1/orders/01KAJ3V2PC00000001ZZZZZZZZ/events", None).await;
    assert_eq!(unknown.status, 404);
}

/// Whoever changes an order later says so; the step is read from Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_stored_order_is_told() {
    let world = World::with_partitions(2).await;
    let sale = world.paid_sale("demo", 12, 600, json!({})).await;
    let placed = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    let mut events = world.events(&format!("{}/events", placed.location()), None).await;
    let mut state = events.event().await.0;
    // The first event is the current state, which may be either.
    if state == "accepted" {
        state = events.event().await.0;
    }
    assert_eq!(state, "pending");
    let cancel = format!("{}/cancel", placed.location());
    let cancelled =
        world.client().send(Method::POST, &cancel, &[("x-buyer-id", "alice")], String::new()).await;
    assert_eq!(cancelled.unwrap().status, 200);
    let (id, _, data) = events.event().await;
    assert_eq!((id.as_str(), &data["cancel_reason"]), ("cancelled", &"buyer".into()));
    assert_eq!(events.next().await, None);
}

/// Nobody has to wait for the look of each second.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_step_to_redis_publishes_it() {
    let world = World::with_partitions(2).await;
    let sale = world.paid_sale("demo", 12, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    let mut events = world.events(&format!("/v1/orders/{order}/events"), None).await;
    events.event().await;
    let channel = format!("{{p{}}}:order-changes", order.partition().number());
    let published = || async {
        let calls = world.redis_says(&["INFO", "commandstats"]).await;
        let line = calls.lines().find(|line| line.starts_with("cmdstat_spublish:calls=")).map(str::to_owned);
        line.map_or(0, |line| {
            line["cmdstat_spublish:calls=".len()..].split(',').next().unwrap().parse().unwrap()
        })
    };
    world
        .until("the node listens", || async {
            world.redis_says(&["PUBSUB", "SHARDNUMSUB", &channel]).await.ends_with('1')
        })
        .await;
    let before: u64 = published().await;
    let told = Told { actor: "test", reason: "since the test wants it" };
    let step = Step::Cancel(Cancellation::Operator);
    world.orders().step(order, OrderOf::Anyone, step, told).await.unwrap();
    world.until("the step was published", || async { published().await > before }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_shows_that_it_lives() {
    let world = World::with(|settings| {
        settings.event_heartbeat_ms = Millis::new(100);
        // A stream is no request that is slow to come.
        settings.http_header_timeout_ms = Millis::new(150);
    })
    .await;
    world.open_sale("demo", &[("TEE", 12, None)]).await;
    let mut events = world.events("/v1/sales/demo/events", None).await;
    events.event().await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(events.next().await, Some(Line::Comment));
    }
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_leave_room_for_claims() {
    let world = World::with(|settings| settings.http_connections_max = 8).await;
    let sale = world.open_sale("demo", &[("TEE", 12, None)]).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let stream = world.events("/v1/sales/demo/events", None).await;
        assert_eq!(stream.status, 200);
        open.push(stream);
    }
    let refused = world.events("/v1/sales/demo/events", None).await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    drop(refused);
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    open.pop();
    world
        .until("a place is free again", || async {
            let stream = world.events("/v1/sales/demo/events", None).await;
            stream.status == 200
        })
        .await;
}

/// A node that stops ends its streams at once, and says when to come back.
#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_node_stops() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 12, None)]).await;
    let mut of_sale = world.events("/v1/sales/demo/events", None).await;
    of_sale.event().await;
    let block = Block::persisting(&world).await;
    let placed = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    let mut of_order = world.events(&format!("{}/events", placed.location()), None).await;
    of_order.event().await;
    block.release().await;
    let node = world.node.take().unwrap();
    let begun = Instant::now();
    let stopped = node.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "streams held the node until its deadline");
    assert_eq!(stopped.requests_cut, 0);
    for mut stream in [of_sale, of_order] {
        let mut last = None;
        while let Some(line) = stream.next().await {
            last = Some(line);
        }
        match last.unwrap() {
            Line::Retry(ms) => assert!((500..3_500).contains(&ms), "{ms}"),
            // Its outcome came first.
            Line::Event { id, .. } => assert_eq!(id, "confirmed"),
            Line::Comment => panic!("no farewell"),
        }
    }
}

/// Redis goes away and comes back: what is not known is null, and the stream goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_redis() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 12, None)]).await;
    let mut events = world.events(&format!("/v1/sales/{sale}/events"), None).await;
    assert_eq!(events.event().await.2["items"][0]["left"], 12);
    world.redis.stop().await.unwrap();
    assert!(events.event().await.2["items"][0]["left"].is_null());
    world.redis.restart().await.unwrap();
    while events.event().await.2["items"][0]["left"] != 12 {}
}
