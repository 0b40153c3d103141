//! Letters that hold no order which a claim has made: they are ended, and no unit appears out of nothing.

use doorbuster::dead_letters::{DeadLetterError, Dropped};

use crate::dead::Desk;
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_claim_has_written_returns_nothing() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let entries = [
        ("order", "not an order"),
        ("order", "00000000 0000000000000001 demo mallory k-1 NOTHING:1"),
        ("order", "00000000 0000000000000001 demo mallory k-2 TEE:1,NOTHING:1"),
        ("order", "00000000 0000000000000001 demo mallory k-3 TEE:4000000000"),
        ("order", "00000000 0000000000000001 demo mallory k-4 TEE:1,TEE:1"),
        ("order", "00000000 0000000000000001 nowhere mallory k-5 TEE:1"),
        ("\u{1b}[2J", "x"),
    ];
    for (field, value) in entries {
        world.redis_says(&["XADD", "{p0}:log", "*", field, value]).await;
    }
    world
        .until("all are dead letters", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 7
        })
        .await;
    let desk = Desk::of(&world).await;
    for (letter, (_, value)) in desk.open().await.into_iter().zip(entries) {
        let dropped = desk.drop(letter).await.unwrap();
        match dropped {
            Dropped::Marked => assert!(!value.contains("mallory"), "{value}"),
            Dropped::Cancelled { returned, .. } => assert_eq!(returned, None, "{value}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(desk.open().await, []);
    assert_eq!(world.count("SELECT count(*) FROM stock_intents WHERE applied_at IS NULL").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'operator'").await, 5);
    assert_eq!(world.count("SELECT count(*) FROM order_lines WHERE NOT refused").await, 0);
    world.assert_balanced(&sale, "TEE").await;
    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    world.start_node().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// An item of which a rebuild has made Redis believe that the letter's units are sold: then they come back.
#[tokio::test(flavor = "multi_thread")]
async fn units_that_a_rebuild_has_counted_come_back() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let order = "00000000 0000000000000001 demo mallory k TEE:1,NOTHING:1";
    world.redis_says(&["XADD", "{p0}:log", "*", "order", order]).await;
    world
        .until("it is a dead letter", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 1
        })
        .await;
    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    world.start_node().await;
    assert_eq!(world.stock(&sale, "TEE").await, 9);
    let desk = Desk::of(&world).await;
    let letter = desk.open().await[0];
    let dropped = desk.drop(letter).await.unwrap();
    let expected = serde_json::json!({ "TEE": 1 });
    assert!(matches!(dropped, Dropped::Cancelled { returned: Some(units), .. } if units == expected));
    world.no_intents_open().await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// Postgres asks for a change until its entry is persisted; Redis writes the entry once.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_that_is_awaited_is_not_dropped() {
    let world = World::new().await;
    let check = "ALTER TABLE stock_ledger ADD CONSTRAINT no_mugs CHECK (sku <> 'MUG')";
    world.db.batch_execute(check).await.unwrap();
    let sale = world
        .published_sale("demo", &[("MUG", 10, None)], "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
        .await;
    world
        .until("the allotment is a dead letter", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 1
        })
        .await;
    let desk = Desk::of(&world).await;
    let letter = desk.open().await[0];
    let refused = desk.drop(letter).await;
    assert!(matches!(&refused, Err(DeadLetterError::StockChange { .. })), "{refused:?}");
    world.db.batch_execute("ALTER TABLE stock_ledger DROP CONSTRAINT no_mugs").await.unwrap();
    desk.retry(letter).await.unwrap();
    world.no_intents_open().await;
    world.assert_balanced(&sale, "MUG").await;
}
