//! Sales open and close by themselves, by the time of Redis; and at once where an operator says so.

use doorbuster::catalogue::ControlAction::{self, Close, Open, Pause, Resume};
use doorbuster::catalogue::{ControlChange, SaleId};
use doorbuster::gate::Gate;
use doorbuster::node::Node;
use doorbuster::partition::Partition;
use doorbuster::postgres::connect_pool;
use doorbuster::redis::{Keys, Redis, server_time};
use doorbuster::stock::Publisher;
use hyper::Method;
use jiff::{SignedDuration, Timestamp};

use crate::support::{Client, PATIENCE, Reply, World, until};

/// What the schedule may be late or early by.
const EXACT: SignedDuration = SignedDuration::from_millis(50);

async fn redis_time(redis: &Redis) -> Timestamp {
    server_time(redis, &Keys::new(Partition::new(0)).meta).await.unwrap()
}

/// One attempt: what was answered, between which times of Redis.
struct Attempt {
    begun: Timestamp,
    ended: Timestamp,
    reply: Reply,
}

/// Claims through `client`, one after another, until the sale has closed.
async fn attempts(client: Client, redis: Redis, sale: SaleId, who: &'static str) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for number in 0.. {
        let begun = redis_time(&redis).await;
        let reply = client.claim(&sale, &format!("{who}-{number}"), "k", &[("TEE", 1)]).await;
        let ended = redis_time(&redis).await;
        let is_over = reply.problem() == (409, "closed");
        attempts.push(Attempt { begun, ended, reply });
        if is_over {
            return attempts;
        }
    }
    unreachable!()
}

/// Whatever the machine does meanwhile: a claim that was made whole in the window sells, one made whole outside does not.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_opens_and_closes_at_the_time_of_redis() {
    for partitions in [1, 3] {
        let world = World::with_partitions(partitions).await;
        let other = world.second_node(|_| {}).await;
        assert!(other.wait_ready(PATIENCE).await);
        let redis = world.redis_client().await;
        let now = redis_time(&redis).await;
        let opens_at = now + SignedDuration::from_millis(3_000);
        let closes_at = opens_at + SignedDuration::from_millis(1_200);
        let sale = world
            .sale("timed", &[("TEE", 1_000_000, None)], &opens_at.to_string(), &closes_at.to_string())
            .await;
        let clients = [world.client(), Client::new(other.api.unwrap())];
        let shown = clients[1].get("/v1/sales/timed", "alice").await.body;
        assert_eq!(shown["status"], "not_yet_open");
        let runs = clients.into_iter().zip(["one", "two"]);
        let runs = runs.map(|(client, who)| tokio::spawn(attempts(client, redis.clone(), sale.clone(), who)));
        for run in runs.collect::<Vec<_>>() {
            let attempts = run.await.unwrap();
            let sold = attempts.iter().filter(|attempt| attempt.reply.status == 202).count();
            assert!(sold > 0, "{} attempts, none in time", attempts.len());
            for Attempt { begun, ended, reply } in attempts {
                let expected = if ended < opens_at - EXACT {
                    (409, "not-yet-open")
                } else if begun >= opens_at + EXACT && ended < closes_at - EXACT {
                    (202, "")
                } else if begun >= closes_at + EXACT {
                    (409, "closed")
                } else {
                    continue;
                };
                assert_eq!(reply.problem(), expected, "{begun} to {ended}, open {opens_at} to {closes_at}");
                if expected.1 == "not-yet-open" {
                    let wait = SignedDuration::from_millis(reply.body["opens_in_ms"].as_i64().unwrap());
                    // The script counts in whole milliseconds.
                    let ms = SignedDuration::from_millis(1);
                    assert!(begun + wait <= opens_at + ms && ended + wait >= opens_at - ms);
                }
            }
        }
        let shown = world.client().get("/v1/sales/timed", "alice").await.body;
        assert_eq!(shown["status"], "closed");
        other.stop().await;
    }
}

/// Nodes tell the state by the clock of Redis, whatever their own says of the definition that they remember.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_shown_as_redis_decides_it() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    assert_eq!(client.get("/v1/sales/demo", "alice").await.body["status"], "open");
    let hour = 3_600_000;
    let ahead = redis_time(&world.redis_client().await).await.as_millisecond() + hour;
    let key = format!("{{p0}}:sale:{sale}");
    world.redis_says(&["HSET", &key, "opens_at", &ahead.to_string()]).await;
    until("the node shows what redis holds", || async {
        client.get("/v1/sales/demo", "alice").await.body["status"] == "not_yet_open"
    })
    .await;
    let claim = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(claim.problem(), (409, "not-yet-open"));
}

async fn publisher(world: &World) -> Publisher {
    let redis = world.redis_client().await;
    let gates: Vec<Gate> = (0..world.settings.partitions)
        .map(|number| Gate::watch(redis.clone(), Partition::new(number)))
        .collect();
    Publisher::new(redis, gates, connect_pool(&world.postgres_url, 2, PATIENCE).unwrap())
}

/// After the command has returned, no node sells, or every node does. No keeper takes part: the command tells Redis.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_says_holds_on_every_node_when_the_command_returns() {
    let world = World::with_partitions(3).await;
    let worker_less = |settings: &mut doorbuster::config::Settings| {
        settings.role = doorbuster::config::Role::Api;
    };
    let others = [world.second_node(worker_less).await, world.second_node(worker_less).await];
    for other in &others {
        assert!(other.wait_ready(PATIENCE).await);
    }
    let nodes: Vec<&Node> = [world.node()].into_iter().chain(&others).collect();
    let clients: Vec<Client> = nodes.iter().map(|node| Client::new(node.api.unwrap())).collect();
    let sale = world
        .sale("later", &[("TEE", 1_000_000, None)], "2090-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
        .await;
    let publisher = publisher(&world).await;
    let steps: [(ControlAction, (u16, &str)); 6] = [
        (Open, (202, "")),
        (Pause, (409, "paused")),
        (Resume, (202, "")),
        (Pause, (409, "paused")),
        (Open, (202, "")),
        (Close, (409, "closed")),
    ];
    for (step, (action, expected)) in steps.into_iter().enumerate() {
        let change = ControlChange {
            action,
            actor: "test",
            reason: Some("because"),
            redis_now: publisher.time().await,
        };
        let changed = world.store.set_control(&sale, change).await.unwrap();
        publisher.publish().await;
        // Told already, whether or not a keeper has had its turn.
        for partition in 0..3 {
            let key = format!("{{p{partition}}}:sale:{sale}");
            let told = world.redis_says(&["HGET", &key, "version"]).await;
            assert_eq!(told, changed.version.to_string(), "{action:?} in {partition}");
        }
        let published = world.store.wait_published(&sale, changed.version, PATIENCE).await;
        assert!(published.applied, "{action:?}: {published:?}");
        for (number, client) in clients.iter().enumerate() {
            for buyer in 0..12 {
                let buyer = format!("{step}-{number}-{buyer}");
                let reply = client.claim(&sale, &buyer, "k", &[("TEE", 1)]).await;
                assert_eq!(reply.problem(), expected, "{action:?} at node {number}");
            }
        }
    }
    let events = world.store.sale_events(&sale).await.unwrap();
    let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["close", "open", "pause", "resume", "pause", "open"]);
    assert!(events.iter().all(|event| event.actor == "test" && event.reason.as_deref() == Some("because")));
    for other in others {
        other.stop().await;
    }
}

/// A sale that is opened "now" is open now to the Redis that decides, also where that one's clock is behind.
#[tokio::test(flavor = "multi_thread")]
async fn now_is_the_time_of_redis_where_that_is_behind() {
    let world = World::new().await;
    let sale =
        world.sale("later", &[("TEE", 10, None)], "2090-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await;
    let behind = redis_time(&world.redis_client().await).await - SignedDuration::from_secs(60);
    let change = ControlChange { action: Open, actor: "test", reason: None, redis_now: Some(behind) };
    let changed = world.store.set_control(&sale, change).await.unwrap();
    assert_eq!(changed.window.opens_at, behind.round(jiff::Unit::Microsecond).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gives_a_reason_over_http() {
    let token = "0123456789abcdef0123456789abcdef";
    let world = World::with(|settings| {
        settings.admin_token = doorbuster::config::Secret::new(token);
    })
    .await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let admin = Client::new(world.node().admin.unwrap());
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let body = r#"{"reason":"the page is wrong"}"#.to_owned();
    let paused = admin.send(Method::POST, "/admin/v1/sales/demo/pause", &headers, body).await.unwrap();
    assert_eq!((paused.status.as_u16(), &paused.body["applied"]), (200, &true.into()), "{paused:?}");
    let claim = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(claim.problem(), (409, "paused"));
    let shown = admin.send(Method::GET, "/admin/v1/sales/demo", &headers, String::new()).await.unwrap();
    let event = &shown.body["events"][0];
    assert_eq!((&event["action"], &event["reason"]), (&"pause".into(), &"the page is wrong".into()));
    let wrong = r#"{"reason":5}"#.to_owned();
    let refused = admin.send(Method::POST, "/admin/v1/sales/demo/resume", &headers, wrong).await.unwrap();
    assert_eq!(refused.problem(), (422, "invalid-definition"));
}
