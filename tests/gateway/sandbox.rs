//! The sandbox by itself: its controls, its door, and what it finds again.

use doorbuster::payment::{
    ChargeState, ChargeStatus, Gateway, HttpGatewayOptions, Rates, Sandbox, SandboxError, SandboxOptions,
};
use hyper::StatusCode;
use serde_json::json as object;

use crate::shop::{Shop, charge_of, json, of, options, order, paid, sandbox, send, token, until};

#[tokio::test]
async fn rates_are_read_and_changed_while_it_runs() {
    let sandbox = sandbox(Rates::default()).await;
    let shop = Shop::at(&sandbox.url());
    assert!(matches!(shop.gateway.charge(&charge_of(order(1))).await, Ok(ChargeState::Paid { .. })));
    let changed = send(sandbox.address, "PUT", "/sandbox", &[], r#"{"decline_rate":1}"#).await;
    assert_eq!((changed.status, json(&changed)["decline_rate"].as_f64()), (StatusCode::OK, Some(1.0)));
    assert!(matches!(shop.gateway.charge(&charge_of(order(2))).await, Ok(ChargeState::Declined { .. })));
    for bad in [r#"{"decline_rate":1.5}"#, r#"{"declines":1}"#, r#"{"delay_ms":-1}"#, "no"] {
        let refused = send(sandbox.address, "PUT", "/sandbox", &[], bad).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let read = send(sandbox.address, "GET", "/sandbox", &[], "").await;
    assert_eq!(
        json(&read),
        object!({
            "decline_rate": 1.0, "error_rate": 0.0, "unknown_rate": 0.0, "undecided_rate": 0.0, "lie_rate": 0.0,
            "lost_webhook_rate": 0.0, "delay_ms": 0, "settle_ms": 2000,
        })
    );
}

#[tokio::test]
async fn every_charge_is_listed() {
    let sandbox = sandbox(Rates::default()).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    shop.gateway.charge(&charge_of(order)).await.unwrap();
    shop.gateway.refund(order).await.unwrap();
    let listed = json(&send(sandbox.address, "GET", "/sandbox/charges", &[], "").await);
    let charge = &listed["charges"][0];
    assert_eq!(charge["order_id"], order.to_string());
    assert_eq!((&charge["status"], &charge["amount"]), (&object!("refunded"), &object!(1500)));
    assert_eq!((&charge["times_charged"], &charge["times_refunded"]), (&object!(1), &object!(1)));
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused() {
    let sandbox = sandbox(Rates::default()).await;
    let order = order(1).to_string();
    let body = |amount: i64, currency: &str| {
        object!({ "order_id": order, "buyer": "alice", "amount": amount, "currency": currency }).to_string()
    };
    let charge = async |key: &str, body: &str| {
        send(sandbox.address, "POST", "/v1/charges", &[("idempotency-key", key)], body).await.status.as_u16()
    };
    assert_eq!(charge("another", &body(1500, "EUR")).await, 400);
    assert_eq!(charge(&order, &body(0, "EUR")).await, 422);
    assert_eq!(charge(&order, &body(1500, "euro")).await, 422);
    assert_eq!(charge(&order, "{}").await, 400);
    assert_eq!(charge(&order, &body(1500, "EUR")).await, 200);
    assert_eq!(charge(&order, &body(1501, "EUR")).await, 422, "the same order with another amount");
    assert_eq!(charge(&order, &body(1500, "USD")).await, 422);
    let refund = format!("/v1/charges/{order}/refund");
    assert_eq!(send(sandbox.address, "POST", &refund, &[("idempotency-key", &order)], "").await.status, 400);
    assert_eq!(send(sandbox.address, "GET", "/v1/charges/no-order", &[], "").await.status, 400);
    assert_eq!(send(sandbox.address, "GET", "/v1", &[], "").await.status, 404);
    assert_eq!(sandbox.charges()[0].times_charged, 1);
}

#[tokio::test]
async fn with_a_token_nobody_else_comes_in() {
    let options_with = SandboxOptions { token: Some(token()), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options_with).await.unwrap();
    for path in ["/sandbox", "/sandbox/charges", "/v1/charges/x"] {
        assert_eq!(send(sandbox.address, "GET", path, &[], "").await.status, StatusCode::UNAUTHORIZED);
    }
    let asked = Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(1))).await;
    assert!(asked.is_err() && sandbox.charges().is_empty());
    let (shop, order) =
        (Shop::with(HttpGatewayOptions { token: Some(token()), ..options(&sandbox.url()) }), order(2));
    assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(paid(order)));
}

#[tokio::test]
async fn without_a_token_it_stays_on_this_machine() {
    let everywhere = || SandboxOptions { listen: "0.0.0.0:0".parse().unwrap(), ..SandboxOptions::default() };
    let Err(SandboxError::TokenNeeded(_)) = Sandbox::start(everywhere()).await else { panic!() };
    assert!(Sandbox::start(SandboxOptions { token: Some(token()), ..everywhere() }).await.is_ok());
}

#[tokio::test]
async fn it_comes_back_with_its_charges() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |rates| {
        let state = Some(dir.path().join("charges.jsonl"));
        Sandbox::start(SandboxOptions { rates, state, ..SandboxOptions::default() }).await.unwrap()
    };
    let sandbox = start(Rates::default()).await;
    let (shop, kept, refunded, undecided) = (Shop::at(&sandbox.url()), order(1), order(2), order(3));
    shop.gateway.charge(&charge_of(kept)).await.unwrap();
    shop.gateway.charge(&charge_of(refunded)).await.unwrap();
    shop.gateway.refund(refunded).await.unwrap();
    sandbox.set_rates(Rates { undecided_rate: 1.0, settle_ms: 600_000, ..Rates::default() }).unwrap();
    shop.gateway.charge(&charge_of(undecided)).await.unwrap();
    let before = sandbox.charges();
    sandbox.stop().await;

    let sandbox = start(Rates { decline_rate: 1.0, settle_ms: 1, ..Rates::default() }).await;
    let now = sandbox.charges();
    assert_eq!(now[..2], before[..2]);
    let shop = Shop::at(&sandbox.url());
    assert_eq!(shop.gateway.charge(&charge_of(kept)).await, Ok(paid(kept)), "it is not charged anew");
    shop.gateway.refund(refunded).await.unwrap();
    assert_eq!(of(&sandbox, refunded).unwrap().times_refunded, 1);
    until("what was undecided is decided", || {
        of(&sandbox, undecided).unwrap().status == ChargeStatus::Declined
    })
    .await;
}
