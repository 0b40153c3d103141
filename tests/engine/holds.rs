//! Orders that wait for their payment, and the end of those that do not get it.

use std::time::{Duration, Instant};

use doorbuster::config::{Role, Seconds};
use doorbuster::order_id::OrderId;
use doorbuster::order_life::{Cancellation, LifeError, Outcome, Refusal};
use serde_json::json;

use crate::support::World;
use crate::support::life::{TOLD, cancel, confirm};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_its_payment_only_where_its_sale_asks_for_one() {
    let world = World::new().await;
    let free = world.open_sale("free", &[("TEE", 5, None)]).await;
    let paid = world.paid_sale("paid", 5, 60, json!({})).await;
    let free = world.order(&free, "alice").await;
    let held = world.order(&paid, "alice").await;
    let orders = world.orders();
    let free = orders.read(free).await.unwrap();
    assert_eq!((free.state.as_str(), free.expires_at, free.events.len()), ("confirmed", None, 0));
    let stored = orders.read(held).await.unwrap();
    assert_eq!(stored.state, "pending");
    assert_eq!(
        stored.expires_at.unwrap(),
        held.accepted_at() + Duration::from_secs(60),
        "to the millisecond"
    );
    let shown = world.client().get(&format!("/v1/orders/{held}"), "alice").await.body;
    assert_eq!((&shown["state"], shown["expires_at"].is_string()), (&json!("pending"), true));

    assert_eq!(confirm(&orders, held).await.unwrap(), Outcome::Confirmed);
    assert_eq!(confirm(&orders, held).await.unwrap(), Outcome::Unchanged);
    let stored = orders.read(held).await.unwrap();
    assert_eq!(stored.state, "confirmed");
    let steps: Vec<_> =
        stored.events.iter().map(|e| (e.sequence, e.state.as_str(), e.actor.as_str())).collect();
    assert_eq!(steps, [(1, "confirmed", "test")]);
    let late = cancel(&orders, held, Cancellation::Expired).await;
    assert!(matches!(late, Err(LifeError::Refused(_, Refusal::Confirmed))), "{late:?}");
    world.assert_settled(&paid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_paid_in_time_is_for_sale_again_within_a_second() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 1, 2, json!({})).await;
    let order = world.order(&sale, "alice").await;
    let client = world.client();
    assert_eq!(client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.problem(), (409, "sold-out"));
    let expires = order.accepted_at() + Duration::from_secs(2);
    while world.stock(&sale, "TEE").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let late = jiff::Timestamp::now().duration_since(expires);
        // What it takes here is told; the bound is for a machine that does nothing else.
        assert!(late.as_secs_f64() < 10.0, "{late:?} after the hold was over");
    }
    let late = jiff::Timestamp::now().duration_since(expires);
    println!("for sale again {} ms after the hold was over", late.as_millis());
    assert!(!late.is_negative(), "before the hold was over");
    let again = client.get(&format!("/v1/orders/{order}"), "alice").await.body;
    assert_eq!((&again["state"], &again["cancel_reason"]), (&json!("cancelled"), &json!("expired")));
    world.assert_settled(&sale).await;
    // His key stays his order's for ever; his limit is free again.
    let known = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!((known.status.as_u16(), known.id()), (200, order.to_string()));
    assert_eq!(client.claim(&sale, "alice", "another", &[("TEE", 1)]).await.status, 202);
    let paid = confirm(&world.orders(), order).await;
    assert!(matches!(paid, Err(LifeError::Refused(_, Refusal::Cancelled(_)))), "{paid:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sweepers_side_by_side_end_a_storm_of_holds_once_each() {
    let world = World::with_partitions(2).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(world.second_node(|settings| settings.role = Role::Sweeper).await);
    }
    let sale = world.paid_sale("paid", 600, 3, json!({})).await;
    let begun = Instant::now();
    let orders = world.orders_of(&sale, 500).await;
    let door = world.orders();
    for order in &orders[..100] {
        // Some are paid while the sweepers are at it.
        let paid = confirm(&door, *order).await;
        assert!(paid.is_ok() || begun.elapsed() > Duration::from_secs(2), "{paid:?}");
    }
    world
        .until("no order is pending", || async {
            world.count("SELECT count(*) FROM orders WHERE state = 'pending'").await == 0
        })
        .await;
    world.assert_settled(&sale).await;
    let confirmed = world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await;
    assert_eq!(confirmed, world.count("SELECT count(*) FROM order_events WHERE state = 'confirmed'").await);
    assert_eq!(world.stock(&sale, "TEE").await, 600 - confirmed);
    for other in others {
        other.stop().await;
    }
}

/// An order pays, is given up, and runs out, all at once: one of them has it, and the units are counted by that alone.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_payment_a_cancel_and_the_end_of_the_hold_one_wins() {
    let world = World::new().await;
    let sale = world.paid_sale("paid", 100, 2, json!({})).await;
    let orders = world.orders_of(&sale, 60).await;
    let door = world.orders();
    let last = orders.iter().map(|order| order.accepted_at()).max().unwrap() + Duration::from_secs(2);
    let wait = last.duration_since(jiff::Timestamp::now()).as_millis().max(0) as u64;
    tokio::time::sleep(Duration::from_millis(wait.saturating_sub(150))).await;
    let races = orders.iter().map(|&order| {
        let door = door.clone();
        tokio::spawn(async move {
            tokio::join!(
                confirm(&door, order),
                cancel(&door, order, Cancellation::Buyer),
                cancel(&door, order, Cancellation::Declined)
            )
        })
    });
    for race in races.collect::<Vec<_>>() {
        let (paid, given_up, declined) = race.await.unwrap();
        let cancelled = |it: &Result<Outcome, LifeError>| matches!(it, Ok(Outcome::Cancelled { .. }));
        let won = u8::from(matches!(paid, Ok(Outcome::Confirmed))) + u8::from(cancelled(&given_up));
        assert!(won + u8::from(cancelled(&declined)) <= 1, "{paid:?} {given_up:?} {declined:?}");
    }
    world
        .until("no order is pending", || async {
            world.count("SELECT count(*) FROM orders WHERE state = 'pending'").await == 0
        })
        .await;
    world.assert_settled(&sale).await;
    let steps = "SELECT count(*) FROM order_events WHERE sequence > 1";
    assert_eq!(world.count(steps).await, 0, "an order took two steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_after_its_sale_is_retired_goes_nowhere() {
    let world = World::with(|settings| settings.sale_retention_s = Seconds::new(1)).await;
    let closes = jiff::Timestamp::now() + Duration::from_secs(3);
    let sale = world.paid_sale("brief", 5, 600, json!({ "closes_at": closes.to_string() })).await;
    let order: OrderId = world.order(&sale, "alice").await;
    let removed = "SELECT count(*) FROM sale_publications WHERE removed_at IS NOT NULL";
    world.until("the sale's keys are gone", || async { world.count(removed).await == 1 }).await;
    let door = world.orders();
    assert_eq!(
        cancel(&door, order, Cancellation::Operator).await.unwrap(),
        Outcome::Cancelled { refund: false }
    );
    world
        .until("its return is over", || async {
            world.count("SELECT count(*) FROM stock_intents WHERE ended_as = 'void'").await == 1
        })
        .await;
    let shown = serde_json::to_value(door.read(order).await.unwrap()).unwrap();
    assert_eq!((&shown["state"], &shown["units"]), (&json!("cancelled"), &json!("void")));
    assert_eq!(world.count("SELECT count(*) FROM stock_ledger WHERE cause LIKE 'return:%'").await, 0);
    assert_eq!(door.expire(100, TOLD).await.unwrap(), 0);
}
