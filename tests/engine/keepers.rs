//! Who is keeper: lost locks, keepers that stand still, operators who take over, and what a keeper watches.

use std::sync::Mutex;
use std::time::Duration;

use doorbuster::claim::Batch;
use doorbuster::config::{DurabilityCheck, Millis, Role};
use doorbuster::dead_letters::Operator;
use doorbuster::gate::Gate;
use doorbuster::keeper::{self, Keeper, KeeperOptions, OpenError, Progress};
use doorbuster::log::EntryId;
use doorbuster::metrics::Metrics;
use doorbuster::node::Node;
use doorbuster::partition::Partition;
use doorbuster::postgres::connect_pool;
use doorbuster::redis::Keys;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::support::claims::claim;
use crate::support::payments::{hear, paid};
use crate::support::{Block, World};

const HOLDER: &str = "FROM pg_locks WHERE locktype = 'advisory' AND classid = 1685024587 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn epoch(world: &World) -> i64 {
    world.count("SELECT epoch FROM partitions").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_whose_connection_broke_takes_its_lock_again() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let before = epoch(&world).await;
    let pid = format!("SELECT pid::int8 {HOLDER}");
    let holder = world.count(&pid).await;
    world.db.query(&format!("SELECT pg_terminate_backend(pid) {HOLDER}"), &[]).await.unwrap();
    world
        .until("the lock is held again", || async {
            let pids = world.db.query(&pid, &[]).await.unwrap();
            pids.first().is_some_and(|row| row.get::<_, i64>(0) != holder)
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(epoch(&world).await, before, "nothing had happened: nothing was to be opened anew");
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    world.drained().await;
}

/// A keeper in a process of its own.
struct KeeperProcess(Child);

impl KeeperProcess {
    fn start(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
        command
            .args(["run", "--role", "worker"])
            .args(["--redis-url", world.settings.redis_url.expose()])
            .env("DOORBUSTER_POSTGRES_URL", &world.postgres_url)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true);
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().unwrap().cast_signed()), signal).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_stands_still_is_evicted_and_harms_nothing_when_it_wakes() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    let before = epoch(&world).await;
    let frozen = KeeperProcess::start(&world);
    world.until("the process is keeper", || async { epoch(&world).await > before }).await;
    world.node = Some(Node::start(&world.settings).await.unwrap());
    assert!(world.node().wait_ready(Duration::from_secs(30)).await);
    let of_process = epoch(&world).await;
    frozen.signal(Signal::SIGSTOP);
    let client = world.client();
    world.until("another one has opened", || async { epoch(&world).await > of_process }).await;
    world
        .until("claims pass", || async {
            client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.status.is_success()
        })
        .await;
    let of_node = epoch(&world).await;
    frozen.signal(Signal::SIGCONT);
    for key in 0..20 {
        let reply = client.claim(&sale, "bob", &key.to_string(), &[("TEE", 1)]).await;
        assert!([202, 409].contains(&reply.status.as_u16()), "{reply:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(epoch(&world).await, of_node, "a keeper that woke late opened what was open");
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

async fn keeper(world: &World) -> Keeper {
    let redis = world.redis_client().await;
    Keeper {
        partition: Partition::new(0),
        redis: redis.clone(),
        pool: connect_pool(&world.postgres_url, 4, Duration::from_secs(10)).unwrap(),
        gate: Gate::watch(redis, Partition::new(0)),
        options: KeeperOptions {
            lease: world.settings.lease_ms.duration(),
            lease_renew: world.settings.lease_renew_ms.duration(),
            log_retention: world.settings.log_retention_s.duration(),
            sale_retention: world.settings.sale_retention_s.duration(),
            postgres_timeout: Duration::from_secs(10),
            reconcile: world.settings.reconcile_interval_ms.duration(),
            durability: keeper::DurabilityCheck {
                fsync: true,
                enforce: world.settings.durability_check == DurabilityCheck::Enforce,
            },
        },
        metrics: Metrics::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_over_and_the_keeper_goes_on_afterwards() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let client = world.client();
    let first = client.claim(&sale, "alice", "k", &[("TEE", 2)]).await;
    for buyer in 0..20 {
        client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
    }
    world.drained().await;
    // What only a rebuild puts right: nothing notices it by itself.
    world.redis_says(&["HSET", "{p0}:sale:demo:buyers", "alice", "gone"]).await;
    let before = epoch(&world).await;
    let told = Mutex::new(Vec::new());
    let progress = |progress: Progress| told.lock().unwrap().push(progress);
    let report = keeper(&world).await.rebuild_as_operator(None, &progress).await.unwrap();
    assert!(report.epoch > before && report.rebuilt.is_some(), "{report:?}");
    assert_eq!(told.lock().unwrap().last(), Some(&Progress { done: 21, total: 21 }));
    world.until("the node is keeper again", || async { epoch(&world).await > report.epoch }).await;
    world
        .until("the key is known", || async {
            let again = client.claim(&sale, "alice", "k", &[("TEE", 2)]).await;
            assert_ne!(again.status, 202, "the key was forgotten");
            again.status == 200 && again.id() == first.id()
        })
        .await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_accept_what_the_log_lost() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    for key in 0..3 {
        world.client().claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
    }
    world.drained().await;
    let log = world.redis_says(&["XRANGE", "{p0}:log", "-", "+"]).await;
    let last = log.lines().rfind(|line| line.parse::<EntryId>().is_ok()).unwrap();
    world.redis_says(&["XTRIM", "{p0}:log", "MINID", last]).await;
    world.stop_node().await;
    world.db.execute("UPDATE partitions SET watermark_ms = 5, watermark_seq = 0", &[]).await.unwrap();
    let keeper = keeper(&world).await;
    let refused = keeper.rebuild_as_operator(None, &|_| ()).await;
    assert!(matches!(refused, Err(OpenError::Gap { .. })), "{refused:?}");
    keeper.rebuild_as_operator(Operator::new("ada").as_ref(), &|_| ()).await.unwrap();
    world.start_node().await;
    assert_eq!(world.client().claim(&sale, "alice", "0", &[("TEE", 1)]).await.status, 200);
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_may_die_at_any_moment_of_an_opening() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.drained().await;
    let block = Block::persisting(&world).await;
    let mut orders = Vec::new();
    for key in 0..5 {
        let reply = world.client().claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
        orders.push(reply.id());
    }
    // Only the log has them.
    world.crash_node();
    block.release().await;
    for round in 0..16 {
        if round % 2 == 0 {
            // So that it is rebuilt.
            world.redis_says(&["DEL", "{p0}:sale:demo"]).await;
        }
        let before = epoch(&world).await;
        world.node = Some(Node::start(&world.settings).await.unwrap());
        world.until("it begins", || async { epoch(&world).await > before }).await;
        tokio::time::sleep(Duration::from_millis(8 * round)).await;
        world.crash_node();
    }
    world.start_node().await;
    for (key, order) in orders.iter().enumerate() {
        let again = world.client().claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
        assert_eq!((again.status.as_u16(), &again.id()), (200, order));
    }
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 5);
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_trimmed_under_us_is_opened_anew() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    world.drained().await;
    let before = epoch(&world).await;
    world.redis_says(&["XTRIM", "{p0}:log", "MAXLEN", "0"]).await;
    world.until("it is opened anew", || async { epoch(&world).await > before }).await;
    world
        .until("the key is known", || async {
            world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status == 200
        })
        .await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0, "nothing was lost");
}

/// A worker died between the commit of a confirmation and its settling, and the log was cut: nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_was_persisted_is_not_taken_for_lost() {
    let mut world = World::new().await;
    let sale = world.paid_sale("demo", 10, 600, json!({})).await;
    world.drained().await;
    // Counted from here.
    world.stop_node().await;
    world.start_node().await;
    let order = world.order(&sale, "alice").await;
    hear(&world.payment_desk(), order, &paid(1999)).await.unwrap();
    world.no_intents_open().await;
    world.drained().await;
    let before = epoch(&world).await;
    world.redis_says(&["HINCRBY", "{p0}:meta", "settled", "-1"]).await;
    world.redis_says(&["XTRIM", "{p0}:log", "MAXLEN", "0"]).await;
    world.until("it is opened anew", || async { epoch(&world).await > before }).await;
    world.order(&sale, "bob").await;
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_exist_nowhere_are_an_incident() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let block = Block::persisting(&world).await;
    for buyer in 0..5 {
        let reply = world.client().claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
    }
    // Workers have them in hand, and lose them with their process: written, but never committed.
    world.crash_node();
    let log = world.redis_says(&["XRANGE", "{p0}:log", "-", "+"]).await;
    let last = log.lines().rfind(|line| line.parse::<EntryId>().is_ok()).unwrap().to_owned();
    // Two of five stay: one that was delivered, perhaps; the judge refuses the gap, and says what is lost.
    let ids: Vec<&str> = log.lines().filter(|line| line.parse::<EntryId>().is_ok()).collect();
    world.redis_says(&["XTRIM", "{p0}:log", "MINID", ids[ids.len() - 2]]).await;
    block.release().await;
    let refused = keeper(&world).await.rebuild_as_operator(None, &|_| ()).await;
    assert!(matches!(refused, Err(OpenError::Gap { .. })), "{refused:?} {last}");
    let incident =
        "SELECT count(*) FROM incidents WHERE kind = 'entries_lost' AND detail LIKE '3 log entries%'";
    assert_eq!(world.count(incident).await, 1);
    let report =
        keeper(&world).await.rebuild_as_operator(Operator::new("ada").as_ref(), &|_| ()).await.unwrap();
    assert_eq!((report.entries_lost, report.drained.new_orders), (3, 2));
    assert_eq!(world.count(incident).await, 1, "once");
    let given_up = "SELECT count(*) FROM incidents WHERE kind = 'entries_lost'
                    AND detail LIKE 'ada gave up%: 3 entries are known%2 orders and % were persisted'";
    assert_eq!((world.count(given_up).await, world.count("SELECT count(*) FROM incidents").await), (1, 2));
    world.start_node().await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// The entry of the stream that a worker had in hand stands at the position of the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn orders_that_shared_an_entry_in_hand_are_not_taken_for_lost() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let block = Block::persisting(&world).await;
    let (redis, keys) = (world.redis_client().await, Keys::new(Partition::new(0)));
    let scripts = Gate::watch(redis.clone(), Partition::new(0)).wait_open().await;
    let claims: Vec<_> = (0..5).map(|buyer| claim(&sale, &format!("b-{buyer}"), "k")).collect();
    let batch = Batch::new(claims.iter(), 1000);
    batch.decide(&redis, &scripts, &keys, &keys.sale(&sale)).await.unwrap();
    world
        .until("a worker has them in hand", || async {
            world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await.lines().next() == Some("1")
        })
        .await;
    world.crash_node();
    block.release().await;
    world.start_node().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 5);
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_that_somebody_else_moved_is_not_raised() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let before = epoch(&world).await;
    // As in a database that came back a little older, but looks the same.
    world.db.execute("UPDATE partitions SET watermark_mark = 'XXXXXXXX'", &[]).await.unwrap();
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    world.until("it is opened anew", || async { epoch(&world).await > before }).await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// Somebody's lock on one database is not another's, and a keeper that is alive keeps its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_shop_is_not_taken_from_a_keeper_that_is_alive() {
    let world = World::with(|settings| settings.lease_ms = Millis::new(500)).await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let holder = format!("SELECT pid::int8 {HOLDER}");
    let before = world.count(&holder).await;
    let second = world.second_node(|settings| settings.role = Role::Worker).await;
    // Kept closed, and the keeper at work on it: the durability of this server is not enough.
    world.redis_says(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.redis_says(&["HGET", "{p0}:meta", "state"]).await, "opening");
    assert_eq!(world.count(&holder).await, before);
    second.stop().await;
}
