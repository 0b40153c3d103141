//! `settle.lua`, `position.lua` and `trim.lua`: what is persisted counts once, and nothing else is forgotten.

use doorbuster::log::EntryId;
use doorbuster::redis::{GROUP, Script};

use crate::shop::Shop;

/// Each entry in a node of its own, so that an approximate trim is exact.
const EXACT_TRIM: (&str, &str) = ("stream-node-max-entries", "1");

async fn position(shop: &Shop, group: &str) -> (String, String, String, i64) {
    let keys = vec![shop.at.keys.log.clone()];
    let args = vec![group.into(), shop.at.opening_entry.to_string().into()];
    let reply = shop.at.run(Script::Position, keys, args).await.unwrap();
    let (entry, mark, last, length, _): (String, String, String, i64, String) = reply.convert().unwrap();
    (entry, mark, last, length)
}

/// The mark of an entry, as long as the log holds it.
async fn mark_asked(shop: &Shop, asked: EntryId) -> String {
    let args = vec![GROUP.into(), asked.to_string().into()];
    let reply = shop.at.run(Script::Position, vec![shop.at.keys.log.clone()], args).await.unwrap();
    let (_, _, _, _, mark): (String, String, String, i64, String) = reply.convert().unwrap();
    mark
}

#[tokio::test]
async fn tells_whether_the_log_still_holds_an_entry() {
    let shop = Shop::open_on(&[EXACT_TRIM], &[("A", 5)]).await;
    let orders = shop.orders_of_one(2).await;
    let first = shop.at.log().await.into_iter().find(|entry| entry.id == orders[0]).unwrap();
    assert_eq!(mark_asked(&shop, orders[0]).await.as_bytes(), first.mark());
    shop.at.raw("XTRIM", &shop.at.keys.log, &["MINID", &orders[1].to_string()]).await;
    assert_eq!(mark_asked(&shop, orders[0]).await, "");
    assert_ne!(mark_asked(&shop, orders[1]).await, "");
}

async fn ids(shop: &Shop) -> Vec<EntryId> {
    shop.at.log().await.iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn an_entry_lowers_the_backlog_once() {
    let shop = Shop::open(&[("A", 5)]).await;
    let orders = shop.orders_of_one(3).await;
    assert_eq!(shop.at.settle(&orders).await.unwrap(), 0, "not delivered yet");
    shop.at.deliver().await;
    assert_eq!(shop.at.settle(&[orders[0], orders[0], shop.at.opening_entry]).await.unwrap(), 1);
    assert_eq!(shop.at.settle(&[orders[1], orders[0]]).await.unwrap(), 1);
    assert_eq!(shop.at.settle(&orders[..2]).await.unwrap(), 0);
    // Three orders, the sale and its allotment; two of them settled.
    assert_eq!(shop.at.backlog().await, [5, 2]);
}

#[tokio::test]
async fn an_entry_of_another_hand_makes_no_room_for_claims() {
    let shop = Shop::open(&[("A", 5)]).await;
    let orders = shop.orders_of_one(2).await;
    let mut foreign = Vec::new();
    for _ in 0..3 {
        let id = shop.at.raw("XADD", &shop.at.keys.log, &["*", "order", "by hand"]).await;
        foreign.push(id.as_string().unwrap().parse().unwrap());
    }
    shop.at.deliver().await;
    assert_eq!(shop.at.settle_and_count(&foreign).await.unwrap(), (3, 0), "four others wait");
    assert_eq!(shop.at.settle_and_count(&orders).await.unwrap(), (2, 1));
    assert_eq!(shop.at.backlog().await, [5, 5], "never below zero");
    let (sale, allotment) = (ids(&shop).await[1], ids(&shop).await[2]);
    assert_eq!(shop.at.settle_and_count(&[sale, allotment]).await.unwrap(), (2, 2));
    assert_eq!(shop.at.backlog().await, [7, 7]);
    let another = vec![shop.order("another", "k", &[("A", 1)]).await.entry()];
    assert_eq!(shop.at.backlog().await, [8, 7]);
    shop.at.deliver().await;
    assert_eq!(shop.at.settle_and_count(&another).await.unwrap(), (1, 0));
}

#[tokio::test]
async fn settles_as_many_as_it_says() {
    let shop = Shop::open(&[("A", 6000)]).await;
    let mut orders = Vec::new();
    for batch in 0..20 {
        let claims: Vec<_> =
            (0..250).map(|i| shop.claim(&format!("{batch}-{i}"), "k", &[("A", 1)])).collect();
        orders.extend(shop.decide(&claims).await.iter().map(|d| crate::shop::accepted(d).entry()));
    }
    shop.at.deliver().await;
    assert_eq!(shop.at.settle(&orders).await.unwrap(), 5000);
}

#[tokio::test]
async fn what_is_settled_and_to_be_paid_for_is_told_once() {
    let shop = Shop::open(&[("A", 5)]).await;
    let orders = shop.orders_of_one(3).await;
    shop.at.deliver().await;
    let payments = shop.at.keys.payments.clone();
    // The first two again, as after a reply that was lost.
    for (settled, due, told) in [(0..2, ["X", "Y"].as_slice(), 2), (0..2, &["X", "Y"], 2), (2..3, &["Z"], 3)]
    {
        shop.at.settle_telling(&orders[settled], due).await.unwrap();
        let length = shop.at.redis.on_key("XLEN", &payments, Vec::new()).await.unwrap();
        assert_eq!(length.as_i64(), Some(told));
    }
}

#[tokio::test]
async fn the_position_stops_below_what_is_pending_or_undelivered() {
    let shop = Shop::open(&[("A", 5)]).await;
    let first = shop.at.opening_entry.to_string();
    let (entry, mark, last, length) = position(&shop, GROUP).await;
    assert_eq!((entry, length), (first, 3));
    assert_eq!(mark.as_bytes(), shop.at.log().await[0].mark());
    let allotment = last.parse().unwrap();
    let sale = shop.at.log().await[1].id;

    let orders = shop.orders_of_one(4).await;
    shop.at.deliver().await;
    let undelivered = shop.order("late", "k", &[("A", 1)]).await.entry();
    let at = async || position(&shop, GROUP).await;
    for (settled, persisted) in [
        (vec![orders[0], orders[1], orders[3]], shop.at.opening_entry),
        (vec![allotment], shop.at.opening_entry),
        (vec![sale], orders[1]),
        (vec![orders[2]], orders[3]),
    ] {
        shop.at.settle(&settled).await.unwrap();
        let (entry, mark, last, length) = at().await;
        assert_eq!((entry, last), (persisted.to_string(), undelivered.to_string()));
        assert_eq!(length, 8);
        let log = shop.at.log().await;
        assert_eq!(mark.as_bytes(), log.iter().find(|raw| raw.id == persisted).unwrap().mark());
    }
    shop.at.deliver().await;
    assert_eq!(at().await.0, orders[3].to_string());
    shop.at.settle(&[undelivered]).await.unwrap();
    assert_eq!(at().await.0, undelivered.to_string());
    let (entry, mark, last, _) = position(&shop, "nobody").await;
    assert_eq!((entry, mark, last), (String::new(), String::new(), undelivered.to_string()));
}

#[tokio::test]
async fn a_trim_stops_at_its_bound() {
    let shop = Shop::open_on(&[EXACT_TRIM], &[("A", 5)]).await;
    let orders = shop.orders_of_one(4).await;
    shop.at.deliver().await;
    shop.at.settle(&ids(&shop).await).await.unwrap();
    // The opening, the sale, its allotment and one order lie below.
    assert_eq!(shop.at.trim(orders[1]).await.unwrap(), 4);
    assert_eq!(ids(&shop).await, orders[1..]);
    assert_eq!(shop.at.trim(orders[1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_trim_forgets_nothing_that_is_pending() {
    let shop = Shop::open_on(&[EXACT_TRIM], &[("A", 5)]).await;
    let orders = shop.orders_of_one(4).await;
    shop.at.deliver().await;
    let all = ids(&shop).await;
    let but_the_second: Vec<EntryId> = all.iter().copied().filter(|&id| id != orders[1]).collect();
    shop.at.settle(&but_the_second).await.unwrap();
    assert_eq!(shop.at.trim(orders[3]).await.unwrap(), 0);
    assert_eq!(ids(&shop).await, all);
    assert_eq!(shop.at.trim(orders[1]).await.unwrap(), 4, "below it, it may");
    assert_eq!(ids(&shop).await, orders[1..]);
}

#[tokio::test]
async fn a_trim_forgets_nothing_that_was_never_delivered() {
    let shop = Shop::open_on(&[EXACT_TRIM], &[("A", 5)]).await;
    let delivered = shop.orders_of_one(2).await;
    shop.at.deliver().await;
    shop.at.settle(&ids(&shop).await).await.unwrap();
    shop.order("late", "k", &[("A", 1)]).await;
    let last = shop.order("later", "k", &[("A", 1)]).await.entry();
    let all = ids(&shop).await;
    assert_eq!(shop.at.trim(last).await.unwrap(), 0);
    assert_eq!(ids(&shop).await, all);
    assert_eq!(shop.at.trim(delivered[1]).await.unwrap(), 4);
}
