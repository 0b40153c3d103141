//! Money that an operator has paid back by hand.

use std::time::Duration;

use doorbuster::catalogue::SaleId;
use doorbuster::order_id::OrderId;
use doorbuster::order_life::{Cancellation, Told};
use doorbuster::payment::{ByHand, News, PaymentError, PaymentState};
use serde_json::json;

use crate::support::World;
use crate::support::life::cancel;
use crate::support::payments::{Conduct, gateway, hear, id_of_nobody, paid};

const ADA: Told<'static> = Told { actor: "cli: ada", reason: "transfer 4711" };
const BOB: Told<'static> = Told { actor: "cli: bob", reason: "cash" };

impl World {
    /// Has the order paid and cancelled: its money is due, and nobody has paid it back.
    async fn pay_and_cancel(&self, order: OrderId) {
        hear(&self.payment_desk(), order, &paid(1999)).await.unwrap();
        cancel(&self.orders(), order, Cancellation::Operator).await.unwrap();
        assert_eq!(self.payment_of(order).await, "refund_due");
    }

    async fn hosted_sale(&self) -> SaleId {
        self.paid_sale("hosted", 50, 600, json!({})).await
    }

    /// Payments that are asked about again, or of which something is said to have failed.
    async fn unsettled(&self) -> i64 {
        self.count("SELECT count(*) FROM payments WHERE next_at IS NOT NULL OR last_error IS NOT NULL").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_by_hand_is_recorded_once_with_who_and_why() {
    let world = World::new().await;
    let sale = world.hosted_sale().await;
    let (order, desk) = (world.order(&sale, "alice").await, world.payment_desk());
    world.pay_and_cancel(order).await;
    assert_eq!(desk.refunded_by_hand(order, ADA).await.unwrap(), ByHand::Recorded);
    // The answer was lost; somebody else says it, too.
    for told in [ADA, BOB] {
        assert_eq!(desk.refunded_by_hand(order, told).await.unwrap(), ByHand::Before);
    }
    assert_eq!(world.payment_of(order).await, "refunded");
    let events = world.orders().read(order).await.unwrap().events;
    let said: Vec<_> = events.iter().map(|event| (event.state.as_str(), event.actor.as_str())).collect();
    assert_eq!(said, [("confirmed", "test"), ("cancelled", "test"), ("cancelled", "cli: ada")]);
    assert_eq!(events[2].reason, "paid back by hand: transfer 4711");
    // A worker that was at it hears its answer too late.
    for late in [News::RefundRefused("no".into()), News::NoAnswer("no".into()), News::Refunded] {
        let verdict = hear(&desk, order, &late).await.unwrap();
        assert_eq!((verdict.payment, verdict.alarm), (PaymentState::Refunded, None), "{late:?}");
        assert_eq!((world.unsettled().await, world.history_of(order).await.len()), (0, 3), "{late:?}");
    }
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// The same word elsewhere would end an order that is paid for, or that waits for its payment.
#[tokio::test(flavor = "multi_thread")]
async fn only_money_that_is_due_goes_back_by_hand() {
    let world = World::new().await;
    let (sale, desk) = (world.hosted_sale().await, world.payment_desk());
    let (pending, confirmed) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    hear(&desk, confirmed, &paid(1999)).await.unwrap();
    let late = world.order(&sale, "carol").await;
    world.end_hold(late).await;
    let refused = async |order| match desk.refunded_by_hand(order, ADA).await {
        Err(PaymentError::NothingDue(_, state)) => state,
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        assert_eq!(refused(pending).await, PaymentState::Awaited);
        assert_eq!(refused(confirmed).await, PaymentState::Paid);
        assert_eq!(refused(late).await, PaymentState::Awaited);
    }
    assert_eq!(world.state_of(pending).await, "pending");
    assert_eq!(world.state_of(confirmed).await, "confirmed");
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    let free = world.open_sale("free", &[("TEE", 5, None)]).await;
    let unpaid = world.order(&free, "alice").await;
    for order in [unpaid, id_of_nobody(unpaid, 1_700_000_000_000)] {
        let refused = desk.refunded_by_hand(order, ADA).await;
        assert!(matches!(refused, Err(PaymentError::None(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_and_a_worker_one_says_that_the_money_went_back() {
    let world = World::new().await;
    let (sale, desk) = (world.hosted_sale().await, world.payment_desk());
    let orders = world.orders_of(&sale, 40).await;
    for order in &orders {
        world.pay_and_cancel(*order).await;
    }
    let races = orders.iter().enumerate().map(|(n, &order)| {
        let desk = desk.clone();
        tokio::spawn(async move {
            let worker = async {
                tokio::time::sleep(Duration::from_millis(n as u64 % 4)).await;
                hear(&desk, order, &News::Refunded).await
            };
            tokio::join!(desk.refunded_by_hand(order, ADA), worker, desk.refunded_by_hand(order, BOB))
        })
    });
    let mut by_hand = 0;
    for race in races.collect::<Vec<_>>() {
        let (ada, worker, bob) = race.await.unwrap();
        assert_eq!(worker.unwrap().payment, PaymentState::Refunded);
        let recorded = [ada.unwrap(), bob.unwrap()].iter().filter(|said| **said == ByHand::Recorded).count();
        assert!(recorded <= 1, "both have said it");
        by_hand += recorded as i64;
    }
    let refunded = "SELECT count(*) FROM payments WHERE state = 'refunded' AND next_at IS NULL";
    assert_eq!(world.count(refunded).await, 40);
    // Paid, cancelled, and given back: said once, by whoever was first.
    let said = "SELECT count(*) FROM (SELECT FROM order_events GROUP BY order_id HAVING count(*) = 3) said";
    assert_eq!(world.count(said).await, 40);
    let by_operators = "SELECT count(*) FROM order_events WHERE reason LIKE 'paid back by hand: %'";
    assert_eq!(world.count(by_operators).await, by_hand);
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    world.no_intents_open().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// A gateway that is away when the money is due: somebody pays it back, and the gateway is asked no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_not_asked_for_what_went_back_by_hand() {
    let (world, bank, worker) = World::with_gateway(Conduct::Pays).await;
    let sale = world.paid_sale("paid", 5, 600, gateway()).await;
    let (by_hand, by_gateway) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    for order in [by_hand, by_gateway] {
        world.until_payment(order, "paid").await;
    }
    bank.conducts(Conduct::IsDown);
    for order in [by_hand, by_gateway] {
        cancel(&world.orders(), order, Cancellation::Operator).await.unwrap();
    }
    let failed = "SELECT count(*) FROM payments WHERE state = 'refund_due' AND last_error IS NOT NULL";
    world.until("both were tried", || async { world.count(failed).await == 2 }).await;
    assert_eq!(world.payment_desk().refunded_by_hand(by_hand, ADA).await.unwrap(), ByHand::Recorded);
    // Whoever was asking for it when it was said has heard by now that the gateway is away.
    tokio::time::sleep(Duration::from_millis(500)).await;
    bank.conducts(Conduct::Pays);
    world.until_payment(by_gateway, "refunded").await;
    assert_eq!(bank.books().refunds.into_keys().collect::<Vec<_>>(), [by_gateway]);
    assert_eq!(world.unsettled().await, 0);
    world.stop_balanced(worker, &sale).await;
}
