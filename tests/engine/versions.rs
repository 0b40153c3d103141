//! Nodes of unlike versions beside each other, and what a node may load where no keeper watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbuster::claim::{ClaimError, Decision};
use doorbuster::config::Role;
use doorbuster::gate::Gate;
use doorbuster::partition::Partition;
use doorbuster::postgres::PartitionLock;
use doorbuster::redis::{Keys, Script, ScriptTexts, StampedScripts};

use crate::support::claims::{claim, intake};
use crate::support::{PATIENCE, World};

const PARTITION: Partition = Partition::new(0);

fn other_version() -> ScriptTexts {
    ScriptTexts::changed(|_, text| format!("{text}-- of another version\n"))
}

/// Whether Redis knows the claim script of these texts under the current stamp.
async fn is_loaded(world: &World, texts: &ScriptTexts) -> bool {
    let stamp = world.redis_says(&["HGET", "{p0}:meta", "stamp"]).await.parse().unwrap();
    let scripts = StampedScripts::of(texts.clone(), stamp);
    world.redis_says(&["SCRIPT", "EXISTS", scripts.digest(Script::Claim)]).await == "1"
}

/// What Redis says of an open partition whose keeper is gone, with a lease that protects nothing.
async fn stop_keeper(world: &mut World) {
    world.stop_node().await;
    lengthen_lease(world).await;
}

async fn lengthen_lease(world: &World) {
    world.redis_says(&["HSET", "{p0}:meta", "lease_until", &i64::MAX.to_string()]).await;
}

async fn stays_closed(gate: &Gate) {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(gate.open().is_none(), "open on a server that nobody has opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_versions_sell_beside_each_other() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 1_000_000, None)]).await;
    let epoch = world.node().epochs();
    let lease = || async { world.redis_says(&["HGET", "{p0}:meta", "lease_until"]).await };
    let stop = Arc::new(AtomicBool::new(false));
    let older = tokio::spawn({
        let (client, sale, stop) = (world.client(), sale.clone(), stop.clone());
        async move {
            let mut orders = 0;
            while !stop.load(Ordering::Relaxed) {
                let reply = client.claim(&sale, "alice", &format!("k{orders}"), &[("TEE", 1)]).await;
                match reply.problem() {
                    (202, _) => orders += 1,
                    // A hundred orders are enough for one buyer.
                    (409, "limit-reached") => return orders,
                    _ => panic!("the older node is disturbed: {reply:?}"),
                }
            }
            orders
        }
    });
    assert!(!is_loaded(&world, &other_version()).await);
    let lease_before = lease().await;
    let redis = world.redis_client().await;
    let mut gate = Gate::watch_as(redis.clone(), PARTITION, other_version());
    tokio::time::timeout(PATIENCE, gate.wait_open()).await.unwrap();
    let newer = intake(&redis, &gate, &sale);
    for key in 0..50 {
        let decided = newer.decide(claim(&sale, "bob", &key.to_string())).await;
        assert!(matches!(decided, Ok(Decision::Accepted(_))), "{decided:?}");
    }
    world.until("the keeper renews", || async { lease().await > lease_before }).await;
    stop.store(true, Ordering::Relaxed);
    assert!(older.await.unwrap() > 0);
    // The other node's orders are known here, and nothing was opened anew.
    assert_eq!(world.client().claim(&sale, "bob", "0", &[("TEE", 1)]).await.status, 200);
    assert_eq!(world.node().epochs(), epoch);
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_works_under_a_keeper_of_another_version() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    stop_keeper(&mut world).await;
    let keys = Keys::new(PARTITION);
    let stamp = world.redis_says(&["HGET", "{p0}:meta", "stamp"]).await.parse().unwrap();
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    let session = world.redis_client().await.session().await.unwrap();
    session.load_scripts(&StampedScripts::of(other_version(), stamp), &keys.meta).await.unwrap();
    assert!(!is_loaded(&world, &ScriptTexts::default()).await);
    let node = world.second_node(|settings| settings.role = Role::Api).await;
    assert!(node.wait_ready(PATIENCE).await);
    let client = crate::support::Client::new(node.api.unwrap());
    assert_eq!(client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_brings_back_scripts_that_were_flushed() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    stop_keeper(&mut world).await;
    let redis = world.redis_client().await;
    let mut gate = Gate::watch(redis.clone(), PARTITION);
    gate.wait_open().await;
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    // A node that had it open finds out with its next claim,
    let decided = intake(&redis, &gate, &sale).decide(claim(&sale, "alice", "k")).await;
    assert_eq!(decided, Err(ClaimError::Fenced));
    // one that comes now never opens.
    let late = Gate::watch_as(redis.clone(), PARTITION, other_version());
    let late_too = Gate::watch(redis, PARTITION);
    for gate in [&gate, &late, &late_too] {
        stays_closed(gate).await;
    }
    for texts in [ScriptTexts::default(), other_version()] {
        assert!(!is_loaded(&world, &texts).await, "a node has loaded its scripts again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_is_closed_whatever_it_says() {
    let mut world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    stop_keeper(&mut world).await;
    let redis = world.redis_client().await;
    let mut watching = Gate::watch_as(redis.clone(), PARTITION, other_version());
    watching.wait_open().await;
    world.redis.kill().await.unwrap();
    world.redis.restart().await.unwrap();
    lengthen_lease(&world).await;
    assert_eq!(world.redis_says(&["HGET", "{p0}:meta", "state"]).await, "open");
    let late = Gate::watch_as(world.redis_client().await, PARTITION, other_version());
    stays_closed(&late).await;
    for texts in [ScriptTexts::default(), other_version()] {
        assert!(!is_loaded(&world, &texts).await, "a node has loaded its scripts into another process");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_layout_are_left_alone() {
    let mut world = World::new().await;
    stop_keeper(&mut world).await;
    let redis = world.redis_client().await;
    let layout = world.redis_says(&["HGET", "{p0}:meta", "layout"]).await;
    world.redis_says(&["HSET", "{p0}:meta", "layout", "another"]).await;
    let mut gate = Gate::watch(redis, PARTITION);
    stays_closed(&gate).await;
    world.redis_says(&["HSET", "{p0}:meta", "layout", &layout]).await;
    tokio::time::timeout(PATIENCE, gate.wait_open()).await.unwrap();
}

/// The orders of layout 1 have an entry of the stream each, as a call with one claim has it now.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_keeper_opens_what_an_older_one_has_written() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let accepted = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(accepted.status, 202);
    let layout = world.redis_says(&["HGET", "{p0}:meta", "layout"]).await;
    world.stop_node().await;
    world.redis_says(&["HSET", "{p0}:meta", "layout", "1"]).await;
    world.start_node().await;
    assert_eq!(world.redis_says(&["HGET", "{p0}:meta", "layout"]).await, layout);
    let again = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.location(), accepted.location());
    world.assert_balanced(&sale, "TEE").await;
}

/// A rolling upgrade to a version with another layout, as when it writes entries of a new kind: the last node of before
/// finds itself alone for a moment. It must neither keep the partition from the newer one nor touch what that one wrote.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_keeper_leaves_a_newer_layout_to_whoever_knows_it() {
    let mut world = World::with_short_lease(1).await;
    let layout = world.redis_says(&["HGET", "{p0}:meta", "layout"]).await;
    world.stop_node().await;
    world.redis_says(&["HSET", "{p0}:meta", "layout", "another"]).await;
    world.redis_says(&["XADD", "{p0}:log", "*", "transfer", "00000000 of a later kind"]).await;
    let epoch = world.count("SELECT epoch FROM partitions").await;
    let older = world.second_node(|_| {}).await;

    let lock = format!("SELECT pg_try_advisory_lock({}, 0)", PartitionLock::Keeper.class());
    let is_held = async || {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
                    AND classid::bigint = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let class = i64::from(PartitionLock::Keeper.class());
        world.db.query_one(held, &[&class]).await.unwrap().get::<_, i64>(0) > 0
    };
    // Its first try may still be to come.
    world.until("the older node has stood for keeper", || async { is_held().await }).await;
    world
        .until("the older node lets go of the lock", || async {
            world.db.query_one(&lock, &[]).await.unwrap().get::<_, bool>(0)
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(older.epochs()[0].is_none(), "the partition is open to a version that does not know it");
    assert_eq!(
        world.count("SELECT epoch FROM partitions").await,
        epoch,
        "the newer version's workers are put off"
    );
    assert_eq!(
        world.count("SELECT count(*) FROM dead_letters").await,
        0,
        "a newer version would have read it"
    );

    // The same entry in a log of its own layout is poison, and stops nobody.
    world.redis_says(&["HSET", "{p0}:meta", "layout", &layout]).await;
    world.db.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    world.until("the older node opens what it knows", || async { older.epochs()[0].is_some() }).await;
    world
        .until("what nobody can read is a dead letter", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 1
        })
        .await;
    older.stop().await;
}
