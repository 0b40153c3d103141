//! Each rate of the sandbox, as the client meets it.

use std::time::{Duration, Instant};

use doorbuster::payment::{ChargeState, ChargeStatus, Gateway, GatewayError, HttpGatewayOptions, Rates};

use crate::shop::{Shop, charge_of, of, options, order, paid, sandbox};

#[tokio::test]
async fn declined() {
    let sandbox = sandbox(Rates { decline_rate: 1.0, ..Rates::default() }).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    let reason = "insufficient_funds".to_owned();
    let declined = ChargeState::Declined { reason };
    assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(declined.clone()));
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(declined.clone())));
    assert!(matches!(shop.gateway.refund(order).await, Err(GatewayError::Refused(_))));
    // Final: not even a gateway in a better mood changes its mind.
    sandbox.set_rates(Rates::default()).unwrap();
    assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(declined));
    assert_eq!(of(&sandbox, order).unwrap().times_charged, 0);
}

#[tokio::test]
async fn failing_without_doing() {
    let sandbox = sandbox(Rates { error_rate: 1.0, ..Rates::default() }).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    let asked = shop.gateway.charge(&charge_of(order)).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert_eq!((sandbox.requests(), sandbox.charges().len()), (3, 0));
}

#[tokio::test]
async fn failing_now_and_then_is_met_by_trying_again() {
    let sandbox = sandbox(Rates { error_rate: 0.5, ..Rates::default() }).await;
    let shop = Shop::with(HttpGatewayOptions { attempts: 10, ..options(&sandbox.url()) });
    for n in 0..20 {
        assert!(matches!(shop.gateway.charge(&charge_of(order(n))).await, Ok(ChargeState::Paid { .. })));
    }
    assert!(sandbox.charges().iter().all(|charge| charge.times_charged == 1));
    assert!(sandbox.requests() > 20, "nothing failed: {}", sandbox.requests());
}

#[tokio::test]
async fn doing_without_answering() {
    let sandbox = sandbox(Rates { unknown_rate: 1.0, ..Rates::default() }).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    let asked = shop.gateway.charge(&charge_of(order)).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert_eq!((sandbox.requests(), of(&sandbox, order).unwrap().times_charged), (3, 1));
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(paid(order))), "it can be looked up");
    let asked = shop.gateway.refund(order).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert_eq!(of(&sandbox, order).unwrap().times_refunded, 1);
    sandbox.set_rates(Rates::default()).unwrap();
    assert_eq!(shop.gateway.refund(order).await, Ok(()));
    assert_eq!(of(&sandbox, order).unwrap().times_refunded, 1);
}

#[tokio::test]
async fn losing_answers_now_and_then_charges_nobody_twice() {
    let sandbox = sandbox(Rates { unknown_rate: 0.5, ..Rates::default() }).await;
    let shop = Shop::with(HttpGatewayOptions { attempts: 10, ..options(&sandbox.url()) });
    for n in 0..20 {
        let order = order(n);
        assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(paid(order)));
        assert_eq!(shop.gateway.refund(order).await, Ok(()));
    }
    let once =
        |charge: &doorbuster::payment::SandboxCharge| (charge.times_charged, charge.times_refunded) == (1, 1);
    assert!(sandbox.charges().len() == 20 && sandbox.charges().iter().all(once));
    assert!(sandbox.requests() > 40, "no answer was lost: {}", sandbox.requests());
}

#[tokio::test]
async fn undecided_for_a_while() {
    let sandbox = sandbox(Rates { undecided_rate: 1.0, settle_ms: 600, ..Rates::default() }).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    let (began, asked) = (Instant::now(), shop.gateway.charge(&charge_of(order)).await);
    if began.elapsed() < Duration::from_millis(500) {
        assert_eq!(asked, Ok(ChargeState::Undecided));
    }
    let deadline = Instant::now() + crate::shop::PATIENCE;
    while shop.gateway.look_up(order).await == Ok(Some(ChargeState::Undecided)) {
        assert!(Instant::now() < deadline, "it is never decided");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(paid(order))));
    assert_eq!(of(&sandbox, order).unwrap().times_charged, 1);
}

#[tokio::test]
async fn lying() {
    let sandbox = sandbox(Rates { lie_rate: 1.0, ..Rates::default() }).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    for _ in 0..2 {
        assert!(matches!(shop.gateway.charge(&charge_of(order)).await, Ok(ChargeState::Declined { .. })));
    }
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(paid(order))));
    assert_eq!(of(&sandbox, order).unwrap().status, ChargeStatus::Paid);
    assert_eq!(shop.gateway.refund(order).await, Ok(()));
}

#[tokio::test]
async fn slowly() {
    let sandbox = sandbox(Rates { delay_ms: 60_000, ..Rates::default() }).await;
    let timeout = Duration::from_millis(300);
    let shop = Shop::with(HttpGatewayOptions { timeout, attempts: 2, ..options(&sandbox.url()) });
    let order = order(1);
    let asked = shop.gateway.charge(&charge_of(order)).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert_eq!(of(&sandbox, order).unwrap().times_charged, 1, "it is done before the answer is due");
}

#[tokio::test]
async fn what_happens_to_an_order_follows_from_the_seed() {
    let rates = Rates { decline_rate: 0.5, ..Rates::default() };
    let (one, two) = (sandbox(rates).await, sandbox(rates).await);
    let mut declined = 0;
    for n in 0..30 {
        let charge = charge_of(order(n));
        let state = Shop::at(&one.url()).gateway.charge(&charge).await;
        assert_eq!(Shop::at(&two.url()).gateway.charge(&charge).await, state);
        declined += usize::from(matches!(state, Ok(ChargeState::Declined { .. })));
    }
    assert!((1..30).contains(&declined), "{declined}");
}
