//! From the log into Postgres: workers that race, die, and meet what they cannot read.

use std::time::Duration;

use doorbuster::config::{Millis, Role};
use doorbuster::log::{EntryId, RawEntry};
use doorbuster::partition::Partition;
use doorbuster::persist::{Fence, KnownItems, persist};
use doorbuster::postgres::connect_pool;

use crate::support::{Block, World};

#[tokio::test(flavor = "multi_thread")]
async fn two_worker_nodes_race_and_every_order_is_written_once() {
    for partitions in [1, 4] {
        let world = World::with(|settings| {
            settings.partitions = partitions;
            settings.persist_batch_max = 7;
        })
        .await;
        let second = world.second_node(|settings| settings.role = Role::Worker).await;
        let sale = world.open_sale("demo", &[("TEE", 400, None), ("MUG", 400, None)]).await;
        let client = world.client();
        let claims: Vec<_> = (0..300)
            .map(|buyer| {
                let (client, sale) = (client.clone(), sale.clone());
                let items = if buyer % 2 == 0 { [("TEE", 1), ("MUG", 1)] } else { [("MUG", 1), ("TEE", 1)] };
                tokio::spawn(async move { client.claim(&sale, &format!("buyer-{buyer}"), "k", &items).await })
            })
            .collect();
        for claim in claims {
            assert_eq!(claim.await.unwrap().status, 202);
        }
        world.drained().await;
        assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 300);
        assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
        for sku in ["TEE", "MUG"] {
            world.assert_balanced(&sale, sku).await;
        }
        second.stop().await;
    }
}

/// A worker remembers prices, and finds them by an item's place in the batch.
#[tokio::test(flavor = "multi_thread")]
async fn each_line_has_the_price_of_its_own_item() {
    let mut world = World::new().await;
    let items = [("A", 100, None), ("B", 100, None), ("C", 100, None)];
    for sale in ["one", "two"] {
        world.open_sale(sale, &items).await;
    }
    world.drained().await;
    world.stop_node().await;
    world
        .db
        .batch_execute(
            "UPDATE sale_items SET price = 10 * length(sale_id || sku) + ascii(sku) + ascii(sale_id)",
        )
        .await
        .unwrap();
    let pool = connect_pool(&world.postgres_url, 2, Duration::from_secs(10)).unwrap();
    let fence = Fence::new(Partition::new(0), world.count("SELECT epoch FROM partitions").await);
    let known = KnownItems::default();
    let mut seq = 0;
    // Nothing is known of the first batch's items, a part of the second's, all of the third's.
    for batch in [["one A:1,B:2", "one B:1"], ["two B:3", "one C:1,A:1"], ["two B:1", "one B:1,A:2,C:3"]] {
        let entries = batch.map(|order| {
            let (sale, lines) = order.split_once(' ').unwrap();
            seq += 1;
            let text = format!("{seq:08} 0000000000000001 {sale} buyer-{seq} k {lines}");
            RawEntry::from_fields(EntryId { ms: 1, seq }, vec![b"order".to_vec(), text.into_bytes()])
        });
        let applied = persist(&pool, fence, &known, &entries, Duration::from_secs(10)).await.unwrap();
        assert_eq!(applied.new_orders, 2);
    }
    let lines = "SELECT count(*) FROM order_lines l JOIN orders o ON o.id = l.order_id
                 JOIN sale_items i ON i.sale_id = o.sale_id AND i.sku = l.sku AND i.price = l.unit_price";
    assert_eq!(world.count(lines).await, 10, "lines with the price of their item");
    assert_eq!(world.count("SELECT count(DISTINCT unit_price) FROM order_lines").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_between_good_entries_is_set_apart_and_stops_nobody() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
        let client = world.client();
        let block = Block::persisting(&world).await;
        let order = |sku: &str| format!("00000000 0000000000000001 demo mallory k-{sku} {sku}:1");
        for i in 0..20 {
            assert_eq!(client.claim(&sale, &format!("b-{i}"), "k", &[("TEE", 1)]).await.status, 202);
            for partition in 0..partitions {
                let log = format!("{{p{partition}}}:log");
                match i {
                    3 => drop(world.redis_says(&["XADD", &log, "*", "order", "not an order"]).await),
                    // Readable, but the sale has no such item: only the database knows.
                    7 => drop(world.redis_says(&["XADD", &log, "*", "order", &order("NOTHING")]).await),
                    11 => drop(world.redis_says(&["XADD", &log, "*", "a", "b", "c", "d"]).await),
                    _ => {}
                }
            }
        }
        block.release().await;
        world
            .until("all good orders and all poison are in the database", || async {
                world.count("SELECT count(*) FROM orders").await == 20
                    && world.count("SELECT count(*) FROM dead_letters WHERE ended_at IS NULL").await
                        == 3 * i64::from(partitions)
            })
            .await;
        let errors =
            world.db.query("SELECT error, fields FROM dead_letters ORDER BY entry_ms", &[]).await.unwrap();
        assert!(errors.iter().all(|row| !row.get::<_, &str>(0).is_empty()));
        assert!(errors.iter().any(|row| row.get::<_, Vec<Vec<u8>>>(1) == [&b"order"[..], b"not an order"]));
        assert_eq!(world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await.lines().next(), Some("0"));
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_dead_consumer_are_taken_over() {
    let world = World::with(|settings| settings.persist_idle_ms = Millis::new(500)).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.drained().await;
    // A consumer that took entries and died: nobody but XAUTOCLAIM gives them to another.
    let block = Block::persisting(&world).await;
    let client = world.client();
    for i in 0..5 {
        assert_eq!(client.claim(&sale, &format!("b-{i}"), "k", &[("TEE", 1)]).await.status, 202);
    }
    let pending = world.redis_says(&["XPENDING", "{p0}:log", "persist", "-", "+", "100"]).await;
    let ids: Vec<&str> = pending
        .lines()
        .filter(|line| line.contains('-') && line.len() > 10 && line.starts_with('1'))
        .collect();
    for id in &ids {
        world.redis_says(&["XCLAIM", "{p0}:log", "persist", "dead", "0", id, "JUSTID"]).await;
    }
    world
        .redis_says(&["XREADGROUP", "GROUP", "persist", "dead", "COUNT", "100", "STREAMS", "{p0}:log", ">"])
        .await;
    block.release().await;
    world
        .until("the orders are written", || async { world.count("SELECT count(*) FROM orders").await == 5 })
        .await;
    world
        .until("nothing is pending", || async {
            world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await.lines().next() == Some("0")
        })
        .await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_batch_calls_the_reserve() {
    let world = World::with(|settings| {
        settings.persist_workers = 3;
        settings.persist_batch_max = 2;
    })
    .await;
    world.drained().await;
    let block = Block::writing(&world, "dead_letters").await;
    // All at once, so that the first read leaves others; what they say does not matter.
    let script = "for i = 1, 10 do redis.call('XADD', KEYS[1], '*', 'order', 'not an order') end";
    world.redis_says(&["EVAL", script, "1", "{p0}:log"]).await;
    // How many, the lowest and the highest, then each consumer that has some, with their number.
    let pending = || async { world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await.lines().count() };
    world.until("three workers have a batch", || async { pending().await == 3 + 2 * 3 }).await;
    block.release().await;
    world
        .until("all are set apart", || async { world.count("SELECT count(*) FROM dead_letters").await == 10 })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_reply_that_was_lost_are_asked_for_again() {
    let world = World::with(|settings| {
        settings.persist_workers = 1;
        // Out of the way: here nobody takes over.
        settings.persist_idle_ms = Millis::new(600_000);
    })
    .await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.drained().await;
    let epoch = world.count("SELECT epoch FROM partitions").await;
    let pending = || async {
        world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await.lines().next().map(str::to_owned)
    };
    let block = Block::persisting(&world).await;
    let client = world.client();
    client.claim(&sale, "alice", "1", &[("TEE", 1)]).await;
    world.until("the worker has a batch", || async { pending().await.as_deref() == Some("1") }).await;
    client.claim(&sale, "alice", "2", &[("TEE", 1)]).await;
    // Redis gives the entry to the worker, which never hears of it.
    let consumers = world.redis_says(&["XINFO", "CONSUMERS", "{p0}:log", "persist"]).await;
    let worker = consumers.lines().nth(1).unwrap();
    let delivered =
        world.redis_says(&["XREADGROUP", "GROUP", "persist", worker, "STREAMS", "{p0}:log", ">"]).await;
    assert!(delivered.contains("alice 2"), "{delivered:?} of {consumers:?}");
    block.release().await;
    world
        .until("both orders are written once the connection broke", || async {
            world.redis_says(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.count("SELECT count(*) FROM orders").await == 2
        })
        .await;
    world.until("nothing is pending", || async { pending().await.as_deref() == Some("0") }).await;
    assert_eq!(world.count("SELECT epoch FROM partitions").await, epoch, "drained by an opening instead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_never_was_is_refused_by_the_gate_and_takes_no_other_order_with_it() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 3, None), ("MUG", 10, None)]).await;
    world.drained().await;
    let block = Block::persisting(&world).await;
    // Two phantom units: redis now believes in five, the database in three.
    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "2"]).await;
    let client = world.client();
    for i in 0..5 {
        let reply = client.claim(&sale, &format!("b-{i}"), "k", &[("TEE", 1), ("MUG", 1)]).await;
        assert_eq!(reply.status, 202);
    }
    block.release().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'over_allotment'").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM incidents WHERE kind = 'over_allotment'").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM order_lines WHERE refused").await, 2);
    // The refused lines stay gone, the mugs of the cancelled orders come back, once.
    world.until("the mugs are back", || async { world.stock(&sale, "MUG").await == 7 }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.drained().await;
    for sku in ["TEE", "MUG"] {
        world.assert_balanced(&sale, sku).await;
    }
    // Their keys still name their orders.
    let cancelled =
        world.db.query_one("SELECT buyer FROM orders WHERE state = 'cancelled' LIMIT 1", &[]).await;
    let buyer: String = cancelled.unwrap().get(0);
    let again = client.claim(&sale, &buyer, "k", &[("TEE", 1), ("MUG", 1)]).await;
    assert_eq!(again.status, 200);
    let order = client.get(again.location(), &buyer).await;
    assert_eq!(
        (&order.body["state"], &order.body["cancel_reason"]),
        (&"cancelled".into(), &"over_allotment".into())
    );
    // A rebuild does not take the refused units for sold ones either.
    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    world.start_node().await;
    for sku in ["TEE", "MUG"] {
        world.assert_balanced(&sale, sku).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_order_of_one_key_ends_as_cancelled_and_its_unit_comes_back() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    let first = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    // Redis forgets the key, as after coming back with older data, and sells again.
    world.redis_says(&["HDEL", "{p0}:sale:demo:buyers", "alice"]).await;
    let second = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(second.status, 202);
    assert_ne!(first.id(), second.id());
    world.until("the second unit is back", || async { world.stock(&sale, "TEE").await == 9 }).await;
    world.drained().await;
    assert_eq!(client.get(first.location(), "alice").await.body["state"], "confirmed");
    let second = client.get(second.location(), "alice").await;
    assert_eq!(
        (&second.body["state"], &second.body["cancel_reason"]),
        (&"cancelled".into(), &"duplicate".into())
    );
    assert_eq!(world.count("SELECT count(*) FROM incidents WHERE kind = 'duplicate_order'").await, 1);
    world.assert_balanced(&sale, "TEE").await;
}
