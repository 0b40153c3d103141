//! `POST /v1/orders/{id}/cancel`, and what an operator does.

use std::time::Duration;

use doorbuster::catalogue::ControlAction;
use doorbuster::config::Secret;
use doorbuster::order_life::{Cancellation, Outcome};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::life::{cancel, confirm};
use crate::support::{Block, Client, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_gives_up_what_is_his_and_not_paid() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 2, 600, json!({})).await;
    let client = world.client();
    let order = world.order(&sale, "alice").await;
    assert_eq!(client.cancel(order, "mallory").await.problem(), (404, "not-found"));
    for _ in 0..2 {
        let cancelled = client.cancel(order, "alice").await;
        let body = (&cancelled.body["state"], &cancelled.body["cancel_reason"]);
        assert_eq!((cancelled.status.as_u16(), body), (200, (&json!("cancelled"), &json!("buyer"))));
    }
    world.assert_settled(&sale).await;
    assert_eq!(world.stock(&sale, "TEE").await, 2);
    assert_eq!(client.claim(&sale, "alice", "another", &[("TEE", 1)]).await.status, 202);
    world.drained().await;

    let paid = world.order(&sale, "bob").await;
    confirm(&world.orders(), paid).await.unwrap();
    assert_eq!(client.cancel(paid, "bob").await.problem(), (409, "not-cancellable"));
    let nothing = "01KAJ3V2PC00000001ZZZZZZZZ";
    for id in [nothing, "x"] {
        assert_eq!(client.cancel(id, "alice").await.problem(), (404, "not-found"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_paid_back_and_a_sale_can_end_that() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 5, 600, json!({ "buyer_cancel": "until_close" })).await;
    let (client, door) = (world.client(), world.orders());
    let (first, second) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    for order in [first, second] {
        confirm(&door, order).await.unwrap();
    }
    assert_eq!(client.cancel(first, "alice").await.status, 200);
    assert!(door.read(first).await.unwrap().refund_due_at.is_some());
    world.control(&sale, ControlAction::Close).await;
    assert_eq!(client.cancel(second, "bob").await.problem(), (409, "not-cancellable"));
    let by_operator = cancel(&door, second, Cancellation::Operator).await;
    assert_eq!(by_operator.unwrap(), Outcome::Cancelled { refund: true });
    world.assert_settled(&sale).await;
    let never = world.paid_sale("never", 5, 600, json!({ "buyer_cancel": "never" })).await;
    let order = world.order(&never, "alice").await;
    assert_eq!(client.cancel(order, "alice").await.problem(), (409, "not-cancellable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_stored_yet_is_waited_for() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 5, 600, json!({})).await;
    let block = Block::persisting(&world).await;
    let client = world.client();
    let order = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.id();
    let too_early = client.cancel(&order, "alice").await;
    assert_eq!(too_early.problem(), (409, "not-stored-yet"));
    assert!(too_early.retry_after().is_some());
    assert_eq!(client.cancel(&order, "mallory").await.problem(), (404, "not-found"));
    let waiting = tokio::spawn({
        let (client, order) = (client.clone(), order.clone());
        async move { client.cancel(&order, "alice").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    block.release().await;
    assert_eq!(waiting.await.unwrap().body["state"], "cancelled");
    world.assert_settled(&sale).await;
}

async fn admin(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let client = Client::new(world.node().admin.unwrap());
    let headers = [("authorization", "Bearer a-token-of-enough-length")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = client.send(method, &format!("/admin/v1/{path}"), &headers, body).await.unwrap();
    (reply.status.as_u16(), reply.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cancels_and_says_why_over_http_and_on_the_terminal() {
    let world = World::with(|settings| settings.admin_token = Secret::new("a-token-of-enough-length")).await;
    let sale = world.paid_sale("paid", 5, 600, json!({ "buyer_cancel": "never" })).await;
    let (first, second) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    let path = format!("orders/{first}/cancel");
    for bad in [json!({}), json!({ "reason": " " }), json!({ "reason": "x", "why": "y" })] {
        assert_eq!(admin(&world, Method::POST, &path, bad).await.0, 400);
    }
    let body = json!({ "reason": "fraud", "actor": "ada" });
    let (status, answer) = admin(&world, Method::POST, &path, body.clone()).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(true)), "{answer}");
    let event = &answer["order"]["events"][0];
    assert_eq!((&event["actor"], &event["reason"]), (&json!("admin-api: ada"), &json!("fraud")));
    assert_eq!(admin(&world, Method::POST, &path, body).await.1["changed"], false);
    assert_eq!(admin(&world, Method::GET, "orders/01KAJ3V2PC00000001ZZZZZZZZ", Value::Null).await.0, 404);
    let (_, shown) = admin(&world, Method::GET, &format!("orders/{first}"), Value::Null).await;
    assert_eq!(shown["order"]["cancel_reason"], "operator");

    let (redis, second) = (world.redis.url(), second.to_string());
    let command = async |args: &[&str]| {
        let servers = ["--redis-url", &redis, "--postgres-url", &world.postgres_url];
        let program = env!("CARGO_BIN_EXE_doorbuster");
        tokio::process::Command::new(program).arg("order").args(args).args(servers).output().await.unwrap()
    };
    let unasked = command(&["cancel", &second, "--reason", "broken"]).await;
    assert_eq!(unasked.status.code(), Some(1), "nobody was asked: {unasked:?}");
    let done = command(&["cancel", &second, "--reason", "broken", "--by", "ada", "--yes"]).await;
    assert!(
        done.status.success() && String::from_utf8_lossy(&done.stdout).contains("back on sale"),
        "{done:?}"
    );
    world.assert_settled(&sale).await;
    let shown = String::from_utf8(command(&["show", &second]).await.stdout).unwrap();
    for text in ["cancelled (operator)", "cli: ada: broken", "back on sale"] {
        assert!(shown.contains(text), "{shown}");
    }
    let json: Value = serde_json::from_slice(&command(&["show", &second, "--json"]).await.stdout).unwrap();
    assert_eq!(json["order"]["units"], "back");
    assert_eq!(command(&["show", "01KAJ3V2PC00000001ZZZZZZZZ"]).await.status.code(), Some(1));
}
