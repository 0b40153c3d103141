//! The fence: who may sell, and on what data.

use std::time::Duration;

use doorbuster::catalogue::SaleId;
use doorbuster::config::{DurabilityCheck, Role};
use doorbuster::log::EntryId;
use doorbuster::node::{Node, NodeError};

use crate::support::{Block, Client, World};

#[tokio::test(flavor = "multi_thread")]
async fn every_opening_has_a_higher_epoch_and_one_keeper() {
    let world = World::with_partitions(4).await;
    let epochs = || async { world.count("SELECT sum(epoch)::bigint FROM partitions").await };
    assert_eq!(epochs().await, 4);
    // A second candidate waits: nothing is opened again.
    let second = world.second_node(|settings| settings.role = Role::Worker).await;
    assert!(second.wait_ready(Duration::from_secs(5)).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(epochs().await, 4, "a second keeper opened what was open");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keeper_takes_over_when_the_first_is_gone() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let second = world.second_node(|settings| settings.role = Role::All).await;
    world.stop_node().await;
    world
        .until("the partition has a new epoch", || async {
            world.count("SELECT epoch FROM partitions").await >= 2
        })
        .await;
    let client = Client::new(second.api.unwrap());
    world
        .until("claims are accepted", || async {
            client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.status.is_success()
        })
        .await;
    second.stop().await;
}

/// Empties Redis in every way that leaves a server which answers; each must end in the same state.
#[tokio::test(flavor = "multi_thread")]
async fn what_redis_lost_is_rebuilt_from_postgres() {
    for partitions in [1, 4] {
        let losses: [&[&str]; 6] = [
            &["DEL", "{p0}:sale:demo"],
            &["DEL", "{p0}:sale:demo:buyers"],
            &["FLUSHALL"],
            &["DEL", "{p0}:log"],
            &["DEL", "{p0}:meta"],
            &["SCRIPT", "FLUSH"],
        ];
        for loss in losses {
            let mut world = World::with_partitions(partitions).await;
            let sale = world.open_sale("demo", &[("TEE", 40, Some(3)), ("MUG", 40, None)]).await;
            let client = world.client();
            let first = client.claim(&sale, "alice", "k", &[("TEE", 2), ("MUG", 1)]).await;
            assert_eq!(first.status, 202);
            for buyer in 0..20 {
                client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
            }
            world.drained().await;
            let epoch = world.count("SELECT sum(epoch)::bigint FROM partitions").await;
            world.redis_says(loss).await;
            // The loss is noticed by the next claim or renewal; until the keeper has opened, nothing is sold.
            world
                .until("the partition is opened anew", || async {
                    let reply = client.claim(&sale, "probe", "k", &[("MUG", 1)]).await;
                    assert!([202, 200, 503].contains(&reply.status.as_u16()), "{loss:?}: {reply:?}");
                    reply.status != 503
                        && world.count("SELECT sum(epoch)::bigint FROM partitions").await > epoch
                })
                .await;
            assert!(world.node().wait_ready(Duration::from_secs(10)).await);
            world
                .until("alice's partition is open", || async {
                    client.claim(&sale, "alice", "probe", &[("MUG", 50)]).await.status != 503
                })
                .await;
            let again = client.claim(&sale, "alice", "k", &[("TEE", 2), ("MUG", 1)]).await;
            assert_eq!(
                (again.status.as_u16(), again.id()),
                (200, first.id()),
                "{loss:?}: the key was forgotten"
            );
            let over = client.claim(&sale, "alice", "k2", &[("TEE", 2)]).await;
            assert_eq!(over.problem(), (409, "limit-reached"), "{loss:?}: the limit was forgotten");
            world.drained().await;
            for sku in ["TEE", "MUG"] {
                world.assert_balanced(&sale, sku).await;
            }
            // Its connections: a dozen worlds at once are more than one PostgreSQL has.
            world.stop_node().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_with_older_data_is_not_believed() {
    for partitions in [1, 4] {
        let mut world = World::with_short_lease(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        let client = world.client();
        let early = client.claim(&sale, "alice", "early", &[("TEE", 1)]).await;
        world.drained().await;
        let older = world.redis_data();
        // By a clock that ran ahead: what comes after it must not depend on the time.
        world.redis_says(&["XSETID", "{p0}:log", "4000000000000-0"]).await;
        let late = client.claim(&sale, "alice", "late", &[("TEE", 1)]).await;
        assert_eq!(late.status, 202);
        world.drained().await;
        world.redis.kill().await.unwrap();
        world.put_redis_data(&older);
        world.redis.restart().await.unwrap();
        world.start_anew_after_redis().await;
        for (key, first) in [("early", &early), ("late", &late)] {
            let again = client.claim(&sale, "alice", key, &[("TEE", 1)]).await;
            assert_eq!((again.status.as_u16(), again.id()), (200, first.id()), "{key}");
        }
        let new = client.claim(&sale, "alice", "new", &[("TEE", 1)]).await;
        assert_eq!(new.status, 202);
        assert!(new.id() > late.id(), "an id was given twice, or went back");
        world.drained().await;
        world.assert_balanced(&sale, "TEE").await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_only_the_log_has_are_drained_by_an_opening() {
    for partitions in [1, 4] {
        let mut world = World::with_short_lease(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
        world.drained().await;
        let block = Block::persisting(&world).await;
        let client = world.client();
        for buyer in 0..5 {
            assert_eq!(client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await.status, 202);
        }
        // Longer than the watermark takes to pass what was settled: here nothing was.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        // Every process dies; the group's pending entries belong to names that never come back.
        world.redis.kill().await.unwrap();
        world.crash_node();
        block.release().await;
        world.redis.restart().await.unwrap();
        world.start_node().await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 5, "open before the log was drained");
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_older_than_the_log_is_refused() {
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
    let node = Node::start(&world.settings).await.unwrap();
    assert_stays_closed(&world, &node, &sale).await;
    assert_eq!(
        world.redis_says(&["HEXISTS", "{p0}:sale:demo:buyers", "alice"]).await,
        "1",
        "destroyed what it refused"
    );
    node.stop().await;
}

/// A keeper is at work, and refuses.
async fn assert_stays_closed(world: &World, node: &Node, sale: &SaleId) {
    let state = || async { world.redis_says(&["HGET", "{p0}:meta", "state"]).await };
    world.until("the keeper is at work", || async { state().await == "opening" }).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(state().await, "opening");
        let reply = Client::new(node.api.unwrap()).claim(sale, "alice", "0", &[("TEE", 1)]).await;
        assert_eq!(reply.problem(), (503, "unavailable"));
        assert!(reply.retry_after().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weaker_servers_are_refused_unless_told() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    world.redis_says(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
    let node = Node::start(&world.settings).await.unwrap();
    assert_stays_closed(&world, &node, &sale).await;
    node.stop().await;
    world.settings.durability_check = DurabilityCheck::Warn;
    world.start_node().await;
    world.stop_node().await;
    world.redis_says(&["CONFIG", "SET", "appendfsync", "always"]).await;
    world.settings.durability_check = DurabilityCheck::Enforce;
    world.start_node().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_partitions_is_fixed_while_sales_exist() {
    let mut world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    world.settings.partitions = 2;
    let refused = Node::start(&world.settings).await;
    assert!(matches!(refused, Err(NodeError::Partitions(_))));
}
