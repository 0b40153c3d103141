//! Orders that are paid for in time, or never: confirmed, or cancelled.

use std::time::Duration;

use doorbuster::order_life::{Cancellation, LifeError, OrderOf, Step};
use doorbuster::payment::{News, PaymentError, PaymentState};
use serde_json::json;

use crate::support::World;
use crate::support::life::{TOLD, cancel};
use crate::support::payments::{Conduct, ScriptedGateway, gateway, hear, paid};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_confirmed_and_a_declined_one_gives_its_units_back() {
    let world = World::with_partitions(2).await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_payment(order, "paid").await;
    assert_eq!(world.state_of(order).await, "confirmed");
    assert_eq!(world.history_of(order).await, [("confirmed".to_owned(), "payment worker".to_owned())]);
    bank.conducts(Conduct::Declines);
    let other = world.order(&sale, "bob").await;
    world.until_payment(other, "declined").await;
    assert_eq!(world.state_of(other).await, "cancelled");
    assert_eq!(world.cancelled_for(other).await, "declined");
    assert_eq!(bank.books().asked.values().copied().collect::<Vec<_>>(), [1, 1]);
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 9);
    worker.stop().await;
}

/// The stream tells sooner; what it has not told is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_stream_never_told_of_is_found() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    let told = world.redis_says(&["XLEN", "{p0}:payments"]).await;
    assert_eq!(told.trim(), "1");
    world.redis_says(&["DEL", "{p0}:payments"]).await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    world.until_payment(order, "paid").await;
    // What is read is removed, so that the stream stays small.
    let second = world.order(&sale, "bob").await;
    world.until_payment(second, "paid").await;
    assert_eq!(world.redis_says(&["XLEN", "{p0}:payments"]).await.trim(), "0");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_parked_looked_up_and_charged_once() {
    let (world, bank, worker) = World::with_gateway(Conduct::PaysInSilence).await;
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world
        .until("it is parked, and said", || async {
            world.payment_of(order).await == "unknown" && world.history_of(order).await.len() == 1
        })
        .await;
    assert_eq!(world.history_of(order).await, [("pending".to_owned(), "payment worker".to_owned())]);
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "paid").await;
    assert_eq!(bank.books().asked[&order], 1, "a look-up found it");
    assert_eq!(world.state_of(order).await, "confirmed");
    // A request that was lost is made again: the gateway says that it never heard of it.
    for conduct in [Conduct::Loses, Conduct::IsDown, Conduct::Ponders] {
        bank.conducts(conduct);
        let buyer = format!("{conduct:?}");
        let order = world.order(&sale, &buyer).await;
        bank.until_asked(order).await;
        assert_eq!(world.state_of(order).await, "pending");
        bank.conducts(Conduct::Pays);
        world.until_payment(order, "paid").await;
    }
    worker.stop().await;
    world.assert_settled(&sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_leaves_its_payments_to_the_next() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 40, 600, gateway()).await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let orders = world.orders_of(&sale, 30).await;
    world.until("some were asked for", || async { bank.books().asked.len() > 5 }).await;
    worker.kill().await;
    bank.conducts(Conduct::Pays);
    let workers = [world.payments(&bank), world.payments(&bank)];
    for order in &orders {
        world.until_payment(*order, "paid").await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(world.orders_confirmed().await, 30);
    assert_eq!(world.count("SELECT count(*) FROM order_events WHERE state = 'confirmed'").await, 30);
    assert_eq!(bank.books().charges.len(), 30);
    world.assert_settled(&sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sum_buys_nothing_and_an_operator_is_told() {
    let (world, _, worker) = World::with_gateway(Conduct::PaysOnly(1)).await;
    let sale = world.paid_sale("paid", 5, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_payment(order, "refunded").await;
    assert_eq!(world.cancelled_for(order).await, "declined");
    assert_eq!(world.incidents("payment_wrong_amount").await, 1);
    worker.stop().await;
}

/// The gateway tells by itself, twice, late and out of order; and a payment, the end of a hold and a cancel meet.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_payment_a_decline_an_expiry_and_a_cancel_one_wins() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 100, 2, json!({})).await;
    let orders = world.orders_of(&sale, 60).await;
    let desk = world.payment_desk();
    let door = world.orders();
    let last = orders.iter().map(|order| order.accepted_at()).max().unwrap() + Duration::from_secs(2);
    let wait = last.duration_since(jiff::Timestamp::now()).as_millis().max(0) as u64;
    tokio::time::sleep(Duration::from_millis(wait.saturating_sub(150))).await;
    let races = orders.iter().map(|&order| {
        let (door, desk) = (door.clone(), desk.clone());
        tokio::spawn(async move {
            let (news, declined) = (paid(1999), News::Declined("no".into()));
            tokio::join!(
                hear(&desk, order, &news),
                hear(&desk, order, &declined),
                hear(&desk, order, &news),
                door.step(order, OrderOf::Anyone, Step::Cancel(Cancellation::Buyer), TOLD),
            )
        })
    });
    for race in races.collect::<Vec<_>>() {
        let (first, declined, second, cancelled) = race.await.unwrap();
        assert!(first.is_ok() && declined.is_ok() && second.is_ok(), "{first:?} {declined:?} {second:?}");
        assert!(matches!(cancelled, Ok(_) | Err(LifeError::Refused(..))), "{cancelled:?}");
    }
    // Who kept the money has an order; who has none is to get it back, or more units for it.
    let wrong = "SELECT count(*) FROM orders o JOIN payments p ON p.order_id = o.id
        WHERE (o.state = 'confirmed') <> (p.state = 'paid') OR o.state = 'pending'
           OR o.state = 'cancelled' AND p.state NOT IN ('late', 'refund_due', 'moved', 'refunded')";
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    world.until("every order has ended rightly", || async { world.count(wrong).await == 0 }).await;
    worker.stop().await;
    world.no_intents_open().await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
    let steps = "SELECT count(*) FROM (SELECT order_id FROM order_events WHERE state = 'confirmed'
        GROUP BY order_id HAVING count(*) > 1) twice";
    assert_eq!(world.count(steps).await, 0);
}

/// A database out of a backup knows neither charges nor refunds: the gateway is asked, and nobody pays twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_postgres_charges_nobody_again() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    world.drained().await;
    let backup = world.back_up().await;
    let kept = world.order(&sale, "alice").await;
    let given_back = world.order(&sale, "bob").await;
    for order in [kept, given_back] {
        world.until_payment(order, "paid").await;
    }
    cancel(&world.orders(), given_back, Cancellation::Operator).await.unwrap();
    world.until_payment(given_back, "refunded").await;
    // Given up before it was paid, and paid in silence: only the gateway knows.
    bank.conducts(Conduct::PaysInSilence);
    let given_up = world.order(&sale, "carol").await;
    bank.until_asked(given_up).await;
    cancel(&world.orders(), given_up, Cancellation::Operator).await.unwrap();
    world.no_intents_open().await;
    world.drained().await;
    worker.stop().await;
    world.stop_node().await;
    world.restore(&backup).await;
    assert_eq!(world.count("SELECT count(*) FROM payments").await, 0, "that is no older database");
    world.db = world.reconnect().await;
    bank.conducts(Conduct::Pays);
    let worker = world.payments(&bank);
    world.start_node().await;
    world.until_payment(kept, "paid").await;
    world.until_payment(given_back, "refunded").await;
    world.until_payment(given_up, "refunded").await;
    assert!(bank.books().asked.values().all(|times| *times == 1), "{:?}", bank.books());
    assert_eq!(world.state_of(kept).await, "confirmed");
    world.stop_balanced(worker, &sale).await;
}

/// What is there may be long decided: nobody is asked for money, or about it, before an opening has drained the log.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_postgres_that_may_be_older_nobody_is_asked() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    let orders = world.orders_of(&sale, 3).await;
    let backup = world.back_up().await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    for order in &orders {
        world.until_payment(*order, "paid").await;
    }
    cancel(&world.orders(), orders[0], Cancellation::Operator).await.unwrap();
    world.until_payment(orders[0], "refunded").await;
    world.no_intents_open().await;
    worker.stop().await;
    world.stop_node().await;
    world.restore(&backup).await;
    world.db = world.reconnect().await;
    assert_eq!(
        world.count("SELECT count(*) FROM payments WHERE state = 'due'").await,
        3,
        "no older database"
    );
    let before = bank.books();
    let worker = world.payments(&bank);
    // They are due in three seconds at the latest.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = bank.books();
    assert_eq!((after.asked, after.looked_up), (before.asked, before.looked_up));
    world.start_node().await;
    world.until_payment(orders[0], "refunded").await;
    for order in &orders[1..] {
        world.until_payment(*order, "paid").await;
    }
    assert!(bank.books().asked.values().all(|times| *times == 1), "{:?}", bank.books());
    worker.stop().await;
    assert_eq!(world.cancelled_for(orders[0]).await, "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_nothing_is_neither_charged_nor_paid_back() {
    let (world, bank, worker) = World::with_gateway(Conduct::Pays).await;
    let items = json!([{ "sku": "TEE", "stock": 5, "price": 0, "currency": "EUR" }]);
    let sale = world.paid_sale("gift", 5, 600, json!({ "payment": "gateway", "items": items })).await;
    let order = world.order(&sale, "alice").await;
    world.until_payment(order, "paid").await;
    cancel(&world.orders(), order, Cancellation::Operator).await.unwrap();
    world.until_payment(order, "void").await;
    let books = bank.books();
    assert!(books.asked.is_empty() && books.refunds.is_empty() && books.looked_up.is_empty(), "{books:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_payment_has_none() {
    let world = World::new().await;
    let free = world.open_sale("free", &[("TEE", 5, None)]).await;
    let order = world.order(&free, "alice").await;
    let desk = world.payment_desk();
    let refused = hear(&desk, order, &paid(1)).await;
    assert!(matches!(refused, Err(PaymentError::None(_))), "{refused:?}");
    // One that an older version has stored gets its payment when the gateway tells of it.
    let sale = world.paid_sale("paid", 5, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    world.db.execute("DELETE FROM payments", &[]).await.unwrap();
    let verdict = hear(&desk, order, &paid(1999)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::Paid);
}

/// Workers take payments without their orders, so whoever has the order may still have to wait for its payment.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_heard_is_judged_by_what_the_payment_has_become() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    for (buyer, is_committed, becomes) in [("alice", true, "refund_due"), ("bob", false, "declined")] {
        let order = world.order(&sale, buyer).await;
        let mut other = world.reconnect().await;
        let held = other.transaction().await.unwrap();
        let change = "UPDATE payments SET state = 'refund_due' WHERE order_id = $1";
        held.execute(change, &[&order.to_uuid()]).await.unwrap();
        let desk = world.payment_desk();
        let heard = tokio::spawn(async move { hear(&desk, order, &News::Declined("no".into())).await });
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        world.until("it waits for the payment", || async { world.count(waiting).await == 1 }).await;
        if is_committed {
            held.commit().await.unwrap()
        } else {
            held.rollback().await.unwrap()
        }
        heard.await.unwrap().unwrap();
        assert_eq!(world.payment_of(order).await, becomes);
    }
}
