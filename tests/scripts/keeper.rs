//! `keeper/*.lua` and `renew.lua`: only the newest opening goes on, and only on the server where it began.

use doorbuster::claim::ClaimError;
use doorbuster::partition::Partition;
use doorbuster::redis::{GROUP, KeeperScript, Keys, Redis, RedisError, Script, Stamp, StampedScripts};
use fred::types::Value;

use crate::open_partition::{LEASE_MS, NEVER_LATE_MS, OpenPartition, Opening, TestRedis, server_identity};
use crate::shop::{PARTITION, Shop};

fn is_superseded<T>(result: Result<T, RedisError>) -> bool {
    matches!(result, Err(RedisError::Superseded(_)))
}

async fn state(redis: &Redis, keys: &Keys) -> Option<String> {
    redis.on_key("HGET", &keys.meta, vec!["state".into()]).await.unwrap().as_string()
}

#[tokio::test]
async fn only_a_higher_epoch_begins() {
    let server = TestRedis::start(&[]).await;
    let keys = Keys::new(Partition::new(PARTITION));
    Opening::begin(&server.redis, &keys, 10).await.unwrap();
    // As numbers: as text, 9 would follow 10.
    for epoch in [9, 10] {
        assert!(is_superseded(Opening::begin(&server.redis, &keys, epoch).await), "{epoch}");
    }
    Opening::begin(&server.redis, &keys, 11).await.unwrap();
    // Open or not: the same.
    OpenPartition::open(&server.redis, keys.clone(), PARTITION, 12).await.unwrap();
    assert!(is_superseded(Opening::begin(&server.redis, &keys, 12).await));
    assert_eq!(state(&server.redis, &keys).await.as_deref(), Some("open"));
}

#[tokio::test]
async fn an_older_version_refuses_the_layout_of_a_newer_one() {
    let shop = Shop::open(&[]).await;
    let begin = async |epoch: i64, version: u32| {
        let args: Vec<Value> = vec![epoch.into(), "token".into(), i64::from(version).into()];
        shop.at.redis.run_keeper(KeeperScript::Begin, vec![shop.at.keys.meta.clone()], args).await
    };
    // As numbers: as text, 9 would follow 10.
    begin(2, 10).await.unwrap();
    for version in [9, 1] {
        let begun = begin(3, version).await;
        assert_eq!(begun, Err(RedisError::Layout("10".into())), "{version}");
    }
    begin(3, 10).await.unwrap();
    shop.at.raw("HSET", &shop.at.keys.meta, &["layout", "of nobody"]).await;
    assert!(begin(4, 11).await.is_err());
}

#[tokio::test]
async fn nothing_sells_from_the_beginning_of_an_opening_until_its_end() {
    let shop = Shop::open(&[("A", 5)]).await;
    let claim = [shop.claim("alice", "k", &[("A", 1)])];
    let opening = Opening::begin(&shop.at.redis, &shop.at.keys, 2).await.unwrap();
    assert_eq!(shop.at.decide(&shop.sale, &claim, 100).await, Err(ClaimError::Fenced));
    let scripts = StampedScripts::new(Stamp::new(Partition::new(PARTITION), 2));
    opening.redis.session().await.unwrap().load_scripts(&scripts, &shop.at.keys.meta).await.unwrap();
    let at = OpenPartition { scripts, ..shop.at.clone() };
    assert_eq!(at.decide(&shop.sale, &claim, 100).await, Err(ClaimError::Fenced));
    let server = server_identity(&at.redis, &at.keys).await;
    opening.finish(&at.scripts.stamp, &server).await.unwrap();
    assert!(at.decide(&shop.sale, &claim, 100).await.is_ok());
    assert_eq!(shop.at.decide(&shop.sale, &claim, 100).await, Err(ClaimError::Fenced), "the old stamp");
}

#[tokio::test]
async fn a_keeper_that_wakes_late_harms_nothing() {
    let shop = Shop::open(&[("A", 5)]).await;
    let (redis, keys) = (&shop.at.redis, &shop.at.keys);
    let server = server_identity(redis, keys).await;
    let late = Opening::begin(redis, keys, 2).await.unwrap();
    let stamp = Stamp::new(Partition::new(PARTITION), 2);
    let sale = keys.sale(&shop.sale).sale;

    // Another opening is under way; then it is over; then there is no trace of any.
    let newer = Opening::begin(redis, keys, 3).await.unwrap();
    assert!(is_superseded(late.step("DEL", &sale, vec![]).await));
    assert!(is_superseded(late.finish(&stamp, &server).await));
    newer.step("HSET", &sale, vec!["stock:A".into(), 7.into()]).await.unwrap();
    assert_eq!(shop.stock("A").await, Some(7));

    newer.finish(&Stamp::new(Partition::new(PARTITION), 3), &server).await.unwrap();
    for opening in [&late, &newer] {
        assert!(is_superseded(opening.step("DEL", &sale, vec![]).await));
        assert!(is_superseded(opening.finish(&stamp, &server).await));
    }
    assert_eq!(shop.stock("A").await, Some(7));

    redis.command("FLUSHALL", &keys.meta, vec![]).await.unwrap();
    assert!(is_superseded(newer.step("HSET", &sale, vec!["stock:A".into(), 9.into()]).await));
    assert!(is_superseded(newer.finish(&stamp, &server).await));
    assert_eq!(shop.stock("A").await, None);
}

#[tokio::test]
async fn an_opening_ends_only_on_the_server_where_it_began() {
    let shop = Shop::open(&[]).await;
    let [run_id, replid] = server_identity(&shop.at.redis, &shop.at.keys).await;
    let opening = Opening::begin(&shop.at.redis, &shop.at.keys, 2).await.unwrap();
    let stamp = Stamp::new(Partition::new(PARTITION), 2);
    let other = "0".repeat(40);
    for server in [[other.clone(), replid.clone()], [run_id.clone(), other]] {
        assert!(is_superseded(opening.finish(&stamp, &server).await), "{server:?}");
        assert_eq!(state(&shop.at.redis, &shop.at.keys).await.as_deref(), Some("opening"));
    }
    opening.finish(&stamp, &[run_id, replid]).await.unwrap();
}

/// So that a keeper knows when the last lease that it gave is over, whatever became of its commands on the way.
#[tokio::test]
async fn what_comes_late_neither_opens_nor_renews() {
    let shop = Shop::open(&[]).await;
    let (redis, keys) = (&shop.at.redis, &shop.at.keys);
    let server = server_identity(redis, keys).await;
    let past = jiff::Timestamp::now().as_millisecond() - 1000;
    let end = async || redis.on_key("HGET", &keys.meta, vec!["lease_until".into()]).await.unwrap().as_i64();
    let before = end().await;
    let mut args: Vec<Value> = vec![(2 * LEASE_MS).into()];
    args.extend(server.iter().map(|id| Value::from(id.as_str())));
    args.extend([past.into(), 0.into()]);
    let renewed = shop.at.run(Script::Renew, vec![keys.meta.clone(), keys.log.clone()], args.clone()).await;
    let (said, now_ms, _): (String, i64, i64) = renewed.unwrap().convert().unwrap();
    assert_eq!(said, "late");
    assert!(now_ms > past, "a late renewal tells the time");
    assert_eq!(end().await, before);

    let opening = Opening::begin(redis, keys, 2).await.unwrap();
    let mut args = vec![opening.token.as_str().into(), "stamp".into(), LEASE_MS.into()];
    args.extend(server.iter().map(|id| Value::from(id.as_str())));
    args.push(past.into());
    let opened = redis.run_keeper(KeeperScript::Open, vec![keys.meta.clone()], args).await.unwrap();
    let (said, ..): (String, i64, i64) = opened.convert().unwrap();
    assert_eq!((said.as_str(), state(redis, keys).await.as_deref()), ("late", Some("opening")));
}

#[tokio::test]
async fn a_keeper_that_doubts_its_lock_renews_only_beside_its_replicas() {
    let shop = Shop::open(&[]).await;
    let (redis, keys) = (&shop.at.redis, &shop.at.keys);
    let end = async || redis.on_key("HGET", &keys.meta, vec!["lease_until".into()]).await.unwrap().as_i64();
    let mut replica = TestRedis::start(&[]).await;
    let port = shop.server.server.port().to_string();
    let follow = vec!["127.0.0.1".into(), port.into()];
    replica.redis.command("REPLICAOF", &keys.meta, follow).await.unwrap();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let info = redis.command("INFO", &keys.meta, vec!["replication".into()]).await.unwrap();
        if info.as_string().unwrap().contains("state=online") {
            break;
        }
        assert!(std::time::Instant::now() < patience, "the replica does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Only now: the first replica of all begins a new line of replication.
    let server = server_identity(redis, keys).await;
    let renew = async |replicas: i64| {
        let mut args: Vec<Value> = vec![(2 * LEASE_MS).into()];
        args.extend(server.iter().map(|id| Value::from(id.as_str())));
        args.extend([NEVER_LATE_MS.into(), replicas.into()]);
        let renewed = shop.at.run(Script::Renew, vec![keys.meta.clone(), keys.log.clone()], args).await;
        let (said, _, healthy): (String, i64, i64) = renewed.unwrap().convert().unwrap();
        (said, healthy)
    };
    assert_eq!(renew(1).await, ("renewed".to_owned(), 1));
    // Stopped, and not gone: its connection stays, its word does not.
    replica.server.pause().unwrap();
    let stopped = std::time::Instant::now();
    while renew(1).await.0 == "renewed" {
        assert!(stopped.elapsed() < std::time::Duration::from_millis(3500), "still counts as healthy");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let before = end().await;
    assert_eq!(renew(1).await, ("replicas".to_owned(), 0));
    assert_eq!(end().await, before);
    assert_eq!(renew(0).await, ("renewed".to_owned(), 0), "with the lock, replicas do not matter");
    replica.server.resume().unwrap();
}

#[tokio::test]
async fn a_lease_is_renewed_only_on_the_server_that_was_opened() {
    let mut shop = Shop::open(&[]).await;
    let [run_id, replid] = server_identity(&shop.at.redis, &shop.at.keys).await;
    let other = "0".repeat(40);
    let Keys { meta, log, .. } = shop.at.keys.clone();
    let renew = async |at: &OpenPartition, ids: [&str; 2]| {
        let args = vec![(2 * LEASE_MS).into(), ids[0].into(), ids[1].into(), NEVER_LATE_MS.into(), 0.into()];
        at.run(Script::Renew, vec![meta.clone(), log.clone()], args).await
    };
    let end = async |at: &OpenPartition| at.raw("HGET", &meta, &["lease_until"]).await.as_i64().unwrap();
    let before = end(&shop.at).await;
    for ids in [[&*other, &*replid], [&*run_id, &*other]] {
        assert!(is_superseded(renew(&shop.at, ids).await), "{ids:?}");
    }
    assert_eq!(end(&shop.at).await, before);
    let (said, now_ms, replicas): (String, i64, i64) =
        renew(&shop.at, [&*run_id, &*replid]).await.unwrap().convert().unwrap();
    assert_eq!((said.as_str(), replicas), ("renewed", 0));
    let until = end(&shop.at).await;
    assert_eq!(until, now_ms + 2 * LEASE_MS);
    assert!(until >= before + LEASE_MS / 2, "{until} after {before}");

    // Without its group, and then without the log, it is not what was opened.
    for (command, args) in
        [("XGROUP", &["DESTROY", log.as_str().unwrap(), GROUP][..]), ("DEL", &[log.as_str().unwrap()])]
    {
        let args = args.iter().map(|&arg| arg.into()).collect();
        shop.at.redis.command(command, &log, args).await.unwrap();
        let renewed = renew(&shop.at, [&*run_id, &*replid]).await;
        assert!(matches!(renewed, Err(RedisError::Fenced(_))), "{renewed:?}");
    }

    // The same data in another process, which was even told the scripts.
    shop.server.server.restart().await.unwrap();
    shop.at.redis.session().await.unwrap().load_scripts(&shop.at.scripts, &meta).await.unwrap();
    assert!(is_superseded(renew(&shop.at, [&*run_id, &*replid]).await));
}
