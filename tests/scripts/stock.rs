//! `change_stock.lua` and `publish_sale.lua`: what Postgres decides takes effect once, and never backwards.

use doorbuster::claim::Decision;
use doorbuster::log::{EntryId, LogEntry, StockEntry};
use doorbuster::order::CancelReason;
use doorbuster::order_id::Mark;
use doorbuster::redis::{KeeperScript, RedisError};

use crate::open_partition::{Definition, Opening, StockChange};
use crate::shop::{Shop, accepted, order_entry, sku};

#[tokio::test]
async fn a_cause_changes_stock_once() {
    let shop = Shop::open(&[("A", 5)]).await;
    let id: EntryId = shop.at.add_stock(&shop.sale, "more", &[("A", 2), ("B", 1)]).await.parse().unwrap();
    let length = shop.at.log().await.len();
    for _ in 0..2 {
        assert_eq!(shop.at.add_stock(&shop.sale, "more", &[("A", 2), ("B", 1)]).await, "known");
    }
    assert_eq!((shop.stock("A").await, shop.stock("B").await), (Some(7), Some(1)));
    let log = shop.at.log().await;
    assert_eq!((log.len(), log.last().unwrap().id), (length, id));
    assert_eq!(shop.at.backlog().await, [3, 0]);
}

#[tokio::test]
async fn a_sale_that_is_not_here_gets_no_stock() {
    let shop = Shop::open(&[]).await;
    let other = "other".parse().unwrap();
    let length = shop.at.log().await.len();
    assert_eq!(shop.at.add_stock(&other, "first", &[("A", 2)]).await, "absent");
    assert_eq!(shop.at.log().await.len(), length);
    shop.at.publish(&other, &Definition::open(1, &[])).await.unwrap();
    assert_ne!(shop.at.add_stock(&other, "first", &[("A", 2)]).await, "absent", "it may be sent again");
}

#[tokio::test]
async fn a_log_that_is_missing_is_not_begun_anew_by_a_change() {
    let shop = Shop::open(&[("A", 5)]).await;
    shop.at.raw("DEL", &shop.at.keys.log, &[]).await;
    let (mark, sale) = (Mark::random(), shop.sale.clone());
    let stock = StockEntry { mark, sale, cause: "more".into(), lines: vec![(sku("A"), 2)] };
    let changed = shop.at.change_stock(&StockChange { stock: &stock, return_of: None }).await;
    assert!(matches!(changed, Err(RedisError::Fenced(_))), "{changed:?}");
    assert_eq!(shop.stock("A").await, Some(5));
    // Else the claims that follow would be accepted into a log that no worker reads.
    assert_eq!(shop.decide_one("alice", "k", &[("A", 1)]).await, Decision::Absent);
}

#[tokio::test]
async fn units_do_not_return_to_stock_that_is_missing() {
    let shop = Shop::open(&[("A", 5)]).await;
    let claim = shop.claim("alice", "k", &[("A", 2)]);
    let id = accepted(&shop.decide(std::slice::from_ref(&claim)).await[0]);
    shop.at.raw("HDEL", &shop.at.keys.sale(&shop.sale).sale, &["stock:A"]).await;
    let (cause, lines) = (StockEntry::cause_of_return(id), vec![(sku("A"), 2)]);
    let stock = StockEntry { mark: Mark::random(), sale: shop.sale.clone(), cause, lines };
    let order = order_entry(&claim, &shop.sale, "k");
    let return_of = Some((&order, id, CancelReason::Expired));
    let reply = shop.at.change_stock(&StockChange { stock: &stock, return_of }).await;
    assert_eq!(reply.as_deref(), Ok("absent"));
    assert_eq!(shop.decide_one("bob", "k", &[("A", 1)]).await, Decision::Absent);
}

#[tokio::test]
async fn units_are_taken_away_where_all_of_them_are_there_or_not_at_all() {
    let shop = Shop::open(&[("A", 5), ("B", 2)]).await;
    shop.order("alice", "k", &[("A", 3)]).await;
    let before = shop.at.changes().await;
    for lines in [[("A", -3), ("B", -1)], [("B", -1), ("A", -3)]] {
        assert_eq!(shop.at.add_stock(&shop.sale, "less", &lines).await, "short");
    }
    assert_eq!(shop.at.changes().await, before, "refused, and written all the same");
    let gone: EntryId = shop.at.add_stock(&shop.sale, "less", &[("A", -2), ("B", -1)]).await.parse().unwrap();
    assert_eq!(shop.at.add_stock(&shop.sale, "less", &[("A", -2), ("B", -1)]).await, "known");
    assert_eq!((shop.stock("A").await, shop.stock("B").await), (Some(0), Some(1)));
    assert_eq!(shop.at.log().await.last().unwrap().id, gone);
    assert_eq!(shop.decide_one("bob", "k", &[("A", 1)]).await, Decision::SoldOut(sku("A")));
    // A number that nobody knows is not made up.
    shop.at.raw("HDEL", &shop.at.keys.sale(&shop.sale).sale, &["stock:A"]).await;
    assert_eq!(shop.at.add_stock(&shop.sale, "lesser", &[("A", -1)]).await, "absent");
    assert_eq!(shop.decide_one("bob", "k", &[("A", 1)]).await, Decision::Absent);
}

#[tokio::test]
async fn a_sale_that_is_gone_is_not_begun_anew() {
    let shop = Shop::open(&[("A", 5)]).await;
    shop.order("alice", "k", &[("A", 3)]).await;
    let of_sale = shop.at.keys.sale(&shop.sale);
    for key in [&of_sale.sale, &of_sale.buyers] {
        shop.at.raw("DEL", key, &[]).await;
    }
    let length = shop.at.log().await.len();
    let next = Definition::open(2, &[]);
    assert_eq!(shop.at.publish_after(1, &shop.sale, &next).await, Ok(-1));
    assert_eq!(shop.at.log().await.len(), length);
    assert_eq!(shop.at.raw("EXISTS", &of_sale.sale, &[]).await.as_i64(), Some(0));
    // Else this key would be bought under once more.
    assert_eq!(shop.decide_one("alice", "k", &[("A", 3)]).await, Decision::Absent);
    // It never was here: begun.
    let other = "other".parse().unwrap();
    assert_eq!(shop.at.publish_after(0, &other, &next).await, Ok(2));
}

#[tokio::test]
async fn units_are_not_added_to_a_number_that_nobody_knows() {
    let shop = Shop::open(&[("A", 5)]).await;
    let (key, field) = (shop.at.keys.sale(&shop.sale).sale, "stock:A");
    shop.at.raw("HDEL", &key, &[field]).await;
    let length = shop.at.log().await.len();
    assert_eq!(shop.at.adjust(&shop.sale, "raise", &[("A", 2)]).await, "absent");
    assert_eq!((shop.stock("A").await, shop.at.log().await.len()), (None, length));
    shop.at.raw("HSET", &key, &[field, "5"]).await;
    assert_ne!(shop.at.adjust(&shop.sale, "raise", &[("A", 2)]).await, "absent");
    assert_eq!(shop.stock("A").await, Some(7));
}

#[tokio::test]
async fn stock_that_is_no_number_is_found_before_anything_is_written() {
    let shop = Shop::open(&[("A", 5), ("B", 5)]).await;
    shop.at.raw("HSET", &shop.at.keys.sale(&shop.sale).sale, &["stock:B", "many"]).await;
    let (mark, sale) = (Mark::random(), shop.sale.clone());
    let stock = StockEntry { mark, sale, cause: "more".into(), lines: vec![(sku("A"), 1), (sku("B"), 1)] };
    let before = shop.at.changes().await;
    assert!(shop.at.change_stock(&StockChange { stock: &stock, return_of: None }).await.is_err());
    assert_eq!(shop.at.changes().await, before);
}

#[tokio::test]
async fn a_return_frees_the_limit_but_keeps_the_key() {
    let shop = Shop::open(&[("A", 5)]).await;
    shop.at.publish(&shop.sale, &Definition::open(2, &[("A", Some(3))])).await.unwrap();
    let kept = shop.order("alice", "kept", &[("A", 1)]).await;
    let claim = shop.claim("alice", "back", &[("A", 2)]);
    let id = accepted(&shop.decide(std::slice::from_ref(&claim)).await[0]);
    let later = shop.decide_one("alice", "later", &[("A", 1)]).await;
    assert_eq!(later, Decision::LimitReached(Some(sku("A"))));

    let cause = StockEntry::cause_of_return(id);
    let lines = vec![(sku("A"), 2)];
    let stock = StockEntry { mark: Mark::random(), sale: shop.sale.clone(), cause, lines };
    let (order, reason) = (order_entry(&claim, &shop.sale, "back"), CancelReason::Declined);
    let change = StockChange { stock: &stock, return_of: Some((&order, id, reason)) };
    shop.at.change_stock(&change).await.unwrap();
    assert_eq!(shop.at.change_stock(&change).await.unwrap(), "known");
    assert_eq!(shop.stock("A").await, Some(4));
    let last = shop.at.log().await.pop().unwrap().decode().unwrap();
    assert_eq!(last, LogEntry::Return { order: id, reason, stock: stock.clone() });

    for (key, units, id) in [("back", 2, id), ("kept", 1, kept)] {
        assert_eq!(shop.decide_one("alice", key, &[("A", units)]).await, Decision::Duplicate(id), "{key}");
    }
    assert_eq!(shop.decide_one("alice", "back", &[("A", 1)]).await, Decision::KeyReused);
    let too_many = shop.decide_one("alice", "later", &[("A", 3)]).await;
    assert_eq!(too_many, Decision::LimitReached(Some(sku("A"))), "the other order still counts");
    shop.order("alice", "later", &[("A", 2)]).await;
}

#[tokio::test]
async fn an_older_version_never_replaces_a_newer_one() {
    let shop = Shop::open(&[("A", 5)]).await;
    let closed = Definition { control: "closed", ..Definition::open(12, &[("A", Some(2))]) };
    assert_eq!(shop.at.publish(&shop.sale, &closed).await.unwrap(), 12);
    // As numbers: as text, 9 would follow 12.
    for version in [9, 12] {
        assert_eq!(shop.at.publish(&shop.sale, &Definition::open(version, &[])).await.unwrap(), 12);
        assert_eq!(shop.decide_one("alice", "k", &[("A", 1)]).await, Decision::Closed);
    }
    assert_eq!(shop.at.publish(&shop.sale, &Definition::open(13, &[])).await.unwrap(), 13);
    shop.order("alice", "k", &[("A", 1)]).await;
}

#[tokio::test]
async fn a_newer_version_can_lift_a_limit_and_leaves_stock_alone() {
    let shop = Shop::open(&[("A", 5), ("B", 5)]).await;
    let limited = Definition::open(2, &[("A", Some(1)), ("B", Some(1))]);
    shop.at.publish(&shop.sale, &limited).await.unwrap();
    assert_eq!(shop.decide_one("alice", "1", &[("A", 2)]).await, Decision::LimitReached(Some(sku("A"))));
    let lifted = Definition::open(3, &[("A", None), ("B", Some(2))]);
    shop.at.publish(&shop.sale, &lifted).await.unwrap();
    shop.order("alice", "1", &[("A", 2)]).await;
    assert_eq!(shop.decide_one("alice", "2", &[("B", 3)]).await, Decision::LimitReached(Some(sku("B"))));
    assert_eq!((shop.stock("A").await, shop.stock("B").await), (Some(3), Some(5)));
}

#[tokio::test]
async fn each_version_that_is_new_here_is_logged_once() {
    let shop = Shop::open(&[("A", 5)]).await;
    let [length, backlog] = [shop.at.log().await.len() as i64, shop.at.backlog().await[0]];
    for (version, logged) in [(2, 1), (2, 1), (1, 1), (4, 2), (3, 2)] {
        shop.at.publish(&shop.sale, &Definition::open(version, &[])).await.unwrap();
        let log = shop.at.log().await;
        assert_eq!(
            [log.len() as i64, shop.at.backlog().await[0]],
            [length + logged, backlog + logged],
            "{version}"
        );
        let Ok(LogEntry::Sale(last)) = log.last().unwrap().decode() else { panic!("{log:?}") };
        assert_eq!((last.sale, last.version), (shop.sale.clone(), version.max(2 * logged)));
    }
    shop.at.raw("DEL", &shop.at.keys.log, &[]).await;
    let published = shop.at.publish(&shop.sale, &Definition::open(5, &[])).await;
    assert!(
        matches!(published, Err(RedisError::Fenced(_))),
        "begun a log that no worker reads: {published:?}"
    );
}

#[tokio::test]
async fn a_return_of_nothing_is_logged_and_frees_the_limit() {
    let shop = Shop::open(&[("A", 5)]).await;
    shop.at.publish(&shop.sale, &Definition::open(2, &[("A", Some(2))])).await.unwrap();
    let claim = shop.claim("alice", "k", &[("A", 2)]);
    let id = accepted(&shop.decide(std::slice::from_ref(&claim)).await[0]);
    let cause = StockEntry::cause_of_return(id);
    let stock = StockEntry { mark: Mark::random(), sale: shop.sale.clone(), cause, lines: vec![] };
    let order = order_entry(&claim, &shop.sale, "k");
    let change = StockChange { stock: &stock, return_of: Some((&order, id, CancelReason::OverAllotment)) };
    shop.at.change_stock(&change).await.unwrap();
    assert_eq!(shop.at.change_stock(&change).await.unwrap(), "known");
    assert_eq!(shop.stock("A").await, Some(3));
    shop.order("alice", "other", &[("A", 2)]).await;
}

#[tokio::test]
async fn a_rebuild_joins_the_records_of_a_buyer() {
    let shop = Shop::open(&[("A", 100_000)]).await;
    let buyers = shop.at.keys.sale(&shop.sale).buyers;
    shop.at.raw("DEL", &buyers, &[]).await;
    let opening = Opening::begin(&shop.at.redis, &shop.at.keys, 9).await.unwrap();
    let remember = async |token: &str, which: &str, records: Vec<(String, String)>| {
        let mut args: Vec<fred::types::Value> = vec![token.into(), which.into()];
        args.extend(records.into_iter().flat_map(|(buyer, record)| [buyer.into(), record.into()]));
        let keys = vec![shop.at.keys.meta.clone(), buyers.clone()];
        shop.at.redis.run_keeper(KeeperScript::Remember, keys, args).await
    };
    let first = (0..3999).map(|n| (format!("b-{n}"), format!("{n}w;")));
    assert_eq!(remember(&opening.token, "first", first.collect()).await.unwrap().as_i64(), Some(3999));
    let many =
        |suffix: &str| (0..4000).map(|n| (format!("b-{}", n % 3999), format!("{n}{suffix};"))).collect();
    assert_eq!(remember(&opening.token, "more", many("x")).await.unwrap().as_i64(), Some(3999));
    assert_eq!(remember(&opening.token, "more", many("y")).await.unwrap().as_i64(), Some(3999));
    let of = async |buyer: &str| shop.at.raw("HGET", &buyers, &[buyer]).await.as_string().unwrap();
    assert_eq!([of("b-0").await, of("b-3998").await], ["0w;0x;3999x;0y;3999y;", "3998w;3998x;3998y;"]);
    for which in ["first", "more"] {
        let late = remember("another token", which, many("z")).await;
        assert!(matches!(late, Err(RedisError::Superseded(_))), "{late:?}");
    }
    assert_eq!(of("b-0").await, "0w;0x;3999x;0y;3999y;");
    // Records that were there are lost: nothing may be opened on it.
    let known = ["new", "b-7"].map(|buyer| (buyer.to_owned(), "1z;".to_owned()));
    let known = remember(&opening.token, "first", known.to_vec()).await;
    assert!(matches!(known, Err(RedisError::Refused(_))), "{known:?}");
}
