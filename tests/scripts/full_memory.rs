//! A Redis at its `maxmemory` takes no orders, and drains all the same.

use doorbuster::claim::{ClaimError, Decision};
use doorbuster::log::StockEntry;
use doorbuster::order::CancelReason;
use doorbuster::order_id::Mark;

use crate::open_partition::{NO_BACKLOG, StockChange};
use crate::shop::{Shop, accepted, order_entry, sku};

async fn set_maxmemory(shop: &Shop, bytes: &str) {
    let args = vec!["SET".into(), "maxmemory".into(), bytes.into()];
    shop.at.redis.command("CONFIG", &shop.at.keys.meta, args).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_refuses_up_front_and_drains() {
    let shop = Shop::open_on(&[("stream-node-max-entries", "1")], &[("A", 5)]).await;
    let claim = shop.claim("alice", "k", &[("A", 2)]);
    let id = accepted(&shop.decide(std::slice::from_ref(&claim)).await[0]);
    let entries = shop.at.deliver().await;
    set_maxmemory(&shop, "1").await;

    let before = shop.at.changes().await;
    let refused = shop.at.decide(&shop.sale, &[shop.claim("bob", "k", &[("A", 1)])], NO_BACKLOG).await;
    assert!(matches!(refused, Err(ClaimError::Refused(_))), "{refused:?}");
    assert_eq!(shop.at.changes().await, before);
    assert_eq!(shop.stock("A").await, Some(3));

    let settled: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(shop.at.settle(&settled).await.unwrap(), 3);
    assert_eq!(shop.at.trim(id.entry()).await.unwrap(), 3);
    let (cause, lines) = (StockEntry::cause_of_return(id), vec![(sku("A"), 2)]);
    let stock = StockEntry { mark: Mark::random(), sale: shop.sale.clone(), cause, lines };
    let order = order_entry(&claim, &shop.sale, "k");
    let change = StockChange { stock: &stock, return_of: Some((&order, id, CancelReason::Expired)) };
    shop.at.change_stock(&change).await.unwrap();
    assert_eq!(shop.stock("A").await, Some(5));

    set_maxmemory(&shop, "0").await;
    assert_eq!(shop.decide_one("alice", "k", &[("A", 2)]).await, Decision::Duplicate(id));
    shop.order("bob", "k", &[("A", 1)]).await;
}
