//! No script that changes anything passes where the partition is not open under its very stamp.

use doorbuster::claim::ClaimError;
use doorbuster::log::{EntryId, StockEntry};
use doorbuster::order_id::Mark;
use doorbuster::reconcile::{LogSample, Snapshot};
use doorbuster::redis::{RedisError, Script, Stamp, StampedScripts};
use fred::types::Value;

use crate::open_partition::{
    Definition, LEASE_MS, NEVER_LATE_MS, NO_BACKLOG, OpenPartition, StockChange, server_identity,
};
use crate::shop::{Shop, sku};

/// Runs every script that changes anything, with arguments that would pass, and tells how each failed.
async fn run_all(shop: &Shop, at: &OpenPartition) -> Vec<(Script, Option<String>)> {
    let claim = shop.claim("bob", "k", &[("A", 1)]);
    let of_claims = |failure: Option<ClaimError>| match failure {
        Some(ClaimError::Fenced) => Some("FENCED".to_owned()),
        other => other.map(|error| error.to_string()),
    };
    let surveyed = of_claims(at.survey(&shop.sale, std::slice::from_ref(&claim)).await.err());
    let listed = of_claims(at.buyers(&shop.sale).await.err());
    let claimed = of_claims(at.decide(&shop.sale, &[claim], NO_BACKLOG).await.err());
    let mark = Mark::random();
    let stock =
        StockEntry { mark, sale: shop.sale.clone(), cause: "more".into(), lines: vec![(sku("A"), 1)] };
    let changed = at.change_stock(&StockChange { stock: &stock, return_of: None }).await;
    let published = at.publish(&shop.sale, &Definition::open(2, &[])).await;
    let settled = at.settle(&[EntryId::ZERO]).await;
    let trimmed = at.trim(EntryId::ZERO).await;
    let mut lease: Vec<Value> = vec![LEASE_MS.into()];
    lease.extend(server_identity(&at.redis, &at.keys).await.map(Value::from));
    lease.extend([NEVER_LATE_MS.into(), 0.into()]);
    let renewed = at.run(Script::Renew, vec![at.keys.meta.clone(), at.keys.log.clone()], lease).await;
    let sale = at.keys.sale(&shop.sale);
    let all = vec![at.keys.meta.clone(), sale.sale, sale.buyers, sale.causes];
    let snapshot = Snapshot::take(&at.redis, &at.scripts, &shop.sale).await;
    let retired = at.run(Script::Retire, all, vec![]).await;
    let touched = at.run(Script::Touch, vec![at.keys.meta.clone()], vec![]).await;
    let sample = LogSample::take(&at.redis, &at.scripts).await;
    vec![
        (Script::Snapshot, failure(snapshot)),
        (Script::Sample, failure(sample)),
        (Script::Survey, surveyed),
        (Script::Buyers, listed),
        (Script::Claim, claimed),
        (Script::ChangeStock, failure(changed)),
        (Script::PublishSale, failure(published)),
        (Script::Settle, failure(settled)),
        (Script::Trim, failure(trimmed)),
        (Script::Renew, failure(renewed)),
        (Script::Retire, failure(retired)),
        (Script::Touch, failure(touched)),
    ]
}

fn failure<T>(result: Result<T, RedisError>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(RedisError::Fenced(_)) => Some("FENCED".into()),
        Err(other) => Some(other.to_string()),
    }
}

async fn assert_all_fenced(shop: &Shop) {
    let before = shop.at.changes().await;
    for (script, failure) in run_all(shop, &shop.at).await {
        assert_eq!(failure.as_deref(), Some("FENCED"), "{script:?}");
    }
    assert_eq!(shop.at.changes().await, before, "a script that was refused wrote something");
}

async fn set_meta(shop: &Shop, field: &str, value: &str) {
    shop.at.raw("HSET", &shop.at.keys.meta, &[field, value]).await;
}

#[tokio::test]
async fn all_pass_while_the_partition_is_open() {
    let shop = Shop::open(&[("A", 5)]).await;
    let failures = run_all(&shop, &shop.at).await;
    // All but the reader, which is not stamped.
    assert_eq!(failures.len(), Script::ALL.len() - 1);
    assert!(failures.iter().all(|(_, failure)| failure.is_none()), "{failures:?}");
}

#[tokio::test]
async fn none_passes_after_flushall_though_the_server_still_knows_them() {
    let shop = Shop::open(&[("A", 5)]).await;
    shop.at.redis.command("FLUSHALL", &shop.at.keys.meta, vec![]).await.unwrap();
    assert_all_fenced(&shop).await;
    let size = shop.at.redis.command("DBSIZE", &shop.at.keys.meta, vec![]).await.unwrap();
    assert_eq!(size.as_i64(), Some(0), "a refused script left a key");
}

#[tokio::test]
async fn none_passes_under_another_stamp() {
    let shop = Shop::open(&[("A", 5)]).await;
    let stamp = shop.at.scripts.stamp;
    for other in [
        Stamp { nonce: stamp.nonce ^ 1, ..stamp },
        Stamp { epoch: 2, ..stamp },
        Stamp::new(doorbuster::partition::Partition::new(0), 1),
    ] {
        set_meta(&shop, "stamp", &other.to_string()).await;
        assert_all_fenced(&shop).await;
    }
    // And the scripts of another opening do not pass under this one's.
    set_meta(&shop, "stamp", &stamp.to_string()).await;
    let other = StampedScripts::new(Stamp { epoch: 2, ..stamp });
    shop.at.redis.session().await.unwrap().load_scripts(&other, &shop.at.keys.meta).await.unwrap();
    let at = OpenPartition { scripts: other, ..shop.at.clone() };
    for (script, failure) in run_all(&shop, &at).await {
        assert_eq!(failure.as_deref(), Some("FENCED"), "{script:?}");
    }
}

#[tokio::test]
async fn none_passes_after_the_lease() {
    let shop = Shop::open(&[("A", 5)]).await;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    set_meta(&shop, "lease_until", &(now_ms - 1).to_string()).await;
    assert_all_fenced(&shop).await;
    // Nor where nobody can say when it ends.
    shop.at.raw("HDEL", &shop.at.keys.meta, &["lease_until"]).await;
    assert_all_fenced(&shop).await;
}

#[tokio::test]
async fn none_passes_on_a_server_that_has_forgotten_the_scripts() {
    let mut shop = Shop::open(&[("A", 5)]).await;
    shop.at.redis.command("SCRIPT", &shop.at.keys.meta, vec!["FLUSH".into()]).await.unwrap();
    assert_all_fenced(&shop).await;
    // What a crash leaves: the data with its stamp and lease, the scripts gone.
    shop.at.redis.session().await.unwrap().load_scripts(&shop.at.scripts, &shop.at.keys.meta).await.unwrap();
    shop.server.server.kill().await.unwrap();
    shop.server.server.restart().await.unwrap();
    assert_all_fenced(&shop).await;
    assert_eq!(shop.stock("A").await, Some(5));
}
