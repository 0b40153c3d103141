//! What goes over the wire, and what is made of it.

use std::time::{Duration, Instant};

use doorbuster::payment::{ChargeState, Gateway, GatewayError, HttpGatewayOptions, Rates};
use serde_json::{Value, json};

use crate::scripted::{Act, Scripted};
use crate::shop::{Shop, charge_of, options, order, paid, sandbox, token};

const PAID: &str = r#"{"status":"paid","amount":1500,"currency":"EUR","reference":"ch_1"}"#;

#[tokio::test]
async fn a_charge_is_taken_once_looked_up_and_paid_back() {
    let sandbox = sandbox(Rates::default()).await;
    let (shop, order) = (Shop::at(&sandbox.url()), order(1));
    assert_eq!(shop.gateway.look_up(order).await, Ok(None));
    assert!(matches!(shop.gateway.refund(order).await, Err(GatewayError::Refused(_))));
    for _ in 0..3 {
        assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(paid(order)));
    }
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(paid(order))));
    for _ in 0..2 {
        assert_eq!(shop.gateway.refund(order).await, Ok(()));
    }
    let charges = sandbox.charges();
    assert_eq!((charges.len(), charges[0].times_charged, charges[0].times_refunded), (1, 1, 1));
    // Nobody may confirm an order whose buyer has his money back.
    assert_eq!(shop.gateway.look_up(order).await, Ok(Some(ChargeState::Refunded)));
    assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(ChargeState::Refunded));

    let counts =
        [("charge", "paid", 3), ("look_up", "none", 1), ("look_up", "paid", 1), ("refund", "refunded", 2)];
    for (operation, result, count) in counts {
        assert_eq!(shop.requests(operation, result), count, "{operation} {result}");
    }
    assert_eq!(shop.requests("refund", "refused"), 1);
    assert_eq!(shop.attempts(), sandbox.requests());
}

#[tokio::test]
async fn the_requests_are_those_of_the_protocol() {
    let acts = [Act::Say(200, PAID), Act::Say(200, PAID), Act::Say(200, r#"{"status":"refunded"}"#)];
    let server = Scripted::start(acts).await;
    let with_path =
        HttpGatewayOptions { token: Some(token()), ..options(&format!("{}/shop/", server.url())) };
    let (shop, order) = (Shop::with(with_path), order(1));
    shop.gateway.charge(&charge_of(order)).await.unwrap();
    shop.gateway.look_up(order).await.unwrap();
    shop.gateway.refund(order).await.unwrap();
    let requests = server.requests();
    let has = |n: usize, line: &str| {
        let lower = line.to_lowercase();
        assert!(requests[n].to_lowercase().lines().any(|found| found == lower), "{line} in {}", requests[n]);
    };
    has(0, "POST /shop/v1/charges HTTP/1.1");
    has(0, &format!("Idempotency-Key: {order}"));
    has(0, "Content-Type: application/json");
    let body: Value = serde_json::from_str(requests[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        body,
        json!({ "order_id": order.to_string(), "buyer": "alice", "amount": 1500, "currency": "EUR" })
    );
    has(1, &format!("GET /shop/v1/charges/{order} HTTP/1.1"));
    has(2, &format!("POST /shop/v1/charges/{order}/refund HTTP/1.1"));
    has(2, &format!("Idempotency-Key: refund-{order}"));
    for n in 0..3 {
        has(n, &format!("Authorization: Bearer {}", token().expose()));
    }
}

#[tokio::test]
async fn a_request_that_is_refused_is_not_repeated() {
    let server = Scripted::start([Act::Say(422, r#"{"error":"amount"}"#), Act::Say(200, PAID)]).await;
    let shop = Shop::at(&server.url());
    let Err(GatewayError::Refused(why)) = shop.gateway.charge(&charge_of(order(1))).await else { panic!() };
    assert!(why.contains("422") && why.contains("amount"), "{why}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_wrong_refuses_no_order() {
    let server = Scripted::start([Act::Say(401, ""), Act::Say(401, "")]).await;
    let shop = Shop::at(&server.url());
    let asked = shop.gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::NotAsked(_))), "{asked:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_gateway_that_says_when_is_asked_then_and_not_before() {
    let busy = Act::SayWith(429, "retry-after: 1\r\n", "");
    let server = Scripted::start([busy, Act::Say(200, PAID)]).await;
    let (shop, began) = (Shop::at(&server.url()), Instant::now());
    assert!(shop.gateway.charge(&charge_of(order(1))).await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());

    let server = Scripted::start([Act::SayWith(429, "retry-after: 3600\r\n", ""), Act::Say(200, PAID)]).await;
    let asked = Shop::at(&server.url()).gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::NotAsked(_))), "{asked:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let long: &'static str =
        Box::leak(format!(r#"{{"status":"paid","reference":"{}"}}"#, "x".repeat(1 << 20)).into());
    let server = Scripted::start([Act::Say(200, long)]).await;
    let asked = Shop::at(&server.url()).gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Scripted::start([Act::Say(200, PAID)]).await;
    let header: &'static str = Box::leak(format!("location: {}/v1/charges\r\n", other.url()).into());
    let server = Scripted::start([Act::SayWith(307, header, "")]).await;
    let asked = Shop::at(&server.url()).gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert!(other.requests().is_empty());
}
