//! Orders that end while something else goes wrong: their units come back once.

use std::time::Duration;

use doorbuster::order_id::OrderId;
use doorbuster::order_life::{Cancellation, LifeError, Outcome};
use serde_json::json;

use crate::support::life::{TOLD, cancel, confirm};
use crate::support::{Block, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_before_redis_is_told_leaves_it_to_the_next() {
    for emptied in [false, true] {
        let mut world = World::with_short_lease(1).await;
        let sale = world.paid_sale("paid", 10, 600, json!({})).await;
        let orders = world.orders_of(&sale, 4).await;
        world.crash_node();
        // Committed, and nobody there who could tell Redis.
        let door = world.orders();
        for order in &orders[..3] {
            cancel(&door, *order, Cancellation::Buyer).await.unwrap();
        }
        if emptied {
            // A rebuild with returns in flight: it must not count them as come back.
            world.redis_says(&["FLUSHALL"]).await;
        }
        world.start_node().await;
        world.assert_settled(&sale).await;
        assert_eq!(world.stock(&sale, "TEE").await, 9);
        assert_eq!(world.client().claim(&sale, "b-0", "new", &[("TEE", 1)]).await.status, 202);
        assert_eq!(
            world.client().claim(&sale, "b-3", "new", &[("TEE", 1)]).await.problem().1,
            "limit-reached"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_was_logged_and_not_persisted_is_not_sent_twice() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.paid_sale("paid", 10, 600, json!({})).await;
    let orders = world.orders_of(&sale, 2).await;
    let block = crate::support::Block::writing(&world, "stock_ledger").await;
    cancel(&world.orders(), orders[0], Cancellation::Operator).await.unwrap();
    world.until("redis has it", || async { world.stock(&sale, "TEE").await == 9 }).await;
    world.crash_node();
    block.release().await;
    world.start_node().await;
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_end_while_redis_is_away_and_their_units_wait() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.paid_sale("paid", 10, 4, json!({})).await;
    let orders = world.orders_of(&sale, 3).await;
    let client = world.client();
    world.redis.kill().await.unwrap();
    let cancelled = client.cancel(orders[0], "b-0").await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.body["state"]), (200, &json!("cancelled")));
    confirm(&world.orders(), orders[1]).await.unwrap();
    world
        .until("the third one's hold is over", || async {
            world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'expired'").await == 1
        })
        .await;
    // Two returns, and the word that one was paid.
    assert_eq!(world.count("SELECT count(*) FROM stock_intents WHERE applied_at IS NULL").await, 3);
    world.redis.restart().await.unwrap();
    world.start_anew_after_redis().await;
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 9);
}

/// Cancels and expiries while the partition is opened anew, again and again, and rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn openings_beside_a_storm_of_cancels_count_every_unit_once() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 300, 5, json!({})).await;
    let orders = world.orders_of(&sale, 200).await;
    let door = world.orders();
    let storm = async {
        for (n, order) in orders.iter().enumerate() {
            match n % 3 {
                0 => drop(cancel(&door, *order, Cancellation::Operator).await),
                1 => drop(confirm(&door, *order).await),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let openings = async {
        for turn in 0..6 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if turn % 2 == 0 {
                // Not what Postgres computes: the next opening rebuilds.
                world.redis_says(&["HINCRBY", "{p0}:sale:paid", "stock:TEE", "-7"]).await;
            }
            world.redis_says(&["SCRIPT", "FLUSH"]).await;
        }
    };
    tokio::join!(storm, openings);
    world
        .until("no order is pending", || async {
            world.count("SELECT count(*) FROM orders WHERE state = 'pending'").await == 0
        })
        .await;
    // A last opening, after which nothing is under way.
    let epoch = world.count("SELECT epoch FROM partitions").await;
    world.redis_says(&["SCRIPT", "FLUSH"]).await;
    world
        .until("it is opened anew", || async { world.count("SELECT epoch FROM partitions").await > epoch })
        .await;
    world.all_open().await;
    world.assert_settled(&sale).await;
    assert_eq!(world.count("SELECT count(*) FROM incidents WHERE kind <> 'stock_drift'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_postgres_that_may_be_older_no_order_moves_before_it_is_drained() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let sale = world.paid_sale("paid", 10, 3, json!({})).await;
    let orders = world.orders_of(&sale, 3).await;
    let dump = world.dump().await;
    let given_up = world.client().cancel(orders[0], "b-0").await;
    assert_eq!(given_up.status, 200);
    confirm(&world.orders(), orders[1]).await.unwrap();
    world.assert_settled(&sale).await;
    world.stop_node().await;
    // By now every hold is over; only the log knows that one was given up before, and one paid.
    world.restore_dump(&dump).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let door = world.orders();
    assert_eq!(door.expire(100, TOLD).await.unwrap(), 0, "a sweeper was faster than the log");
    let refused = cancel(&door, orders[0], Cancellation::Operator).await;
    assert!(matches!(refused, Err(LifeError::NotDrained(_))), "{refused:?}");
    world.start_node().await;
    world
        .until("no order is pending", || async {
            world.count("SELECT count(*) FROM orders WHERE state = 'pending'").await == 0
        })
        .await;
    let first = world.orders().read(orders[0]).await.unwrap();
    assert_eq!(first.cancel_reason.as_deref(), Some("buyer"), "decided anew: {first:?}");
    assert_eq!((first.events.len(), first.events[0].actor.as_str()), (1, "log"));
    let paid = world.orders().read(orders[1]).await.unwrap();
    assert_eq!((paid.state.as_str(), paid.events[0].actor.as_str()), ("confirmed", "test"));
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 9);
    // Cancelled now, and its money goes back: also that is told to a database that forgets it.
    let dump = world.dump().await;
    cancel(&world.orders(), orders[1], Cancellation::Operator).await.unwrap();
    world.assert_settled(&sale).await;
    world.stop_node().await;
    world.restore_dump(&dump).await;
    world.start_node().await;
    let paid = world.orders().read(orders[1]).await.unwrap();
    assert_eq!((paid.state.as_str(), paid.refund_due_at.is_some()), ("cancelled", true));
    world.assert_settled(&sale).await;
    let again = cancel(&world.orders(), orders[0], Cancellation::Operator).await;
    assert_eq!(again.unwrap(), Outcome::Unchanged);
}

/// Two that cancel orders of the same items in opposite orders do not wait for each other in a circle, beside workers
/// that count what is sold.
#[tokio::test(flavor = "multi_thread")]
async fn cancels_of_many_items_do_not_deadlock() {
    let world = World::new().await;
    // Their rows lie in another order than their keys.
    let items: Vec<_> = ["D", "B", "C", "A"].map(|sku| (sku, 1000, None)).into();
    let sale = world.open_sale("many", &items).await;
    let client = world.client();
    let mut orders: Vec<OrderId> = Vec::new();
    for n in 0..40 {
        let lines = [("D", 1), ("A", 1), ("C", 1), ("B", 1)];
        let reply = client.claim(&sale, &format!("b-{n}"), "k", &lines).await;
        orders.push(reply.id().parse().unwrap());
    }
    world.drained().await;
    // Who changes a row holds it for a while before he comes to the next.
    let slow = "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END $$;
                CREATE TRIGGER take_time BEFORE UPDATE ON sale_stock FOR EACH ROW EXECUTE FUNCTION take_time()";
    world.db.batch_execute(slow).await.unwrap();
    let door = world.orders();
    let cancels = orders.iter().map(|&order| {
        let door = door.clone();
        tokio::spawn(async move { cancel(&door, order, Cancellation::Operator).await })
    });
    let claims = (0..40).map(|n| {
        let (client, sale) = (client.clone(), sale.clone());
        tokio::spawn(async move {
            client.claim(&sale, &format!("c-{n}"), "k", &[("B", 1), ("A", 1), ("D", 1)]).await
        })
    });
    let (cancels, claims) = (cancels.collect::<Vec<_>>(), claims.collect::<Vec<_>>());
    for cancel in cancels {
        let cancelled = cancel.await.unwrap();
        assert!(matches!(cancelled, Ok(Outcome::Cancelled { refund: false })), "{cancelled:?}");
    }
    for claim in claims {
        assert_eq!(claim.await.unwrap().status, 202);
    }
    world.no_intents_open().await;
    world.drained().await;
    for sku in ["A", "B", "C", "D"] {
        world.assert_balanced(&sale, sku).await;
    }
    // Workers try again, and nobody else would know.
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(world.count(deadlocks).await, 0);
}

/// A storm's returns are written together: one by one they would hold the rows of the stock for so long that every other
/// transaction gives up, and this one too, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn the_units_of_many_orders_come_back_where_postgres_is_slow() {
    const ORDERS: u32 = 300;
    let world = World::new().await;
    let sale = world.paid_sale("demo", i64::from(ORDERS), 3600, json!({})).await;
    world.orders_of(&sale, ORDERS).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON stock_ledger FOR EACH STATEMENT EXECUTE FUNCTION slow();
                UPDATE orders SET expires_at = now()";
    world.db.batch_execute(slow).await.unwrap();
    let cancelled = "SELECT count(*) FROM orders WHERE cancel_reason = 'expired'";
    world.until("every hold is over", || async { world.count(cancelled).await == i64::from(ORDERS) }).await;
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, i64::from(ORDERS));
}

/// A return is over when its entry is persisted. The next ones do not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn the_units_of_many_orders_come_back_while_nothing_is_persisted() {
    const ORDERS: u32 = 700;
    let world = World::new().await;
    let sale = world.paid_sale("demo", i64::from(ORDERS), 3600, json!({})).await;
    world.orders_of(&sale, ORDERS).await;
    let persisting = Block::writing(&world, "stock_ledger").await;
    world.db.execute("UPDATE orders SET expires_at = now()", &[]).await.unwrap();
    world
        .until("every unit is for sale again", || async {
            world.stock(&sale, "TEE").await == i64::from(ORDERS)
        })
        .await;
    let open = "SELECT count(*) FROM stock_intents WHERE applied_at IS NULL";
    assert_eq!(world.count(open).await, i64::from(ORDERS));
    persisting.release().await;
    world.assert_settled(&sale).await;
}
