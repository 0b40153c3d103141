//! A Postgres that comes back from a backup is made whole by the log: same ids, same times, the same everything.

use std::time::Duration;

use doorbuster::catalogue::{ControlAction, SaleId};
use doorbuster::config::Millis;
use doorbuster::order_id::OrderId;

use crate::support::backup::Backup;
use crate::support::{Block, Reply, World, assert_same};

/// What an operator's cancel does in Postgres, in one transaction.
async fn cancel(world: &mut World, order: &Reply) {
    let id: OrderId = order.id().parse().unwrap();
    let (uuid, cause) = (id.to_uuid(), format!("return:{id}"));
    let tx = world.db.transaction().await.unwrap();
    let ended = "UPDATE orders SET state = 'cancelled', cancel_reason = 'operator' WHERE id = $1";
    tx.execute(ended, &[&uuid]).await.unwrap();
    tx.execute(
        "UPDATE sale_stock s SET sold = sold - l.quantity FROM order_lines l
         WHERE l.order_id = $1 AND s.sale_id = 'early' AND s.sku = l.sku",
        &[&uuid],
    )
    .await
    .unwrap();
    tx.execute(
        "INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
         SELECT $1, 'return', 'early', 0, $2, jsonb_object_agg(sku, quantity), 'operator', 'test'
         FROM order_lines WHERE order_id = $2",
        &[&cause, &uuid],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// Adds units to a sale, as an operator might.
async fn raise_allotment(world: &World, sku: &str, units: i64) {
    world
        .db
        .batch_execute(&format!(
            "BEGIN;
             UPDATE sale_stock SET allotted = allotted + {units} WHERE sale_id = 'early' AND sku = '{sku}';
             INSERT INTO stock_intents (cause, kind, sale_id, partition, lines, reason, actor)
             VALUES ('allotment:early:0:more', 'allotment', 'early', 0, '{{\"{sku}\": {units}}}', 'allotment', 'test');
             COMMIT"
        ))
        .await
        .unwrap();
}

/// An entry that no claim wrote.
async fn add_entry(world: &World, field: &str, value: &str) {
    world.append(field, value).await;
}

async fn accept(world: &World, sale: &SaleId, buyer: &str, key: &str, items: &[(&str, u64)]) -> Reply {
    let reply = world.client().claim(sale, buyer, key, items).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply
}

/// Before a backup is taken.
async fn early_orders(world: &World) -> (SaleId, Reply) {
    let early = world.open_sale("early", &[("TEE", 20, Some(6)), ("MUG", 10, None)]).await;
    let first = accept(world, &early, "alice", "k", &[("TEE", 3), ("MUG", 1)]).await;
    accept(world, &early, "bob", "k", &[("MUG", 2)]).await;
    world.drained().await;
    (early, first)
}

/// After it: everything that the log can hold. Tells the orders of the sale that the backup does not know.
async fn later_events(world: &mut World, early: &SaleId, first: &Reply) -> (SaleId, Reply) {
    accept(world, early, "carol", "k", &[("TEE", 6)]).await;
    // A sale that the backup does not know, changed twice; with a product that it knows by an older text.
    world
        .db
        .batch_execute("UPDATE products SET name = 'Tee', updated_at = now() WHERE sku = 'TEE'")
        .await
        .unwrap();
    let late = world.open_sale("late", &[("CUP", 5, Some(2)), ("TEE", 7, None)]).await;
    let in_late = accept(world, &late, "dave", "k", &[("CUP", 2), ("TEE", 1)]).await;
    world.control(&late, ControlAction::Pause).await;
    world.control(&late, ControlAction::Resume).await;
    world.control(early, ControlAction::Pause).await;
    world.control(early, ControlAction::Resume).await;
    accept(world, &late, "erin", "k", &[("TEE", 6)]).await;
    // Cancels: of an order that the backup has, and of one that it has not.
    let lost = accept(world, early, "frank", "k", &[("TEE", 2)]).await;
    world.drained().await;
    cancel(world, first).await;
    cancel(world, &lost).await;
    raise_allotment(world, "MUG", 4).await;
    world.no_intents_open().await;
    // A second order of one key, and units that never were.
    accept(world, early, "grace", "k", &[("MUG", 1)]).await;
    world.redis_says(&["HDEL", "{p0}:sale:early:buyers", "grace"]).await;
    accept(world, early, "grace", "k", &[("MUG", 1)]).await;
    // What no one can read, and what only the database can refuse.
    add_entry(world, "order", "not an order").await;
    add_entry(world, "order", "00000000 0000000000000001 early mallory k NOTHING:1").await;
    world.drained().await;
    world.no_intents_open().await;
    world.drained().await;
    (late, in_late)
}

/// An order: its sale, buyer, answer and items.
type Known<'a> = (&'a SaleId, &'a str, &'a Reply, &'a [(&'a str, u64)]);

/// Nothing was rebuilt, and everything goes on.
async fn assert_goes_on(world: &World, sales: [(&SaleId, &[&str]); 2], known: &[Known<'_>]) {
    let untouched = world.redis_says(&["HGET", "{p0}:sale:early", "untouched"]).await;
    assert_eq!(untouched, "yes", "a healthy redis was rebuilt");
    for (sale, skus) in sales {
        for sku in skus {
            world.assert_balanced(sale, sku).await;
        }
    }
    for (sale, buyer, order, items) in known {
        let again = world.client().claim(sale, buyer, "k", items).await;
        assert_eq!((again.status.as_u16(), again.id()), (200, order.id()), "{buyer}");
        assert_eq!(world.client().get(again.location(), buyer).await.body["id"], order.body["id"]);
    }
    for (sale, skus) in sales {
        accept(world, sale, "henry", "after", &[(skus[0], 1)]).await;
    }
    world.drained().await;
    for (sale, skus) in sales {
        for sku in skus {
            world.assert_balanced(sale, sku).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_out_of_a_backup_is_made_whole_by_the_log() {
    for dumped in [false, true] {
        let mut world = World::with_own_postgres(|_| {}).await;
        let (early, first) = early_orders(&world).await;
        let (backup, dump) = match dumped {
            false => (Some(world.back_up().await), None),
            true => (None, Some(world.dump().await)),
        };
        let (late, in_late) = later_events(&mut world, &early, &first).await;
        let wanted = world.rows().await;
        world.stop_node().await;
        match (&backup, &dump) {
            (Some(backup), _) => world.restore(backup).await,
            (_, Some(dump)) => world.restore_dump(dump).await,
            _ => {}
        }
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 2, "that is no older database");
        world.redis_says(&["HSET", "{p0}:sale:early", "untouched", "yes"]).await;
        world.start_node().await;
        assert_same(&world.rows().await, &wanted);
        let known: [Known<'_>; 2] = [
            (&early, "alice", &first, &[("TEE", 3), ("MUG", 1)]),
            (&late, "dave", &in_late, &[("CUP", 2), ("TEE", 1)]),
        ];
        assert_goes_on(&world, [(&early, &["TEE", "MUG"]), (&late, &["CUP", "TEE"])], &known).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_can_be_rebuilt_from_what_the_log_made_whole() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let (early, first) = early_orders(&world).await;
    let backup = world.back_up().await;
    let (late, _) = later_events(&mut world, &early, &first).await;
    let stock = async |world: &World| {
        let mut stock = Vec::new();
        for (sale, sku) in [(&early, "TEE"), (&early, "MUG"), (&late, "CUP"), (&late, "TEE")] {
            stock.push(world.stock(sale, sku).await);
        }
        stock
    };
    let wanted = stock(&world).await;
    world.stop_node().await;
    world.restore(&backup).await;
    world.start_node().await;
    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    world.start_node().await;
    assert_eq!(stock(&world).await, wanted);
    // Units that went back no longer count against a buyer; those of an order do.
    let again = world.client().claim(&early, "alice", "new", &[("TEE", 6)]).await;
    assert_eq!(again.status, 202, "{again:?}");
    let over = world.client().claim(&early, "carol", "new", &[("TEE", 1)]).await;
    assert_eq!(over.problem(), (409, "limit-reached"));
}

/// Entries that a consumer other than ours is given, so that later ones are persisted first.
async fn hold_back(world: &World, entries: &str) {
    let args = ["XREADGROUP", "GROUP", "persist", "ghost", "COUNT", entries, "STREAMS", "{p0}:log", ">"];
    world.redis_says(&args).await;
}

/// A world on whose log an order of one key became the duplicate although it came first, and the gate refused orders
/// although they came first; and a backup from before all of them.
pub async fn decided_out_of_order() -> (World, SaleId, Backup) {
    let world = World::with_own_postgres(|settings| {
        settings.persist_workers = 1;
        settings.persist_idle_ms = Millis::new(500);
    })
    .await;
    let sale = world.open_sale("early", &[("TEE", 3, None), ("MUG", 20, None)]).await;
    world.drained().await;
    let backup = world.back_up().await;
    let block = Block::persisting(&world).await;
    accept(&world, &sale, "zoe", "k", &[("MUG", 1)]).await;
    let pending = || async { world.redis_says(&["XPENDING", "{p0}:log", "persist"]).await };
    world.until("the worker is held", || async { pending().await.lines().next() == Some("1") }).await;
    // Two units that never were: which of five orders is refused depends on who comes first.
    world.redis_says(&["HINCRBY", "{p0}:sale:early", "stock:TEE", "2"]).await;
    accept(&world, &sale, "alice", "k", &[("MUG", 1)]).await;
    for buyer in ["b-1", "b-2", "b-3"] {
        accept(&world, &sale, buyer, "k", &[("TEE", 1)]).await;
    }
    hold_back(&world, "4").await;
    world.redis_says(&["HDEL", "{p0}:sale:early:buyers", "alice"]).await;
    accept(&world, &sale, "alice", "k", &[("MUG", 1)]).await;
    for buyer in ["b-4", "b-5"] {
        accept(&world, &sale, buyer, "k", &[("TEE", 1)]).await;
    }
    block.release().await;
    world.drained().await;
    world.no_intents_open().await;
    world.drained().await;
    let confirmed = "SELECT count(*) FROM orders WHERE buyer IN ('b-4', 'b-5') AND state = 'confirmed'";
    assert_eq!(world.count(confirmed).await, 2, "they were not persisted first: this proves nothing");
    (world, sale, backup)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_decided_out_of_order_is_not_decided_anew() {
    let (mut world, sale, backup) = decided_out_of_order().await;
    let wanted = world.rows().await;
    world.stop_node().await;
    world.restore(&backup).await;
    world.start_node().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_same(&world.rows().await, &wanted);
    world.assert_balanced(&sale, "TEE").await;
    world.assert_balanced(&sale, "MUG").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_lost_behind_an_older_postgres_is_a_gap() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let (early, _) = early_orders(&world).await;
    let backup = world.back_up().await;
    let older = world.redis_data();
    accept(&world, &early, "carol", "lost", &[("TEE", 1)]).await;
    world.drained().await;
    // Redis comes back with older data: carol's order is in Postgres alone, and the log goes on above it.
    world.stop_node().await;
    world.redis.kill().await.unwrap();
    world.put_redis_data(&older);
    world.redis.restart().await.unwrap();
    world.start_node().await;
    accept(&world, &early, "dave", "k", &[("TEE", 1)]).await;
    world.drained().await;
    // And now Postgres too: nobody has carol's order any more, and nobody may pretend.
    world.stop_node().await;
    world.restore(&backup).await;
    let node = doorbuster::node::Node::start(&world.settings).await.unwrap();
    let state = || async { world.redis_says(&["HGET", "{p0}:meta", "state"]).await };
    world.until("the keeper is at work", || async { state().await == "opening" }).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(state().await, "opening", "it sells, although an acknowledged order is lost");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_a_rebuild_meets_first_is_in_the_log_all_the_same() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let (_, first) = early_orders(&world).await;
    world.stop_node().await;
    let backup = world.back_up().await;
    // Only Postgres knows it when Redis is rebuilt: nothing is published while no keeper runs.
    let definition = serde_json::json!({
        "id": "late", "name": "a late sale", "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
        "items": [{ "sku": "TEE", "stock": 5 }],
    });
    let late = doorbuster::catalogue::NewSale::read(&definition).unwrap();
    world.store.create_sale(&late, "test").await.unwrap();
    // Differs from what Postgres computes: the opening rebuilds.
    world.redis_says(&["HINCRBY", "{p0}:sale:early", "stock:TEE", "1"]).await;
    world.start_node().await;
    world.no_intents_open().await;
    accept(&world, &late.id, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    let wanted = world.rows().await;
    world.stop_node().await;
    world.restore(&backup).await;
    world.start_node().await;
    assert_same(&world.rows().await, &wanted);
    world.assert_balanced(&late.id, "TEE").await;
    let again = world.client().claim("early", "alice", "k", &[("TEE", 3), ("MUG", 1)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, first.id()));
}
