//! Money that comes for an order that has ended: it buys the units again, or goes back to the buyer.

use std::time::Duration;

use doorbuster::config::Millis;
use doorbuster::order_id::OrderId;
use doorbuster::order_life::Cancellation;
use doorbuster::payment::{Alarm, News, PaymentState, WebhookName};
use serde_json::json;

use crate::support::life::cancel;
use crate::support::payments::{Conduct, ScriptedGateway, gateway, hear, id_of_nobody, paid};
use crate::support::{Block, World};

/// A world whose own worker looks for late money once a minute: what it does is done by hand.
async fn in_no_hurry() -> World {
    World::with(|settings| settings.payment_poll_ms = Millis::new(60_000)).await
}

/// Paid after the hold was over, with units left: they are claimed again, as another order, which is never charged.
#[tokio::test(flavor = "multi_thread")]
async fn late_money_buys_the_units_again_where_there_are_any() {
    let (world, bank, worker) = World::with_gateway(Conduct::PaysInSilence).await;
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_expired(order).await;
    world.until_for_sale(&sale, 1).await;
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "moved").await;
    let moved: uuid::Uuid = world
        .db
        .query_one("SELECT moved_to FROM payments WHERE order_id = $1", &[&order.to_uuid()])
        .await
        .unwrap()
        .get(0);
    let other = OrderId::from_uuid(moved);
    world.until_confirmed(other).await;
    assert_eq!(world.state_of(order).await, "cancelled");
    assert_eq!(bank.books().charges.len(), 1, "one charge: {:?}", bank.books());
    assert_eq!(world.stock(&sale, "TEE").await, 0);
    // However short the sale's hold: the buyer has paid, and a slow machine is not to claim for the same money again and again.
    let holds = "SELECT extract(epoch FROM expires_at - accepted_at)::float8 FROM orders WHERE id = $1";
    let hold_s: f64 = world.db.query_one(holds, &[&moved]).await.unwrap().get(0);
    assert!(hold_s >= 30.0, "held for {hold_s} s");
    // The money of the other order goes back under the name by which the gateway knows it.
    cancel(&world.orders(), other, Cancellation::Operator).await.unwrap();
    world.until_payment(other, "refunded").await;
    assert_eq!(bank.books().refunds.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    world.stop_balanced(worker, &sale).await;
    let key = format!("doorbuster:paid-late:{order}");
    let refused = world.client().claim(&sale, "alice", &key, &[("TEE", 1)]).await;
    assert_eq!(refused.problem().0, 400, "a buyer may not send our keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_goes_back_where_no_units_are_left() {
    let (world, bank, worker) = World::with_gateway(Conduct::PaysInSilence).await;
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    world.until_for_sale(&sale, 1).await;
    let other = world.order(&sale, "bob").await;
    bank.conducts(Conduct::Pays);
    world.until_payment(other, "paid").await;
    world.until_payment(order, "refunded").await;
    assert_eq!(bank.books().refunds.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    assert_eq!(world.cancelled_for(order).await, "expired");
    world.stop_balanced(worker, &sale).await;
}

/// A cancel meets a payment that is under way: the money that comes for it goes back.
#[tokio::test(flavor = "multi_thread")]
async fn money_for_what_was_given_up_goes_back() {
    let (world, bank, worker) = World::with_gateway(Conduct::PaysInSilence).await;
    let sale =
        world.paid_sale("paid", 5, 600, json!({ "payment": "gateway", "buyer_cancel": "until_close" })).await;
    let order = world.order(&sale, "alice").await;
    bank.until_asked(order).await;
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
    bank.until_asked(third).await;
    cancel(&world.orders(), third, Cancellation::Operator).await.unwrap();
    bank.conducts(Conduct::Pays);
    world.until_payment(third, "void").await;
    world.stop_balanced(worker, &sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 5);
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
    bank.until_asked(order).await;
    world.until_for_sale(&sale, 2).await;
    worker.kill().await;
    let other = world.claim_for_late_money(order, "alice", &sale).await;
    bank.conducts(Conduct::Pays);
    let worker = world.payments(&bank);
    world.until_payment(order, "moved").await;
    world.until_confirmed(other).await;
    assert_eq!(bank.books().asked.into_iter().collect::<Vec<_>>(), [(order, 1)]);
    world.stop_balanced(worker, &sale).await;
}

/// The units of an order that has ended are on their way back, or the order that claims them is not stored: late money waits.
#[tokio::test(flavor = "multi_thread")]
async fn late_money_waits_for_what_is_on_its_way() {
    let (world, bank, worker) = World::with_gateway(Conduct::PaysInSilence).await;
    let sale = world.paid_sale("paid", 1, 2, gateway()).await;
    let order = world.order(&sale, "alice").await;
    bank.until_asked(order).await;
    let returns = Block::writing(&world, "stock_ledger").await;
    world.until_expired(order).await;
    bank.conducts(Conduct::Pays);
    world.until_payment(order, "late").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.payment_of(order).await, "late");
    returns.release().await;
    world.until_payment(order, "moved").await;
    worker.stop().await;
    world.drained().await;
    assert_eq!(world.orders_confirmed().await, 1);
    world.assert_balanced(&sale, "TEE").await;

    // Stored orders alone can hold money: what only Redis has may be lost with it.
    let sale = world.paid_sale("again", 1, 600, json!({})).await;
    let order = world.order(&sale, "bob").await;
    world.end_hold(order).await;
    let desk = world.payment_desk();
    assert_eq!(hear(&desk, order, &paid(1999)).await.unwrap().payment, PaymentState::Late);
    let nowhere = id_of_nobody(order, 1_800_000_000_000);
    let verdict = hear(&desk, order, &News::Reclaimed(nowhere)).await.unwrap();
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
    let world = in_no_hurry().await;
    let sale = world.paid_sale("hosted", 2, 600, json!({})).await;
    let (order, other) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    let desk = world.payment_desk();
    world.end_hold(order).await;
    // No worker runs: what it would find.
    hear(&desk, order, &paid(1999)).await.unwrap();
    hear(&desk, other, &paid(1999)).await.unwrap();
    let verdict = hear(&desk, order, &News::Reclaimed(other)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue, "the other one is paid for itself");
    assert_eq!(world.payment_of(other).await, "paid");
    // The other one is given up before anybody looks: its own money goes back under its own name.
    let sale = world.paid_sale("again", 2, 600, json!({})).await;
    let (order, other) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    world.end_hold(order).await;
    hear(&desk, order, &paid(1999)).await.unwrap();
    hear(&desk, other, &paid(1999)).await.unwrap();
    cancel(&world.orders(), other, Cancellation::Operator).await.unwrap();
    let verdict = hear(&desk, order, &News::Reclaimed(other)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue);
    assert_eq!(world.payment_of(other).await, "refund_due");
    assert_eq!(world.count("SELECT count(*) FROM payments WHERE paid_as IS NOT NULL").await, 0);
}

/// A Redis that came back older has accepted the same claim twice: the second order is cancelled as it is stored, and has no
/// payment to which the money could be brought.
#[tokio::test(flavor = "multi_thread")]
async fn late_money_goes_back_where_its_order_was_cancelled_as_it_was_stored() {
    let world = in_no_hurry().await;
    let sale = world.paid_sale("hosted", 5, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    world.end_hold(order).await;
    let desk = world.payment_desk();
    hear(&desk, order, &paid(1999)).await.unwrap();
    world.claim_for_late_money(order, "alice", &sale).await;
    world.redis_says(&["HDEL", "{p0}:sale:hosted:buyers", "alice"]).await;
    let second = world.claim_for_late_money(order, "alice", &sale).await;
    world.drained().await;
    assert_eq!(world.cancelled_for(second).await, "duplicate");
    let verdict = hear(&desk, order, &News::Reclaimed(second)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue);
}

/// The order that late money has claimed is paid for, and nobody is to be sent to a checkout for it. Who goes there all the
/// same has paid twice, and somebody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_for_what_late_money_has_bought_is_an_incident() {
    let world = in_no_hurry().await;
    let sale = world.paid_sale("hosted", 2, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    let desk = world.payment_desk();
    world.end_hold(order).await;
    hear(&desk, order, &paid(1999)).await.unwrap();
    let other = world.claim_for_late_money(order, "alice", &sale).await;
    world.drained().await;
    assert_eq!(world.payment_of(other).await, "due", "not awaited");
    let verdict = hear(&desk, order, &News::Reclaimed(other)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::Moved);
    hear(&desk, other, &News::None).await.unwrap();
    for id in ["m-1", "m-2"] {
        let name = WebhookName { id, sent_at: jiff::Timestamp::now().as_second() };
        let verdict = desk.conclude(other, &paid(1999), "test", Some(name)).await.unwrap();
        assert_eq!((verdict.payment, verdict.alarm), (PaymentState::Paid, Some(Alarm::PaidTwice)));
        assert_eq!(world.incidents("paid_twice").await, 1);
        assert_eq!(world.state_of(other).await, "confirmed");
    }
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
    assert_eq!(world.cancelled_for(second).await, "duplicate");
    let desk = world.payment_desk();
    let verdict = hear(&desk, second, &paid(1999)).await.unwrap();
    assert_eq!(verdict.payment, PaymentState::RefundDue);
    desk.report_unknown(second, &paid(1999)).await.unwrap();
    assert_eq!(world.incidents("paid_without_order").await, 1);
}
