//! A hosted checkout tells of its payments by signed webhooks, or not at all.

use doorbuster::config::Secret;
use doorbuster::payment::ChargeState;
use doorbuster::webhooks::WebhookSecret;
use hyper::Method;
use serde_json::json;

use crate::support::payments::{Conduct, id_of_nobody};
use crate::support::{Client, Reply, World};

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

fn declined_event(order: impl std::fmt::Display) -> String {
    json!({ "type": "payment.declined", "data": { "order_id": order.to_string(), "reason": "no" } })
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
    assert_eq!(sender.send("m-3", now, &declined_event(order)).await.body["payment"], json!("paid"));
    assert_eq!(world.incidents("payment_contradiction").await, 1);
    assert_eq!(world.history_of(order).await, [("confirmed".to_owned(), "payment webhook".to_owned())]);

    let other = world.order(&sale, "bob").await;
    assert_eq!(sender.send("m-4", now, &declined_event(other)).await.body["payment"], json!("declined"));
    assert_eq!(world.cancelled_for(other).await, "declined");

    let unknown = id_of_nobody(order, now as u64 * 1000);
    let early = sender.send("m-5", now, &paid_event(unknown)).await;
    assert_eq!((early.problem(), early.retry_after().is_some()), ((409, "not-stored-yet"), true));
    assert_eq!(world.incidents("paid_without_order").await, 0, "it may be on its way");
    let minutes_old = id_of_nobody(order, (now as u64 - 600) * 1000);
    let missing = sender.send("m-9", now, &paid_event(minutes_old)).await;
    assert_eq!(missing.problem(), (409, "not-stored-yet"));
    assert_eq!(world.incidents("paid_without_order").await, 1);
    let old = id_of_nobody(order, 1_700_000_000_000);
    for id in ["m-6", "m-10"] {
        assert_eq!(sender.send(id, now, &paid_event(old)).await.problem(), (404, "not-found"));
        assert_eq!(world.incidents("paid_without_order").await, 2, "{id}");
    }
    let declined = id_of_nobody(order, 1_700_000_000_001);
    assert_eq!(sender.send("m-11", now, &declined_event(declined)).await.status, 404);
    assert_eq!(world.incidents("paid_without_order").await, 2, "no money was taken");
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

/// A hosted checkout whose webhook never came: the gateway is asked when the hold is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_checkout_took_and_did_not_tell_is_asked_for() {
    let (world, bank, worker) = World::with_gateway(Conduct::Pays).await;
    let sale = world.paid_sale("hosted", 5, 2, json!({})).await;
    let (order, unpaid) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    let (currency, reference) = ("EUR".to_owned(), "elsewhere".to_owned());
    bank.books.lock().unwrap().charges.insert(order, ChargeState::Paid { amount: 1999, currency, reference });
    // This one, where the gateway was asked before the sweeper came, or the one that has claimed its unit again.
    world.until("what was paid is confirmed", || async { world.orders_confirmed().await == 1 }).await;
    assert!(["paid", "moved"].contains(&world.payment_of(order).await.as_str()));
    world.until_payment(unpaid, "void").await;
    assert!(bank.books().asked.is_empty(), "nobody was charged: {:?}", bank.books());
    world.stop_balanced(worker, &sale).await;
}
