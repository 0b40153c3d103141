//! `claim.lua` at the largest that it may be given, and past it.

use std::collections::BTreeSet;

use doorbuster::claim::{BATCH_LINES_MAX, Claim, Decision, LINES_MAX};

use crate::open_partition::{Definition, info};
use crate::shop::{Shop, accepted};

const CLAIMS_MAX: usize = 256;
const ORDERS_PER_BUYER_MAX: usize = 100;

/// As long as a SKU may be.
fn long_sku(i: usize) -> String {
    format!("{}-{i:04}", "S".repeat(59))
}

#[tokio::test]
async fn the_largest_batches_fit() {
    let names: Vec<String> = (0..BATCH_LINES_MAX).map(long_sku).collect();
    let stock: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let shop = Shop::open(&stock).await;

    // Many claims of few lines, then few claims of many: each takes one unit of every SKU.
    for lines_per_claim in [BATCH_LINES_MAX / CLAIMS_MAX, LINES_MAX] {
        let claims: Vec<Claim> = names
            .chunks(lines_per_claim)
            .enumerate()
            .map(|(i, names)| {
                let lines: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
                shop.claim(&format!("buyer-{i}"), &format!("{lines_per_claim}"), &lines)
            })
            .collect();
        let ids: BTreeSet<_> = shop.decide(&claims).await.iter().map(accepted).collect();
        assert_eq!(ids.len(), claims.len());
    }
    for name in &names {
        assert_eq!(shop.stock(name).await, Some(0), "{name}");
    }
    let logged: usize = shop.logged_orders().await.iter().map(|order| order.lines.len()).sum();
    assert_eq!(logged, 2 * BATCH_LINES_MAX);
}

#[tokio::test]
async fn a_buyer_has_a_hundred_orders_and_no_more() {
    let shop = Shop::open(&[("A", 1000)]).await;
    let keys: Vec<String> = (0..=ORDERS_PER_BUYER_MAX).map(|i| format!("k{i}")).collect();
    let claims: Vec<Claim> = keys.iter().map(|key| shop.claim("alice", key, &[("A", 1)])).collect();
    // Sixty in one batch; the bound is met within the next.
    let mut decisions = shop.decide(&claims[..60]).await;
    decisions.extend(shop.decide(&claims[60..]).await);
    let ids: Vec<_> = decisions[..ORDERS_PER_BUYER_MAX].iter().map(accepted).collect();
    assert_eq!(decisions[ORDERS_PER_BUYER_MAX], Decision::LimitReached(None));
    assert_eq!(shop.decide_one("alice", "another", &[("A", 1)]).await, Decision::LimitReached(None));
    assert_eq!(shop.stock("A").await, Some(1000 - ORDERS_PER_BUYER_MAX as i64));
    let retries: Vec<Claim> =
        keys[..ORDERS_PER_BUYER_MAX].iter().map(|key| shop.claim("alice", key, &[("A", 1)])).collect();
    let found: Vec<Decision> = ids.into_iter().map(Decision::Duplicate).collect();
    assert_eq!(shop.decide(&retries).await, found);
}

#[tokio::test]
async fn a_buyer_with_many_orders_cannot_hold_redis_up() {
    let shop = Shop::open(&[("A", 1000), ("B", 1000), ("C", 1000)]).await;
    shop.at.publish(&shop.sale, &Definition::open(2, &[("A", Some(1000))])).await.unwrap();
    let claim = |i: usize| shop.claim("alice", &format!("k{i}"), &[("A", 1), ("B", 1), ("C", 1)]);
    let orders: Vec<Claim> = (0..ORDERS_PER_BUYER_MAX).map(claim).collect();
    shop.decide(&orders).await;
    let more: Vec<Claim> = (0..CLAIMS_MAX).map(|i| claim(i + 50)).collect();
    shop.at.redis.command("CONFIG", &shop.at.keys.meta, vec!["RESETSTAT".into()]).await.unwrap();
    shop.decide(&more).await;
    let spent = info(&shop.at.redis, &shop.at.keys, "commandstats", "cmdstat_evalsha:calls=1,usec=").await;
    let spent_us: u64 = spent.split(',').next().unwrap().parse().unwrap();
    // About 3 ms. Patterns that look at each record from each of its characters took 500.
    assert!(spent_us < 100_000, "{spent_us} us");
}
