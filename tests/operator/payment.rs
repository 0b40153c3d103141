//! `doorbuster payment refunded`, as an operator and a script see it.

use doorbuster::order_id::OrderId;
use doorbuster::order_life::Cancellation;
use serde_json::json;

use crate::binary::run;
use crate::support::World;
use crate::support::life::cancel;
use crate::support::payments::{hear, id_of_nobody, paid};

/// Pays, and cancels where the money is to be due, long ago.
async fn settle(world: &World, order: OrderId, is_due: bool) {
    hear(&world.payment_desk(), order, &paid(1999)).await.unwrap();
    if is_due {
        cancel(&world.orders(), order, Cancellation::Operator).await.unwrap();
        let age = "UPDATE payments SET changed_at = now() - interval '1 hour' WHERE order_id = $1";
        world.db.execute(age, &[&order.to_uuid()]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_by_hand_ends_what_wants_attention() {
    let world = World::new().await;
    let sale = world.paid_sale("hosted", 5, 600, json!({})).await;
    let order = world.order(&sale, "alice").await;
    settle(&world, order, true).await;
    world.no_intents_open().await;
    world.drained().await;
    let seen = run(&world, &["status"]).await;
    assert!(seen.code == 3 && seen.out.contains("1 payment(s) wait for an answer"), "{}", seen.out);

    let id = order.to_string();
    let command = ["payment", "refunded", &id, "--reason", "transfer 4711", "--by", "olga"];
    let wordless = run(&world, &["payment", "refunded", &id]).await;
    assert_eq!(wordless.code, 2, "without a reason: {}", wordless.error);
    let unasked = run(&world, &command).await;
    assert!(unasked.code == 1 && unasked.error.contains("Add --yes"), "{}", unasked.error);
    assert!(unasked.error.contains("(1999 EUR, minor units) went back"), "{}", unasked.error);
    assert_eq!(world.payment_of(order).await, "refund_due");
    let refund = async || {
        let shown = run(&world, &["order", "show", &id]).await.out;
        shown.lines().find_map(|line| line.strip_prefix("refund   ")).unwrap_or("none").to_owned()
    };
    assert!(refund().await.starts_with("due since "), "{}", refund().await);
    let done = run(&world, &[&command[..], &["--yes"]].concat()).await;
    assert_eq!((done.code, done.out), (0, format!("payment of {id}: refunded\n")));
    // Said again it changes nothing, so nobody is asked.
    let again = run(&world, &command).await;
    assert_eq!((again.code, again.out), (0, format!("payment of {id}: already refunded\n")));
    let shown = run(&world, &["order", "show", &id]).await.out;
    assert_eq!(shown.matches("cli: olga: paid back by hand: transfer 4711").count(), 1, "{shown}");
    assert!(refund().await.starts_with("made, was due since "), "{}", refund().await);
    assert_eq!(run(&world, &["payment", "list"]).await.out, "none\n");
    let well = run(&world, &["status"]).await;
    assert_eq!(well.code, 0, "{}", well.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_money_that_is_not_due_is_refused_with_what_to_do() {
    let world = World::new().await;
    let sale = world.paid_sale("hosted", 5, 600, json!({})).await;
    let (kept, due) = (world.order(&sale, "alice").await, world.order(&sale, "bob").await);
    settle(&world, kept, false).await;
    settle(&world, due, true).await;
    let nobody = id_of_nobody(kept, 1_700_000_000_000).to_string();
    let (kept, due) = (kept.to_string(), due.to_string());
    let refunded = async |orders: &[&str]| {
        let words = ["--reason", "transfer", "--by", "olga", "--yes", "--json"];
        run(&world, &[&["payment", "refunded"], orders, &words].concat()).await
    };
    // A mistyped id: nothing is done.
    let mistyped = refunded(&[&due, &nobody]).await;
    assert!(mistyped.code == 1 && mistyped.error.contains("postgres has no order"), "{}", mistyped.error);
    assert_eq!(world.count("SELECT count(*) FROM payments WHERE state = 'refund_due'").await, 1);

    let mixed = refunded(&[&kept, &due]).await;
    assert_eq!(mixed.code, 1, "{}", mixed.out);
    let answer = mixed.json();
    let (first, second) = (&answer["payments"][0], &answer["payments"][1]);
    assert_eq!((&first["order"], &first["outcome"]), (&json!(kept), &json!("failed")));
    let why = first["detail"].as_str().unwrap();
    assert!(why.contains("its payment is paid") && why.contains("doorbuster order cancel"), "{why}");
    assert_eq!((&second["order"], &second["outcome"]), (&json!(due), &json!("refunded")));
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 1);
    assert_eq!(refunded(&[&due]).await.json()["payments"][0]["outcome"], "already refunded");
}
