//! What the sandbox tells: signed, once it is decided, until somebody takes it.

use doorbuster::payment::{ChargeState, Gateway, Rates, Sandbox, SandboxOptions, SandboxWebhook};
use doorbuster::webhooks::WebhookSecret;
use hyper::StatusCode;
use serde_json::json as object;

use crate::receiver::{Answer, Received, Receiver};
use crate::shop::{Shop, charge_of, json, order, send, until};

fn secret() -> WebhookSecret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}

async fn telling(receiver: &Receiver, rates: Rates) -> Sandbox {
    let webhook = Some(SandboxWebhook { url: receiver.url().parse().unwrap(), secret: secret() });
    Sandbox::start(SandboxOptions { rates, webhook, ..SandboxOptions::default() }).await.unwrap()
}

fn assert_signed(received: &Received) {
    let timestamp = received.header("webhook-timestamp").parse().unwrap();
    let (id, signature) = (received.header("webhook-id"), received.header("webhook-signature"));
    assert!(secret().verify(id, timestamp, signature, received.body.as_bytes()));
    assert!((jiff::Timestamp::now().as_second() - timestamp).abs() < 60);
    assert_eq!(received.header("content-type"), "application/json");
}

#[tokio::test]
async fn each_outcome_is_told_once() {
    let receiver = Receiver::start([]).await;
    let sandbox = telling(&receiver, Rates::default()).await;
    let (shop, paid, declined) = (Shop::at(&sandbox.url()), order(1), order(2));
    for _ in 0..2 {
        shop.gateway.charge(&charge_of(paid)).await.unwrap();
    }
    until("the first is told", || receiver.received().len() == 1).await;
    sandbox.set_rates(Rates { decline_rate: 1.0, ..Rates::default() }).unwrap();
    shop.gateway.charge(&charge_of(declined)).await.unwrap();
    until("both are told", || sandbox.charges().iter().all(|charge| charge.is_told)).await;
    let received = receiver.received();
    assert_eq!(receiver.types(), ["payment.paid", "payment.declined"]);
    received.iter().for_each(assert_signed);
    let data = |order: String| {
        object!({
            "order_id": order, "amount": 1500, "currency": "EUR", "reference": format!("sandbox-{order}"), "reason": null,
        })
    };
    assert_eq!(received[0].event()["data"], data(paid.to_string()));
    assert_eq!(received[1].event()["data"]["reason"], "insufficient_funds");
}

#[tokio::test]
async fn a_lie_is_told_as_it_is() {
    let receiver = Receiver::start([]).await;
    let sandbox = telling(&receiver, Rates { lie_rate: 1.0, ..Rates::default() }).await;
    let said = Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(said, Ok(ChargeState::Declined { .. })));
    until("it is told", || receiver.types() == ["payment.paid"]).await;
}

#[tokio::test]
async fn what_is_undecided_is_told_when_it_is_decided() {
    let receiver = Receiver::start([]).await;
    let sandbox = telling(&receiver, Rates { undecided_rate: 1.0, settle_ms: 200, ..Rates::default() }).await;
    Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(1))).await.unwrap();
    until("it is told", || receiver.types() == ["payment.paid"]).await;
}

#[tokio::test]
async fn it_is_told_again_under_the_same_id_until_it_is_taken() {
    let receiver = Receiver::start([Answer::Status(503), Answer::Status(500)]).await;
    let sandbox = telling(&receiver, Rates::default()).await;
    Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(1))).await.unwrap();
    until("it is taken", || sandbox.charges()[0].is_told).await;
    let received = receiver.received();
    received.iter().for_each(assert_signed);
    assert!(
        received.len() == 3
            && received.iter().all(|one| one.header("webhook-id") == received[0].header("webhook-id"))
    );
}

/// Whoever is not told finds it when he asks.
#[tokio::test]
async fn what_gets_lost_on_its_way_is_not_sent_again() {
    let receiver = Receiver::start([]).await;
    let sandbox = telling(&receiver, Rates { lost_webhook_rate: 1.0, ..Rates::default() }).await;
    let (shop, lost) = (Shop::at(&sandbox.url()), order(1));
    shop.gateway.charge(&charge_of(lost)).await.unwrap();
    until("it is lost", || sandbox.charges()[0].is_told).await;
    sandbox.set_rates(Rates::default()).unwrap();
    shop.gateway.charge(&charge_of(order(2))).await.unwrap();
    until("the next one is told", || sandbox.charges().iter().all(|charge| charge.is_told)).await;
    let told = receiver.received();
    assert!(told.len() == 1 && told[0].event()["data"]["order_id"] == order(2).to_string());
    assert!(matches!(shop.gateway.look_up(lost).await, Ok(Some(ChargeState::Paid { .. }))));
}

#[tokio::test]
async fn a_buyer_who_pays_elsewhere_is_told_of_by_webhook() {
    let receiver = Receiver::start([]).await;
    let sandbox = telling(&receiver, Rates::default()).await;
    let order = order(1);
    let path = format!("/v1/checkout/{order}");
    for _ in 0..2 {
        let answer = send(sandbox.address, "POST", &path, &[], r#"{"amount":900,"currency":"EUR"}"#).await;
        assert_eq!((answer.status, &json(&answer)["status"]), (StatusCode::OK, &object!("paid")));
    }
    until("it is told", || receiver.received().len() == 1).await;
    let event = receiver.received()[0].event();
    assert_eq!(
        (&event["data"]["order_id"], &event["data"]["amount"]),
        (&object!(order.to_string()), &object!(900))
    );
    assert_eq!(sandbox.charges()[0].times_charged, 1);
}

#[tokio::test]
async fn what_was_not_told_before_it_was_killed_is_told_after() {
    let dir = tempfile::tempdir().unwrap();
    let options = |webhook| {
        let state = Some(dir.path().join("charges.jsonl"));
        SandboxOptions { webhook, state, ..SandboxOptions::default() }
    };
    // Nobody is there to be told.
    let sandbox = Sandbox::start(options(None)).await.unwrap();
    Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(1))).await.unwrap();
    sandbox.stop().await;
    let receiver = Receiver::start([]).await;
    let webhook = || Some(SandboxWebhook { url: receiver.url().parse().unwrap(), secret: secret() });
    let sandbox = Sandbox::start(options(webhook())).await.unwrap();
    until("it is told", || sandbox.charges()[0].is_told).await;
    sandbox.stop().await;
    let sandbox = Sandbox::start(options(webhook())).await.unwrap();
    Shop::at(&sandbox.url()).gateway.charge(&charge_of(order(2))).await.unwrap();
    until("the other is told", || sandbox.charges().iter().all(|charge| charge.is_told)).await;
    assert_eq!(receiver.received().len(), 2, "the first is not told again");
}
