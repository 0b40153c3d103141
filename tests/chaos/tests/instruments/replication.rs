//! A primary is lost and a replica takes its place, by Sentinel or by hand.

use chaos::instruments::{ReplicaSet, ReplicaSetOptions};

use crate::support::{PATIENCE, redis_text, tempdir};

fn options(dir: &std::path::Path, sentinels: usize) -> ReplicaSetOptions {
    ReplicaSetOptions {
        dir: dir.to_path_buf(),
        primary: Default::default(),
        replica: Default::default(),
        replicas: 1,
        sentinels,
        down_after_ms: 1000,
    }
}

#[tokio::test]
async fn sentinels_replace_a_primary_that_was_killed() {
    let dir = tempdir();
    let mut set = ReplicaSet::start(options(dir.path(), 3)).await.unwrap();
    let old = set.primary().await.unwrap();
    assert_eq!(set.index_of(old), Some(0));
    redis_text(old, &["SET", "a", "1"]).await.unwrap();
    assert_eq!(redis_text(old, &["WAIT", "1", "5000"]).await.unwrap().as_deref(), Some("1"));
    set.servers[0].kill().await.unwrap();
    let new = set.wait_for_failover(old, PATIENCE).await.unwrap();
    assert_eq!(set.index_of(new), Some(1));
    assert_eq!(redis_text(new, &["GET", "a"]).await.unwrap().as_deref(), Some("1"));
    redis_text(new, &["SET", "a", "2"]).await.unwrap();

    // One Sentinel, killed and started again, still knows.
    set.sentinels[0].kill().await.unwrap();
    set.sentinels[0].restart().await.unwrap();
    assert_eq!(set.primary().await.unwrap(), new);
    // The old primary comes back as one, and is made to follow.
    set.servers[0].restart().await.unwrap();
    // Longer than usual: a Sentinel to which the machine seems to have stalled changes nothing for 30 s ("TILT mode" in
    // https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/).
    let deadline = std::time::Instant::now() + 2 * PATIENCE;
    while redis_text(old, &["GET", "a"]).await.ok().flatten().as_deref() != Some("2") {
        assert!(std::time::Instant::now() < deadline, "the old primary does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_sentinel_a_replica_is_promoted_by_hand() {
    let dir = tempdir();
    let mut set = ReplicaSet::start(options(dir.path(), 0)).await.unwrap();
    assert!(set.primary().await.unwrap_err().is_unavailable());
    let (old, new) = (set.address(0), set.address(1));
    redis_text(old, &["SET", "a", "1"]).await.unwrap();
    redis_text(old, &["WAIT", "1", "5000"]).await.unwrap();
    assert!(redis_text(new, &["SET", "a", "2"]).await.is_err(), "a replica takes no writes");
    set.promote(1).await.unwrap();
    redis_text(new, &["SET", "a", "2"]).await.unwrap();
    assert_eq!(redis_text(old, &["GET", "a"]).await.unwrap().as_deref(), Some("1"), "two primaries");
    set.servers[1].restart().await.unwrap();
    redis_text(new, &["SET", "b", "1"]).await.unwrap();
    set.demote(0, 1).await.unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while redis_text(old, &["GET", "a"]).await.ok().flatten().as_deref() != Some("2") {
        assert!(std::time::Instant::now() < deadline, "the old primary does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
