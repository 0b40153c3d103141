//! Orders that are paid for: every way to confirmed, to cancelled and back to the buyer.

use std::time::Duration;

use doorbuster::buyer::BuyerId;
use doorbuster::claim::{Claim, Decider, Decision, IdempotencyKey, sorted_lines};
use doorbuster::config::Secret;
use doorbuster::gate::Gate;
use doorbuster::log::EntryId;
use doorbuster::order_id::{Mark, OrderId};
use doorbuster::order_life::{Cancellation, LifeError, OrderOf, Step};
use doorbuster::payment::{ChargeState, News, PaymentError, PaymentState, Sum};
use doorbuster::webhooks::WebhookSecret;
use hyper::Method;
use serde_json::json;

use crate::support::life::{TOLD, cancel};
use crate::support::payments::{Conduct, ScriptedGateway};
use crate::support::{Block, Client, Reply, World};

fn gateway() -> serde_json::Value {
    json!({ "payment": "gateway" })
}

fn paid(amount: i64) -> News {
    News::Paid { sum: Sum { amount, currency: "EUR".into() }, reference: "ref".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_confirmed_and_a_declined_one_gives_its_units_back() {
    let world = World::with_partitions(2).await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 10, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_payment(order, "paid").await;
    assert_eq!(world.orders().read(order).await.unwrap().state, "confirmed");
    assert_eq!(world.history_of(order).await, [("confirmed".to_owned(), "payment worker".to_owned())]);
    bank.conducts(Conduct::Declines);
    let other = world.order(&sale, "bob").await;
    world.until_payment(other, "declined").await;
    let stored = world.orders().read(other).await.unwrap();
    assert_eq!((stored.state.as_str(), stored.cancel_reason.as_deref()), ("cancelled", Some("declined")));
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
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
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
    assert_eq!(world.orders().read(order).await.unwrap().state, "confirmed");
    // A request that was lost is made again: the gateway says that it never heard of it.
    for conduct in [Conduct::Loses, Conduct::IsDown, Conduct::Ponders] {
        bank.conducts(conduct);
        let buyer = format!("{conduct:?}");
        let order = world.order(&sale, &buyer).await;
        world.until("it was asked", || async { bank.books().asked.contains_key(&order) }).await;
        assert_eq!(world.orders().read(order).await.unwrap().state, "pending");
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
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 30);
    assert_eq!(world.count("SELECT count(*) FROM order_events WHERE state = 'confirmed'").await, 30);
    assert_eq!(bank.books().charges.len(), 30);
    world.assert_settled(&sale).await;
}

/// Paid after the hold was over, with units left: they are claimed again, as another order, which is never charged.
#[tokio::test(flavor = "multi_thread")]
async fn late_money_buys_the_units_again_where_there_are_any() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world
        .until("its hold is over", || async {
            world.orders().read(order).await.unwrap().cancel_reason.as_deref() == Some("expired")
        })
        .await;
    world.until("its unit is for sale again", || async { world.stock(&sale, "TEE").await == 1 }).await;
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "moved").await;
    let moved: uuid::Uuid = world
        .db
        .query_one("SELECT moved_to FROM payments WHERE order_id = $1", &[&order.to_uuid()])
        .await
        .unwrap()
        .get(0);
    let other = doorbuster::order_id::OrderId::from_uuid(moved);
    world
        .until("the other order is confirmed", || async {
            world.orders().read(other).await.is_ok_and(|order| order.state == "confirmed")
        })
        .await;
    assert_eq!(world.orders().read(order).await.unwrap().state, "cancelled");
    assert_eq!(bank.books().charges.len(), 1, "one charge: {:?}", bank.books());
    assert_eq!(world.stock(&sale, "TEE").await, 0);
    // The money of the other order goes back under the name by which the gateway knows it.
    cancel(&world.orders(), other, Cancellation::Operator).await.unwrap();
    world.until_payment(other, "refunded").await;
    assert_eq!(bank.books().refunds.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
    let key = format!("doorbuster:paid-late:{order}");
    let refused = world.client().claim(&sale, "alice", &key, &[("TEE", 1)]).await;
    assert_eq!(refused.problem().0, 400, "a buyer may not send our keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_goes_back_where_no_units_are_left() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until("its unit is for sale again", || async { world.stock(&sale, "TEE").await == 1 }).await;
    let other = world.order(&sale, "bob").await;
    bank.conducts(Conduct::Pays);
    world.until_payment(other, "paid").await;
    world.until_payment(order, "refunded").await;
    assert_eq!(bank.books().refunds.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    assert_eq!(world.orders().read(order).await.unwrap().cancel_reason.as_deref(), Some("expired"));
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// A cancel meets a payment that is under way: the money that comes for it goes back.
#[tokio::test(flavor = "multi_thread")]
async fn money_for_what_was_given_up_goes_back() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let sale =
        world.paid_sale("paid", 5, 600, json!({ "payment": "gateway", "buyer_cancel": "until_close" })).await;
    let order = world.order(&sale, "alice").await;
    world.until("it was asked for", || async { bank.books().asked.contains_key(&order) }).await;
    assert_eq!(world.client().cancel(order, "alice").await.status, 200);
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "refunded").await;
    // Paid, confirmed, and then given up.
    let other = world.order(&sale, "bob").await;
    world.until_payment(other, "paid").await;
    bank.conducts(Conduct::IsDown);
    assert_eq!(world.client().cancel(other, "bob").await.status, 200);
    world.until_payment(other, "refund_due").await;
    bank.conducts(Conduct::Pays);
    world.until_payment(other, "refunded").await;
    assert!(bank.books().refunds.values().all(|times| *times == 1));
    assert_eq!(bank.books().refunds.len(), 2);
    // Never charged, never paid back.
    bank.conducts(Conduct::Loses);
    let third = world.order(&sale, "carol").await;
    world.until("it was asked for", || async { bank.books().asked.contains_key(&third) }).await;
    cancel(&world.orders(), third, Cancellation::Operator).await.unwrap();
    bank.conducts(Conduct::Pays);
    world.until_payment(third, "void").await;
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(world.stock(&sale, "TEE").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sum_buys_nothing_and_an_operator_is_told() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysOnly(1));
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 5, 600, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_payment(order, "refunded").await;
    assert_eq!(world.orders().read(order).await.unwrap().cancel_reason.as_deref(), Some("declined"));
    let told = "SELECT count(*) FROM incidents WHERE kind = 'payment_wrong_amount'";
    assert_eq!(world.count(told).await, 1);
    worker.stop().await;
}

/// The gateway tells by itself, twice, late and out of order; and a payment, the end of a hold and a cancel meet.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_payment_a_decline_an_expiry_and_a_cancel_one_wins() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 100, 2, json!({})).await;
    let orders = world.orders_of(&sale, 60).await;
    let desk = world.payment_desk(Duration::from_secs(3));
    let door = world.orders();
    let last = orders.iter().map(|order| order.accepted_at()).max().unwrap() + Duration::from_secs(2);
    let wait = last.duration_since(jiff::Timestamp::now()).as_millis().max(0) as u64;
    tokio::time::sleep(Duration::from_millis(wait.saturating_sub(150))).await;
    let races = orders.iter().map(|&order| {
        let (door, desk) = (door.clone(), desk.clone());
        tokio::spawn(async move {
            let (news, declined) = (paid(1999), News::Declined("no".into()));
            tokio::join!(
                desk.conclude(order, &news, "test", None),
                desk.conclude(order, &declined, "test", None),
                desk.conclude(order, &news, "test", None),
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
    world.until("it was asked for", || async { bank.books().asked.contains_key(&given_up) }).await;
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
    assert_eq!(world.orders().read(kept).await.unwrap().state, "confirmed");
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
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
    assert_eq!(world.orders().read(orders[0]).await.unwrap().cancel_reason.as_deref(), Some("operator"));
}

/// A worker that dies between the claim for late money and the line that says so: the new order is not charged, and the next
/// worker finds it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_claimed_for_late_money_is_never_charged() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 2, 4, gateway()).await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let order = world.order(&sale, "alice").await;
    world.until("it was asked for", || async { bank.books().asked.contains_key(&order) }).await;
    world.until("its unit is for sale again", || async { world.stock(&sale, "TEE").await == 2 }).await;
    worker.kill().await;
    // What that worker would have done.
    let connection = world.redis_client().await;
    let gate = Gate::watch(connection.clone(), order.partition());
    let scripts = gate.clone().wait_open().await;
    let key = IdempotencyKey::from_content(&format!("doorbuster:paid-late:{order}")).unwrap();
    let lines = sorted_lines(vec![("TEE".parse().unwrap(), 1)]).unwrap();
    let claim = Claim::new(sale.clone(), BuyerId::parse(b"alice").unwrap(), key, lines);
    let decided = Decider::from(connection).decide_alone(&scripts, &claim, 1_000).await;
    let Ok(Decision::Accepted(other)) = decided else { panic!("{decided:?}") };
    bank.conducts(Conduct::Pays);
    let worker = world.payments(&bank);
    world.until_payment(order, "moved").await;
    world
        .until("the other order is confirmed", || async {
            world.orders().read(other).await.is_ok_and(|order| order.state == "confirmed")
        })
        .await;
    assert_eq!(bank.books().asked.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// The units of an order that has ended are on their way back, or the order that claims them is not stored: late money waits.
#[tokio::test(flavor = "multi_thread")]
async fn late_money_waits_for_what_is_on_its_way() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::PaysInSilence);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until("it was asked for", || async { bank.books().asked.contains_key(&order) }).await;
    let returns = Block::writing(&world, "stock_ledger").await;
    world
        .until("its hold is over", || async {
            world.orders().read(order).await.unwrap().cancel_reason.as_deref() == Some("expired")
        })
        .await;
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "late").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.payment_of(order).await, "late");
    returns.release().await;
    world.until_payment(order, "moved").await;
    worker.stop().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 1);
    world.assert_balanced(&sale, "TEE").await;

    // Stored orders alone can hold money: what only Redis has may be lost with it.
    let sale = world.paid_sale("again", 1, 600, json!({})).await;
    let order = world.order(&sale, "bob").await;
    let expire = "UPDATE orders SET expires_at = now() - interval '1 second' WHERE id = $1";
    world.db.execute(expire, &[&order.to_uuid()]).await.unwrap();
    world
        .until("its hold is over", || async {
            world.orders().read(order).await.unwrap().cancel_reason.as_deref() == Some("expired")
        })
        .await;
    let desk = world.payment_desk(Duration::from_secs(3));
    assert_eq!(desk.conclude(order, &paid(1999), "test", None).await.unwrap().payment, PaymentState::Late);
    let nowhere = OrderId::new(EntryId { ms: 1_800_000_000_000, seq: 0 }, order.partition(), Mark::random());
    let verdict = desk.conclude(order, &News::Reclaimed(nowhere), "test", None).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::Late);
    assert_eq!(
        world.count("SELECT count(*) FROM payments WHERE paid_as IS NOT NULL").await,
        1,
        "that of before"
    );
}

/// The buyer sees the order that was claimed for his late money, and pays that too: one of the two goes back.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_pays_twice_gets_one_of_it_back() {
    let world = World::new().await;
    let sale = world.paid_sale("hosted", 2, 600, json!({})).await;
    let (order, other) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    let desk = world.payment_desk(Duration::from_secs(3));
    let expire = "UPDATE orders SET expires_at = now() - interval '1 second' WHERE id = $1";
    world.db.execute(expire, &[&order.to_uuid()]).await.unwrap();
    world
        .until("its hold is over", || async {
            world.orders().read(order).await.unwrap().cancel_reason.as_deref() == Some("expired")
        })
        .await;
    // No worker runs: what it would find.
    desk.conclude(order, &paid(1999), "test", None).await.unwrap();
    desk.conclude(other, &paid(1999), "test", None).await.unwrap();
    let verdict = desk.conclude(order, &News::Reclaimed(other), "test", None).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue, "the other one is paid for itself");
    assert_eq!(world.payment_of(other).await, "paid");
}

/// Money for an order that was cancelled as it was stored, or that nobody has.
#[tokio::test(flavor = "multi_thread")]
async fn money_for_what_was_never_sold_is_not_forgotten() {
    let world = World::new().await;
    let sale = world.paid_sale("hosted", 5, 600, json!({ "items": [{ "sku": "TEE", "stock": 5 }] })).await;
    let client = world.client();
    client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.redis_says(&["HDEL", "{p0}:sale:hosted:buyers", "alice"]).await;
    let second = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    let second: OrderId = second.id().parse().unwrap();
    assert_eq!(world.orders().read(second).await.unwrap().cancel_reason.as_deref(), Some("duplicate"));
    let desk = world.payment_desk(Duration::from_secs(3));
    let verdict = desk.conclude(second, &paid(1999), "test", None).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue);
    desk.report_unknown(second, &paid(1999)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM incidents WHERE kind = 'paid_without_order'").await, 1);
}

/// A hosted checkout whose webhook never came: the gateway is asked when the hold is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_checkout_took_and_did_not_tell_is_asked_for() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
    let sale = world.paid_sale("hosted", 5, 2, json!({})).await;
    let (order, unpaid) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    let (currency, reference) = ("EUR".to_owned(), "elsewhere".to_owned());
    bank.books.lock().unwrap().charges.insert(order, ChargeState::Paid { amount: 1999, currency, reference });
    // This one, where the gateway was asked before the sweeper came, or the one that has claimed its unit again.
    world
        .until("what was paid is confirmed", || async {
            world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await == 1
        })
        .await;
    assert!(["paid", "moved"].contains(&world.payment_of(order).await.as_str()));
    world.until_payment(unpaid, "void").await;
    assert!(bank.books().asked.is_empty(), "nobody was charged: {:?}", bank.books());
    worker.stop().await;
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_nothing_is_neither_charged_nor_paid_back() {
    let world = World::new().await;
    let bank = ScriptedGateway::new(Conduct::Pays);
    let worker = world.payments(&bank);
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

struct Sender {
    secret: WebhookSecret,
    client: Client,
}

impl Sender {
    async fn send(&self, id: &str, sent_at: i64, body: &str) -> Reply {
        let signature = self.secret.sign(id, sent_at, body.as_bytes());
        self.send_signed(id, sent_at, &signature, body).await
    }

    async fn send_signed(&self, id: &str, sent_at: i64, signature: &str, body: &str) -> Reply {
        let sent_at = sent_at.to_string();
        let headers =
            [("webhook-id", id), ("webhook-timestamp", sent_at.as_str()), ("webhook-signature", signature)];
        self.client.send(Method::POST, "/v1/payments/webhook", &headers, body.to_owned()).await.unwrap()
    }
}

fn paid_event(order: impl std::fmt::Display) -> String {
    json!({ "type": "payment.paid", "data": { "order_id": order.to_string(), "amount": 1999, "currency": "EUR", "reference": "r-1" } })
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_confirms_once_and_no_other_does() {
    let secret = WebhookSecret::generate().unwrap();
    let text = secret.expose();
    let world = World::with(|settings| settings.payment_webhook_secret = Secret::new(&text)).await;
    let sender = Sender { secret, client: world.client() };
    let sale = world.paid_sale("hosted", 5, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    let now = jiff::Timestamp::now().as_second();
    let event = paid_event(order);

    let forged = WebhookSecret::generate().unwrap().sign("m-1", now, event.as_bytes());
    assert_eq!(sender.send_signed("m-1", now, &forged, &event).await.problem(), (401, "unauthenticated"));
    let good = sender.secret.sign("m-1", now, event.as_bytes());
    let changed = event.replace("1999", "1");
    assert_eq!(sender.send_signed("m-1", now, &good, &changed).await.status, 401);
    assert_eq!(sender.send_signed("m-2", now, &good, &event).await.status, 401);
    for stale in [now - 400, now + 400] {
        assert_eq!(sender.send("m-1", stale, &event).await.status, 401, "too far from now");
    }
    assert_eq!(world.payment_of(order).await, "awaited");

    let taken = sender.send("m-1", now, &event).await;
    assert_eq!((taken.status.as_u16(), &taken.body["payment"]), (200, &json!("paid")));
    let shown = world.client().get(&format!("/v1/orders/{order}"), "alice").await.body;
    assert_eq!((&shown["state"], &shown["payment"]), (&json!("confirmed"), &json!("paid")));
    assert_eq!(sender.send("m-1", now, &event).await.problem(), (409, "conflict"), "captured and sent again");
    // The answer was lost: sent again with a time of its own.
    assert_eq!(sender.send("m-1", now + 1, &event).await.status, 200);
    // Out of order, and against what was said: told, and nothing moves.
    let declined =
        json!({ "type": "payment.declined", "data": { "order_id": order.to_string(), "reason": "no" } });
    assert_eq!(sender.send("m-3", now, &declined.to_string()).await.body["payment"], json!("paid"));
    assert_eq!(world.count("SELECT count(*) FROM incidents WHERE kind = 'payment_contradiction'").await, 1);
    assert_eq!(world.history_of(order).await, [("confirmed".to_owned(), "payment webhook".to_owned())]);

    let other = world.order(&sale, "bob").await;
    let declined =
        json!({ "type": "payment.declined", "data": { "order_id": other.to_string(), "reason": "no" } });
    assert_eq!(sender.send("m-4", now, &declined.to_string()).await.body["payment"], json!("declined"));
    assert_eq!(world.orders().read(other).await.unwrap().cancel_reason.as_deref(), Some("declined"));

    let unknown = OrderId::new(EntryId { ms: now as u64 * 1000, seq: 0 }, order.partition(), Mark::random());
    let early = sender.send("m-5", now, &paid_event(unknown)).await;
    assert_eq!((early.problem(), early.retry_after().is_some()), ((409, "not-stored-yet"), true));
    let old = OrderId::new(EntryId { ms: 1_700_000_000_000, seq: 0 }, order.partition(), Mark::random());
    assert_eq!(sender.send("m-6", now, &paid_event(old)).await.status, 404);
    assert_eq!(
        sender.send("m-7", now, r#"{"type":"payment.created","data":{"order_id":""}}"#).await.status,
        400
    );
    for bad in ["", "{}", r#"{"type":"payment.paid","data":{"order_id":"x"}}"#] {
        assert_eq!(sender.send("m-8", now, bad).await.problem(), (400, "malformed-request"), "{bad}");
    }
    let unsecured = World::new().await;
    let sender = Sender { client: unsecured.client(), ..sender };
    assert_eq!(sender.send("m-1", now, &event).await.status, 404, "off without a secret");
    world.assert_settled(&sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_payment_has_none() {
    let world = World::new().await;
    let free = world.open_sale("free", &[("TEE", 5, None)]).await;
    let order = world.order(&free, "alice").await;
    let desk = world.payment_desk(Duration::from_secs(3));
    let refused = desk.conclude(order, &paid(1), "test", None).await;
    assert!(matches!(refused, Err(PaymentError::None(_))), "{refused:?}");
    // One that an older version has stored gets its payment when the gateway tells of it.
    let sale = world.paid_sale("paid", 5, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    world.db.execute("DELETE FROM payments", &[]).await.unwrap();
    let verdict = desk.conclude(order, &paid(1999), "test", None).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::Paid);
}
