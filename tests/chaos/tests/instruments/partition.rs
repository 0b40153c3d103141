//! A server behind a cut link: nobody reaches it, and it runs on.

use chaos::instruments::{Island, ReplicaSet, ReplicaSetOptions};
use doorbuster::servers::PrivateRedis;

use crate::support::{PATIENCE, address, not_run, redis_options, redis_text, tempdir};

#[tokio::test]
async fn a_cut_off_server_runs_on_and_is_reached_again() {
    let dir = tempdir();
    let Some(island) = not_run(Island::make()) else { return };
    let redis = PrivateRedis::start(island.redis(redis_options(dir.path()))).await.unwrap();
    assert_eq!(redis.host(), island.address());
    assert_eq!(redis_text(address(&redis), &["SET", "a", "1"]).await.unwrap().as_deref(), Some("OK"));
    let pid = redis.pid().unwrap();
    island.cut().unwrap();
    assert!(redis_text(address(&redis), &["GET", "a"]).await.is_err());
    // Asked from inside, by its other address.
    let inside = island.launcher();
    let script =
        format!("exec 3<>/dev/tcp/127.0.0.1/{}; printf 'INCR a\\r\\n' >&3; head -n 1 <&3", redis.port());
    let asked =
        std::process::Command::new(&inside[0]).args(&inside[1..]).args(["bash", "-c", &script]).output();
    assert_eq!(String::from_utf8_lossy(&asked.unwrap().stdout), ":2\r\n");
    island.heal().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while redis_text(address(&redis), &["GET", "a"]).await.ok().flatten().as_deref() != Some("2") {
        assert!(std::time::Instant::now() < deadline, "not reached again");
    }
    assert_eq!(redis.pid(), Some(pid));
    drop(redis);
    let launcher = island.launcher();
    drop(island);
    let gone = std::process::Command::new(&launcher[0]).args(&launcher[1..]).arg("true").output().unwrap();
    assert!(!gone.status.success(), "the namespace is removed");
}

#[tokio::test]
async fn sentinels_replace_a_primary_that_is_cut_off_and_there_are_two() {
    let dir = tempdir();
    let Some(island) = not_run(Island::make()) else { return };
    let set = ReplicaSet::start(ReplicaSetOptions {
        dir: dir.path().to_path_buf(),
        primary: island.redis(Default::default()),
        replica: Default::default(),
        replicas: 1,
        sentinels: 3,
        down_after_ms: 1000,
    })
    .await
    .unwrap();
    let old = set.primary().await.unwrap();
    assert_eq!(set.index_of(old), Some(0));
    island.cut().unwrap();
    let new = set.wait_for_failover(old, PATIENCE).await.unwrap();
    assert_eq!(set.index_of(new), Some(1));
    island.heal().unwrap();
    // The Sentinels make the old one follow the new; until then both take themselves for the primary.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let replication = redis_text(old, &["INFO", "replication"]).await.ok().flatten().unwrap_or_default();
        if replication.contains("role:slave") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{replication}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
