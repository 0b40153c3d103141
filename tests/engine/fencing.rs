//! What is refused once a partition was opened anew: stamps, batches, and nothing more than those.

use std::time::Duration;

use doorbuster::claim::Decision;
use doorbuster::gate::Gate;
use doorbuster::log::{EntryId, RawEntry, read_range};
use doorbuster::partition::Partition;
use doorbuster::persist::{Fence, KnownItems, WriteError, persist};
use doorbuster::postgres::connect_pool;
use doorbuster::redis::{Keys, Redis, Stamp, StampedScripts};

use crate::support::claims::{claim, intake};
use crate::support::{Block, PATIENCE, World};

const PARTITION: Partition = Partition::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_read_under_an_older_epoch_is_given_up() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    world.stop_node().await;
    let order = format!("00000000 0000000000000001 {sale} alice k TEE:1");
    for entry in [order.as_str(), "poison"] {
        world.redis_says(&["XADD", "{p0}:log", "*", "order", entry]).await;
    }
    let batch = read_range(&world.redis_client().await, &Keys::new(PARTITION), EntryId::ZERO, 100).await;
    let batch = batch.unwrap();
    let (order, poison) = (&batch[batch.len() - 2..batch.len() - 1], &batch[batch.len() - 1..]);
    let pool = connect_pool(&world.postgres_url, 2, Duration::from_secs(10)).unwrap();
    let current = world.count("SELECT epoch FROM partitions").await;
    let older = Fence::new(PARTITION, current - 1);
    for batch in [order, poison] {
        let given_up = persist(&pool, older, &KnownItems::default(), batch, PATIENCE).await;
        assert!(matches!(given_up, Err(WriteError::Superseded(epoch)) if epoch == current), "{given_up:?}");
    }
    let written = || async { world.count("SELECT count(*) FROM orders").await };
    assert_eq!((written().await, world.count("SELECT count(*) FROM dead_letters").await), (0, 0));
    let applied = persist(&pool, Fence::new(PARTITION, current), &KnownItems::default(), order, PATIENCE)
        .await
        .unwrap();
    assert_eq!((applied.new_orders, written().await), (1, 1));
}

/// An entry that another worker has persisted meanwhile, in a batch that is taken for new; and a second order of one key,
/// which must not be set apart as one that cannot be persisted.
#[tokio::test(flavor = "multi_thread")]
async fn known_orders_are_found_in_a_batch_that_is_taken_for_new() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    world.stop_node().await;
    for buyer in ["alice", "bob", "carol", "alice"] {
        let order = format!("00000000 0000000000000001 {sale} {buyer} k TEE:1");
        world.redis_says(&["XADD", "{p0}:log", "*", "order", &order]).await;
    }
    let batch =
        read_range(&world.redis_client().await, &Keys::new(PARTITION), EntryId::ZERO, 100).await.unwrap();
    let orders = &batch[batch.len() - 4..];
    let pool = connect_pool(&world.postgres_url, 2, Duration::from_secs(10)).unwrap();
    let fence = Fence::new(PARTITION, world.count("SELECT epoch FROM partitions").await);
    let mut new = Vec::new();
    for batch in [&orders[1..2], orders, orders] {
        new.push(persist(&pool, fence, &KnownItems::default(), batch, PATIENCE).await.unwrap().new_orders);
    }
    assert_eq!(new, [1, 2, 0]);
    assert_eq!(world.count("SELECT sold FROM sale_stock").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'duplicate'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
}

/// Postgres refuses the first of many rows while the others are still being sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_known_order_is_found_in_front_of_thousands() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10_000, None)]).await;
    world.drained().await;
    world.stop_node().await;
    let entry = |seq: u32| {
        let order = format!("{seq:08} 0000000000000001 {sale} buyer-{seq} k TEE:1");
        RawEntry::from_fields(EntryId { ms: 1, seq }, vec![b"order".to_vec(), order.into_bytes()])
    };
    let orders: Vec<_> = (0..5000).map(entry).collect();
    let pool = connect_pool(&world.postgres_url, 2, Duration::from_secs(10)).unwrap();
    let fence = Fence::new(PARTITION, world.count("SELECT epoch FROM partitions").await);
    let items = KnownItems::default();
    for (batch, new) in [(&orders[..1], 1), (&orders[..], 4999)] {
        assert_eq!(persist(&pool, fence, &items, batch, PATIENCE).await.unwrap().new_orders, new);
    }
    assert_eq!(world.count("SELECT sold FROM sale_stock").await, 5000);
    assert_eq!(world.count("SELECT count(*) FROM order_lines WHERE unit_price > 0").await, 5000);
}

/// Else a batch could be committed behind the drain, and what Redis is rebuilt from would not count it.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_waits_for_the_batch_that_is_being_written() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let epoch = || async { world.count("SELECT epoch FROM partitions").await };
    let before = epoch().await;
    let block = Block::persisting(&world).await;
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    let writing = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
    world.until("the batch is being written", || async { world.count(writing).await == 1 }).await;
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(epoch().await, before, "opened over a batch in flight");
    block.release().await;
    world.until("the partition is opened anew", || async { epoch().await > before }).await;
    world
        .until("the order is there", || async { world.count("SELECT count(*) FROM orders").await == 1 })
        .await;
}

/// What a keeper does at the end of an opening, at once: from one command to the next only `stamp` is served.
async fn take_over(redis: &Redis, keys: &Keys, stamp: Stamp) {
    redis.session().await.unwrap().load_scripts(&StampedScripts::new(stamp), &keys.meta).await.unwrap();
    let fields = ["stamp".into(), stamp.to_string().into(), "lease_until".into(), i64::MAX.into()];
    redis.on_key("HSET", &keys.meta, fields.to_vec()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_meets_the_next_opening_is_sent_again_under_its_stamp() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    let (redis, keys) = (world.redis_client().await, Keys::new(PARTITION));
    let mut gate = Gate::watch(redis.clone(), PARTITION);
    let older = gate.wait_open().await.stamp;
    let intake = intake(&redis, &gate, &sale);
    take_over(&redis, &keys, Stamp { nonce: older.nonce ^ 1, ..older }).await;
    // The gate looks again in half a second: until then this node knows only the older stamp.
    let decided = intake.decide(claim(&sale, "alice", "1")).await;
    assert!(matches!(decided, Ok(Decision::Accepted(_))), "{decided:?}");
}

/// As at a restart of Postgres, which closes a partition twice: to catch up, and to be opened anew.
#[tokio::test(flavor = "multi_thread")]
async fn claims_wait_for_each_opening_of_several() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.stop_node().await;
    let (redis, keys) = (world.redis_client().await, Keys::new(PARTITION));
    let mut gate = Gate::watch(redis.clone(), PARTITION);
    let first = gate.wait_open().await.stamp;
    let intake = intake(&redis, &gate, &sale);
    // An open gate is looked at twice a second: together longer than a claim waits for one opening.
    for round in 1..=4 {
        world.redis_says(&["HSET", "{p0}:meta", "state", "closed"]).await;
        world.until("the gate is closed", || async { gate.open().is_none() }).await;
        let claimed = tokio::spawn({
            let (intake, claim) = (intake.clone(), claim(&sale, "alice", &round.to_string()));
            async move { intake.decide(claim).await }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        take_over(&redis, &keys, Stamp { epoch: first.epoch + round, ..first }).await;
        world.redis_says(&["HSET", "{p0}:meta", "state", "open"]).await;
        let decided = claimed.await.unwrap();
        assert!(matches!(decided, Ok(Decision::Accepted(_))), "opening {round}: {decided:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_was_refused_is_not_used_again_without_a_lease() {
    let mut world = World::with_short_lease(1).await;
    world.stop_node().await;
    let (redis, keys) = (world.redis_client().await, Keys::new(PARTITION));
    let mut gate = Gate::watch(redis.clone(), PARTITION);
    let older = gate.wait_open().await.stamp;
    world.redis_says(&["HSET", "{p0}:meta", "lease_until", "1"]).await;
    gate.refused(&older);
    world.until("the gate is closed", || async { gate.open().is_none() }).await;
    // Redis still names it: a server that came back with older data would, too.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(gate.open().is_none(), "a refused stamp is used again");
    }
    let newer = Stamp { nonce: older.nonce ^ 1, ..older };
    take_over(&redis, &keys, newer).await;
    assert_eq!(gate.wait_open().await.stamp, newer);
}

/// As where a connection still leads to the primary of before a failover: what it refuses the new one would take.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_forgotten_where_the_keeper_goes_on() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let gate = Gate::watch(world.redis_client().await, PARTITION);
    let stamp = gate.clone().wait_open().await.stamp;
    gate.refused(&stamp);
    world.until("the gate is closed", || async { gate.open().is_none() }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(gate.open().is_none(), "a stamp that was refused a moment ago is used again");
    let again = tokio::time::timeout(Duration::from_secs(10), gate.clone().wait_open()).await;
    assert_eq!(again.expect("the refusal stays for ever").stamp, stamp);
    assert_eq!(world.client().claim(&sale, "b-1", "k", &[("TEE", 1)]).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_marker_a_stamp_that_was_refused_stays_closed() {
    let mut world = World::new().await;
    world.stop_node().await;
    let gate = Gate::watch(world.redis_client().await, PARTITION);
    let stamp = gate.clone().wait_open().await.stamp;
    // A server that was restarted within its lease: all is as `meta` says, but its scripts are gone.
    world.redis_says(&["HSET", "{p0}:meta", "lease_until", "99999999999999"]).await;
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    gate.refused(&stamp);
    world.until("the gate is closed", || async { gate.open().is_none() }).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(gate.open().is_none(), "a server without scripts counts as opened");
    }
}
