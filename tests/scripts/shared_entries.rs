//! The orders of one call share an entry of the stream: each has a position of its own, whatever the clock and the log do.

use std::collections::BTreeSet;

use doorbuster::log::{EntryId, LogEntry, RawEntry, read_entry, read_range};
use doorbuster::redis::{GROUP, Script};
use fred::types::Value;

use crate::shop::Shop;

async fn stream_length(shop: &Shop) -> i64 {
    shop.at.raw("XLEN", &shop.at.keys.log, &[]).await.as_i64().unwrap()
}

async fn entry_at(shop: &Shop, id: EntryId) -> Option<RawEntry> {
    read_entry(&shop.at.redis, &shop.at.keys, id).await.unwrap()
}

/// Positions one behind the other in one millisecond, of which the last one is that of the entry that holds them.
fn are_of_one_entry(orders: &[EntryId], log: &[RawEntry]) -> bool {
    let last = orders.last().unwrap();
    let held = |id: &EntryId| log.iter().any(|entry| entry.id == *id && entry.held_by == *last);
    orders.windows(2).all(|two| two[0].next() == two[1]) && orders.iter().all(held)
}

#[tokio::test]
async fn orders_of_one_call_share_an_entry() {
    let shop = Shop::open(&[("A", 100)]).await;
    let length = stream_length(&shop).await;
    let many = shop.orders_of_one_call("first", 40).await;
    let one = shop.orders_of_one_call("second", 1).await;
    assert_eq!(stream_length(&shop).await, length + 2);
    let log = shop.at.log().await;
    assert!(are_of_one_entry(&many, &log) && are_of_one_entry(&one, &log));
    assert!(log.windows(2).all(|two| two[0].id < two[1].id), "positions are in their order");
    // Each is found by its own position, with what it says.
    for (n, id) in many.iter().enumerate() {
        let LogEntry::Order(order) = entry_at(&shop, *id).await.unwrap().decode().unwrap() else { panic!() };
        assert_eq!(order.buyer.as_str(), format!("buyer-{n}"));
    }
    let last = *many.last().unwrap();
    assert!(entry_at(&shop, last.next()).await.is_none_or(|entry| entry.id == one[0]));
    // Also from the middle of an entry.
    let from_middle = read_range(&shop.at.redis, &shop.at.keys, many[7], 10).await.unwrap();
    assert_eq!(from_middle[0].id, many[7]);
    assert!(from_middle.len() >= 33);
}

#[tokio::test]
async fn calls_of_one_millisecond_never_share_a_position() {
    let shop = Shop::open(&[("A", 100_000)]).await;
    // The log has a future: every call finds an entry of its millisecond, or a later one.
    let ahead = EntryId { ms: 4_000_000_000_000, seq: 7 };
    shop.at.raw("XADD", &shop.at.keys.log, &[&ahead.to_string(), "order", "by hand"]).await;
    let mut orders = Vec::new();
    for call in 0..50 {
        orders.extend(shop.orders_of_one_call(&call.to_string(), 1 + call % 5).await);
    }
    assert!(orders.windows(2).all(|two| two[0] < two[1]), "{orders:?}");
    assert_eq!(orders[0], ahead.next());
}

/// Sent together, so that Redis has many of them in each millisecond.
#[tokio::test]
async fn calls_right_behind_each_other_never_share_a_position() {
    let shop = Shop::open(&[("A", 100_000)]).await;
    // As many as one buyer may have orders.
    let keys: Vec<String> = (0..100).map(|call| call.to_string()).collect();
    let calls = keys.iter().enumerate().map(|(call, key)| shop.orders_of_one_call(key, 1 + call % 5));
    let orders: Vec<EntryId> = futures_util::future::join_all(calls).await.into_iter().flatten().collect();
    let positions: BTreeSet<EntryId> = orders.iter().copied().collect();
    assert_eq!(positions.len(), orders.len());
    let milliseconds: BTreeSet<u64> = orders.iter().map(|id| id.ms).collect();
    assert!(milliseconds.len() < 100, "each call had a millisecond to itself: nothing was tried");
}

#[tokio::test]
async fn positions_of_deleted_entries_are_not_given_again() {
    let shop = Shop::open(&[("A", 100)]).await;
    let ahead = EntryId { ms: 4_000_000_000_000, seq: 7 };
    let log = &shop.at.keys.log;
    shop.at.raw("XADD", log, &[&ahead.to_string(), "order", "by hand"]).await;
    shop.at.raw("XDEL", log, &[&ahead.to_string()]).await;
    let orders = shop.orders_of_one_call("k", 3).await;
    assert_eq!(orders[0], ahead.next());
    assert!(are_of_one_entry(&orders, &shop.at.log().await));
}

#[tokio::test]
async fn an_entry_is_settled_with_all_that_it_holds() {
    let shop = Shop::open(&[("A", 100)]).await;
    let (two, three) = (shop.orders_of_one_call("two", 2).await, shop.orders_of_one_call("three", 3).await);
    let delivered = shop.at.deliver().await;
    assert!(two.iter().chain(&three).all(|id| delivered.iter().any(|entry| entry.id == *id)));
    let all = two.iter().chain(&three).copied().collect::<Vec<_>>();
    assert_eq!(shop.at.settle(&all).await.unwrap(), 5);
    assert_eq!(shop.at.settle(&all).await.unwrap(), 0, "only once");
    // The sale and its allotment beside them.
    assert_eq!(shop.at.backlog().await, [7, 5]);
}

#[tokio::test]
async fn the_watermark_stands_at_the_last_of_them() {
    let shop = Shop::open(&[("A", 100)]).await;
    let orders = shop.orders_of_one_call("k", 3).await;
    let delivered = shop.at.deliver().await;
    let all: Vec<EntryId> = delivered.iter().map(|entry| entry.id).collect();
    shop.at.settle(&all).await.unwrap();
    let args: Vec<Value> = vec![GROUP.into(), orders[2].to_string().into()];
    let reply = shop.at.run(Script::Position, vec![shop.at.keys.log.clone()], args).await.unwrap();
    let (entry, mark, last, _, asked): (String, String, String, i64, String) = reply.convert().unwrap();
    assert_eq!([&entry, &last], [&orders[2].to_string(); 2]);
    let of_last = entry_at(&shop, orders[2]).await.unwrap();
    assert_eq!([mark.as_bytes(), asked.as_bytes()], [of_last.mark(); 2]);
    assert_ne!(of_last.mark(), entry_at(&shop, orders[0]).await.unwrap().mark());
}

#[tokio::test]
async fn several_fields_of_another_kind_are_one_entry() {
    let shop = Shop::open(&[("A", 100)]).await;
    let log = &shop.at.keys.log;
    for fields in [["order", "x", "note", "y"], ["note", "x", "note", "y"]] {
        let args: Vec<&str> = [&["*"][..], &fields].concat();
        let id: EntryId = shop.at.raw("XADD", log, &args).await.as_string().unwrap().parse().unwrap();
        assert_eq!(entry_at(&shop, id).await.unwrap().fields.len(), 2);
    }
    // Too early in its millisecond for as many positions.
    let args = ["5000000000000-1", "order", "x", "order", "y", "order", "z"];
    shop.at.raw("XADD", log, &args).await;
    assert_eq!(entry_at(&shop, args[0].parse().unwrap()).await.unwrap().fields.len(), 3);
}
