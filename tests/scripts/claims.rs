//! `claim.lua`: what one batch may and may not do.

use doorbuster::claim::Decision;
use doorbuster::log::EntryId;

use crate::open_partition::{Definition, NO_BACKLOG};
use crate::shop::{Shop, accepted, sku};

#[tokio::test]
async fn two_claims_of_one_key_in_one_batch_are_one_order() {
    let shop = Shop::open(&[("A", 10)]).await;
    let [first, again] = [(); 2].map(|()| shop.claim("alice", "k", &[("A", 2)]));
    assert_ne!(first.mark, again.mark);
    let decisions = shop.decide(&[first.clone(), again]).await;
    let id = accepted(&decisions[0]);
    assert_eq!(id.mark(), first.mark);
    assert_eq!(decisions[1], Decision::Duplicate(id));
    assert_eq!(shop.decide_one("alice", "k", &[("A", 2)]).await, Decision::Duplicate(id));
    assert_eq!(shop.stock("A").await, Some(8));
    assert_eq!(shop.logged_orders().await.len(), 1);
}

/// A retry is told the id that the first answer told, wherever in its batch the order stood.
#[tokio::test]
async fn every_order_of_a_batch_is_remembered_under_its_place() {
    let shop = Shop::open(&[("A", 500)]).await;
    // Later than any clock: behind it the places are known beforehand, and get a digit more on the way.
    let newest = EntryId { ms: 9_999_999_999_999, seq: 96 };
    shop.at.raw("XADD", &shop.at.keys.log, &[&newest.to_string(), "order", "not an order"]).await;
    let claims: Vec<_> =
        (0..25).map(|key| shop.claim(["alice", "bob"][key % 2], &key.to_string(), &[("A", 1)])).collect();
    let told = shop.decide(&claims).await;
    let places: Vec<_> = told.iter().map(|decision| accepted(decision).entry()).collect();
    assert_eq!(places, (97..122).map(|seq| EntryId { seq, ..newest }).collect::<Vec<_>>());
    let again: Vec<_> = told.iter().map(|decision| Decision::Duplicate(accepted(decision))).collect();
    assert_eq!(shop.decide(&claims).await, again);
}

#[tokio::test]
async fn another_body_under_a_key_is_refused_within_a_batch_and_after_it() {
    let shop = Shop::open(&[("A", 10)]).await;
    let claims = [("A", 2), ("A", 3)].map(|line| shop.claim("alice", "k", &[line]));
    let decisions = shop.decide(&claims).await;
    accepted(&decisions[0]);
    assert_eq!(decisions[1], Decision::KeyReused);
    assert_eq!(shop.decide_one("alice", "k", &[("A", 1)]).await, Decision::KeyReused);
    assert_eq!(shop.stock("A").await, Some(8));
    // The key is of a buyer: another one may use it.
    shop.order("bob", "k", &[("A", 1)]).await;
}

#[tokio::test]
async fn all_lines_of_a_claim_succeed_or_none_does() {
    let shop = Shop::open(&[("A", 5), ("B", 1), ("C", 5)]).await;
    let claims = [
        shop.claim("alice", "1", &[("A", 1), ("B", 2), ("C", 1)]),
        shop.claim("alice", "2", &[("A", 1), ("B", 1), ("C", 1)]),
        shop.claim("alice", "3", &[("A", 1), ("B", 1), ("C", 1)]),
    ];
    let decisions = shop.decide(&claims).await;
    assert_eq!(decisions[0], Decision::Insufficient { sku: sku("B"), left: 1 });
    accepted(&decisions[1]);
    assert_eq!(decisions[2], Decision::SoldOut(sku("B")));
    assert_eq!(
        [shop.stock("A").await, shop.stock("B").await, shop.stock("C").await].map(Option::unwrap),
        [4, 0, 4]
    );
    assert_eq!(shop.logged_orders().await.len(), 1);
}

#[tokio::test]
async fn a_limit_counts_the_orders_of_the_same_batch() {
    let shop = Shop::open(&[("A", 10), ("B", 10)]).await;
    shop.at.publish(&shop.sale, &Definition::open(2, &[("B", Some(3))])).await.unwrap();
    let claims = [
        shop.claim("alice", "1", &[("A", 9), ("B", 2)]),
        shop.claim("alice", "2", &[("B", 2)]),
        shop.claim("alice", "3", &[("B", 1)]),
        shop.claim("bob", "1", &[("B", 3)]),
    ];
    let decisions = shop.decide(&claims).await;
    assert_eq!(decisions[1], Decision::LimitReached(Some(sku("B"))));
    for i in [0, 2, 3] {
        accepted(&decisions[i]);
    }
}

#[tokio::test]
async fn a_batch_in_which_nothing_is_accepted_writes_nothing() {
    let shop = Shop::open(&[("A", 2), ("B", 5), ("GONE", 1)]).await;
    shop.at.publish(&shop.sale, &Definition::open(2, &[("B", Some(2))])).await.unwrap();
    shop.order("alice", "k", &[("A", 1)]).await;
    shop.order("bob", "k", &[("GONE", 1)]).await;
    let mut tired = shop.claim("carol", "k", &[("A", 1)]);
    tired.over_rate = true;
    let claims = [
        shop.claim("alice", "k", &[("A", 1)]),
        shop.claim("alice", "k", &[("A", 2)]),
        shop.claim("alice", "2", &[("B", 3)]),
        shop.claim("dave", "k", &[("A", 2)]),
        shop.claim("dave", "2", &[("GONE", 1)]),
        shop.claim("dave", "3", &[("UNKNOWN", 1)]),
        tired,
    ];
    let before = shop.at.changes().await;
    for backlog_max in [NO_BACKLOG, 0] {
        let decisions = shop.at.decide(&shop.sale, &claims, backlog_max).await.unwrap();
        assert!(!decisions.iter().any(|decision| matches!(decision, Decision::Accepted(_))), "{decisions:?}");
    }
    let full = shop.at.decide(&shop.sale, &[shop.claim("eve", "k", &[("A", 1)])], 1).await.unwrap();
    assert_eq!(full, [Decision::BacklogFull]);
    assert_eq!(shop.at.changes().await, before);

    shop.order("eve", "k", &[("A", 1)]).await;
    assert_ne!(shop.at.changes().await, before, "what an order writes would be seen");
}

#[tokio::test]
async fn stock_that_is_missing_is_closed_and_never_zero() {
    let shop = Shop::open(&[("A", 5), ("B", 5)]).await;
    let id = shop.order("alice", "k", &[("A", 1), ("B", 1)]).await;
    shop.at.raw("HDEL", &shop.at.keys.sale(&shop.sale).sale, &["stock:A"]).await;
    assert_eq!(shop.decide_one("bob", "1", &[("A", 1), ("B", 1)]).await, Decision::Absent);
    assert_eq!(shop.stock("B").await, Some(4));
    shop.order("bob", "2", &[("B", 1)]).await;
    let again = shop.decide_one("alice", "k", &[("A", 1), ("B", 1)]).await;
    assert_eq!(again, Decision::Duplicate(id), "nothing hides an order");
}

#[tokio::test]
async fn a_sale_that_is_missing_is_closed_but_hides_no_order() {
    let shop = Shop::open(&[("A", 5)]).await;
    let id = shop.order("alice", "k", &[("A", 1)]).await;
    shop.at.raw("DEL", &shop.at.keys.sale(&shop.sale).sale, &[]).await;
    assert_eq!(shop.decide_one("bob", "k", &[("A", 1)]).await, Decision::Absent);
    assert_eq!(shop.decide_one("alice", "k", &[("A", 1)]).await, Decision::Duplicate(id));
}

#[tokio::test]
async fn a_log_that_is_missing_is_closed_and_not_begun_anew() {
    let shop = Shop::open(&[("A", 5)]).await;
    let id = shop.order("alice", "k", &[("A", 1)]).await;
    shop.at.raw("DEL", &shop.at.keys.log, &[]).await;
    assert_eq!(shop.decide_one("bob", "k", &[("A", 1)]).await, Decision::Absent);
    assert_eq!(shop.stock("A").await, Some(4));
    assert_eq!(shop.at.raw("EXISTS", &shop.at.keys.log, &[]).await.as_i64(), Some(0));
    assert_eq!(shop.decide_one("alice", "k", &[("A", 1)]).await, Decision::Duplicate(id));
}
