//! `snapshot.lua` and `sample.lua`: stock and position of one moment, and where the log stands.

use doorbuster::log::EntryId;
use doorbuster::reconcile::{LogSample, Snapshot};
use doorbuster::redis::RedisError;

use crate::shop::{Shop, sku};

async fn snapshot(shop: &Shop) -> Result<Snapshot, RedisError> {
    Snapshot::take(&shop.at.redis, &shop.at.scripts, &shop.sale).await
}

async fn sample(shop: &Shop) -> Result<LogSample, RedisError> {
    LogSample::take(&shop.at.redis, &shop.at.scripts).await
}

/// The stock that the log makes, up to a position.
async fn stock_by_the_log(shop: &Shop, position: EntryId) -> i64 {
    let entries = shop.at.log().await;
    10 - (entries.iter().filter(|raw| raw.id <= position && raw.fields[0].0.as_ref() == b"order").count()
        as i64)
}

#[tokio::test]
async fn the_stock_is_what_the_entries_up_to_the_position_made() {
    let shop = Shop::open(&[("A", 10), ("B", 3)]).await;
    let before = shop.at.changes().await;
    let first = snapshot(&shop).await.unwrap();
    assert_eq!(shop.at.changes().await, before, "it writes nothing");
    assert!(first.is_here);
    assert_eq!(first.stock, [(sku("A"), 10), (sku("B"), 3)].into());
    for buyer in ["alice", "bob", "carol"] {
        let order = shop.order(buyer, "k", &[("A", 1)]).await;
        let taken = snapshot(&shop).await.unwrap();
        assert_eq!(taken.position, order.entry());
        assert_eq!(taken.stock[&sku("A")], stock_by_the_log(&shop, taken.position).await);
    }
}

#[tokio::test]
async fn what_is_pending_or_undelivered_is_not_settled() {
    let shop = Shop::open(&[("A", 10)]).await;
    let orders = shop.orders_of_one(3).await;
    let undelivered = snapshot(&shop).await.unwrap().unsettled.unwrap();
    let begun: Vec<EntryId> = shop.at.log().await.iter().map(|raw| raw.id).take(3).collect();
    assert_eq!(begun[..2], [shop.at.opening_entry, undelivered], "the sale's definition");
    let allotment = begun[2];
    shop.at.deliver().await;
    let late = shop.order("late", "k", &[("A", 1)]).await.entry();
    for (settled, oldest) in [
        (vec![undelivered, allotment, orders[1]], Some(orders[0])),
        (vec![orders[0]], Some(orders[2])),
        (vec![orders[2]], Some(late)),
    ] {
        shop.at.settle(&settled).await.unwrap();
        assert_eq!(snapshot(&shop).await.unwrap().unsettled, oldest);
        let sample = sample(&shop).await.unwrap();
        assert_eq!((sample.unsettled, sample.last, sample.length), (oldest, late, 7));
        assert_eq!(sample.first, shop.at.opening_entry);
        assert!(!sample.is_persisted(late));
    }
    shop.at.deliver().await;
    shop.at.settle(&[late]).await.unwrap();
    let sample = sample(&shop).await.unwrap();
    assert_eq!((sample.unsettled, sample.backlog), (None, 0));
    assert!(sample.is_persisted(late) && sample.now_ms >= late.ms);
    assert_eq!(snapshot(&shop).await.unwrap().unsettled, None);
}

#[tokio::test]
async fn a_thousand_items_fit_in_one_snapshot() {
    let names: Vec<String> = (0..1000).map(|i| format!("{}-{i:04}", "S".repeat(59))).collect();
    let stock: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let shop = Shop::open(&stock).await;
    let taken = snapshot(&shop).await.unwrap();
    assert_eq!((taken.stock.len(), taken.stock.values().sum::<i64>()), (1000, 7000));
}

#[tokio::test]
async fn a_log_that_was_deleted_gives_no_snapshot_and_a_sale_that_was_an_empty_one() {
    let shop = Shop::open(&[("A", 10)]).await;
    shop.at.raw("DEL", &shop.at.keys.sale(&shop.sale).sale, &[]).await;
    let taken = snapshot(&shop).await.unwrap();
    assert!(!taken.is_here && taken.stock.is_empty());
    shop.at.raw("DEL", &shop.at.keys.log, &[]).await;
    assert!(matches!(snapshot(&shop).await, Err(RedisError::Fenced(_))));
    assert!(matches!(sample(&shop).await, Err(RedisError::Fenced(_))));
    shop.at.raw("HSET", &shop.at.keys.meta, &["stamp", "other"]).await;
    assert!(matches!(snapshot(&shop).await, Err(RedisError::Fenced(_))));
}
