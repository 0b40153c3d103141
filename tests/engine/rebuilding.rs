//! What an opening believes of a Redis, and what it makes of one that it does not believe.

use doorbuster::order_id::OrderId;

use crate::support::{Reply, World};

#[tokio::test(flavor = "multi_thread")]
async fn equal_stock_does_not_make_an_older_redis_intact() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let client = world.client();
    client.claim(&sale, "alice", "early", &[("TEE", 1)]).await;
    world.drained().await;
    let older = world.redis_data();
    let late = client.claim(&sale, "alice", "late", &[("TEE", 1)]).await;
    world.drained().await;
    world.stop_node().await;
    world.redis.kill().await.unwrap();
    world.put_redis_data(&older);
    world.redis.restart().await.unwrap();
    // Every sum is right again; only the log tells that an order is missing.
    assert_eq!(world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "-1"]).await, "8");
    world.start_node().await;
    let again = world.client().claim(&sale, "alice", "late", &[("TEE", 1)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, late.id()));
    world.assert_balanced(&sale, "TEE").await;
}

/// What a cancel does in Postgres, in one transaction; the units are on their way back from here.
async fn cancel(world: &mut World, order: &Reply, units: i64) {
    let id: OrderId = order.id().parse().unwrap();
    let tx = world.db.transaction().await.unwrap();
    tx.execute(
        "UPDATE orders SET state = 'cancelled', cancel_reason = 'operator' WHERE id = $1",
        &[&id.to_uuid()],
    )
    .await
    .unwrap();
    tx.execute("UPDATE sale_stock SET sold = sold - $1", &[&units]).await.unwrap();
    tx.execute(
        "INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
         VALUES ($1, 'return', 'demo', 0, $2, jsonb_build_object('TEE', $3::bigint), 'operator', 'test')",
        &[&format!("return:{id}"), &id.to_uuid(), &units],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// Units that neither stock nor active orders hold: a rebuild that forgets them sells them twice, and a judgement
/// that forgets them rebuilds what is healthy.
#[tokio::test(flavor = "multi_thread")]
async fn units_on_their_way_back_and_units_of_dead_letters_are_counted_once() {
    for emptied in [false, true] {
        let mut world = World::new().await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        let client = world.client();
        let cancelled = client.claim(&sale, "alice", "k", &[("TEE", 3)]).await;
        assert_eq!(client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.status, 202);
        world.drained().await;
        world.stop_node().await;
        cancel(&mut world, &cancelled, 3).await;
        // An order of two that ended as a dead letter.
        world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "-2"]).await;
        world
            .db
            .batch_execute(
                "INSERT INTO dead_letters (partition, entry_ms, entry_seq, fields, sale_id, lines, error)
                 VALUES (0, 1, 1, '{}', 'demo', '{\"TEE\": 2}', 'test')",
            )
            .await
            .unwrap();
        if emptied {
            world.redis_says(&["FLUSHALL"]).await;
        } else {
            world.redis_says(&["HSET", "{p0}:sale:demo", "untouched", "yes"]).await;
        }
        world.start_node().await;
        world.no_intents_open().await;
        world.drained().await;
        assert_eq!(world.stock(&sale, "TEE").await, 10 - 1 - 2, "emptied: {emptied}");
        assert_eq!(world.count("SELECT sum(sold)::bigint FROM sale_stock").await, 1);
        let untouched = world.redis_says(&["HGET", "{p0}:sale:demo", "untouched"]).await;
        assert_eq!(untouched == "yes", !emptied, "a healthy redis was rebuilt");
        let again = world.client().claim(&sale, "alice", "k", &[("TEE", 3)]).await;
        assert_eq!((again.status.as_u16(), again.id()), (200, cancelled.id()));
    }
}

/// More than fits between a connection and whoever reads from it: then a second question on the same connection waits for
/// ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_with_many_orders_is_rebuilt() {
    // Of both kinds of records, first and further ones, more than one step takes.
    const ORDERS: i64 = 20_000;
    const BUYERS: i64 = 6_000;
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", ORDERS, None)]).await;
    let many = format!(
        "INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, skus, quantities, unit_prices)
         SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '00' || lpad(to_hex(n), 8, '0')
                 || '0000000000')::uuid, 'demo', 0, 'buyer-' || n % {BUYERS}, 'k-' || n, 1, 'confirmed', '{{TEE}}', '{{1}}', '{{1999}}'
         FROM generate_series(1, {ORDERS}) n;
         UPDATE sale_stock SET sold = {ORDERS}"
    );
    world.db.batch_execute(&many).await.unwrap();
    world.redis_says(&["FLUSHALL"]).await;
    world
        .until("the partition is open again, and knows every order", || async {
            world.redis_says(&["HGET", "{p0}:meta", "state"]).await == "open"
                && world.redis_says(&["HLEN", "{p0}:sale:demo:buyers"]).await == (BUYERS + 1).to_string()
        })
        .await;
    let records = world.redis_says(&["HVALS", "{p0}:sale:demo:buyers"]).await;
    assert_eq!(records.matches(" TEE:1;").count() as i64, ORDERS);
    world.assert_balanced(&sale, "TEE").await;
}
