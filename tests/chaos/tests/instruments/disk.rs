//! The disk is full, and then it is not.

use chaos::instruments::{Shim, SmallDisk};
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use tokio_postgres::error::SqlState;

use crate::support::{
    Wire, address, not_run, postgres_options, redis_options, redis_text, sql_client, tempdir,
};

#[tokio::test]
async fn redis_refuses_writes_while_its_disk_is_full() {
    let dir = tempdir();
    let plain = redis_options(dir.path());
    let shim = Shim::install(&dir.path().join("shim"), &plain.data_dir.join("appendonlydir")).unwrap();
    // With `always` Redis ends at the first write that fails; here it must live to refuse.
    let extra_args = vec![("appendfsync".to_owned(), "everysec".to_owned())];
    let redis = PrivateRedis::start(RedisOptions { env: shim.env(), extra_args, ..plain }).await.unwrap();
    let mut wire = Wire::open(redis.port()).await.unwrap();
    assert_eq!(wire.ask("SET before 1").await.unwrap(), "+OK\r\n");
    assert_eq!(shim.counts().unwrap().refusals, 0);
    shim.set_disk_full(true).unwrap();
    let mut reply = String::new();
    for _ in 0..200 {
        reply = wire.ask("SET meanwhile 1").await.unwrap();
        if !reply.starts_with('+') {
            break;
        }
    }
    assert!(reply.starts_with("-MISCONF"), "{reply}");
    assert!(shim.counts().unwrap().refusals > 0);
    shim.set_disk_full(false).unwrap();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while wire.ask("SET after 1").await.unwrap() != "+OK\r\n" {
        assert!(std::time::Instant::now() < deadline, "still refused with room on the disk");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn postgres_says_disk_full_while_it_is() {
    let dir = tempdir();
    let plain = postgres_options(dir.path());
    let shim = Shim::install(&dir.path().join("shim"), &plain.data_dir.join("pgdata")).unwrap();
    let postgres = PrivatePostgres::start(PostgresOptions { env: shim.env(), ..plain }).await.unwrap();
    let client = sql_client(&postgres.url("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept (text text)").await.unwrap();
    shim.set_disk_full(true).unwrap();
    let insert = "INSERT INTO kept SELECT repeat('x', 1000) FROM generate_series(1, 1000)";
    let refused = client.execute(insert, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::DISK_FULL), "{refused:?}");
    assert!(shim.counts().unwrap().refusals > 0);
    shim.set_disk_full(false).unwrap();
    assert_eq!(client.execute(insert, &[]).await.unwrap(), 1000);
}

#[tokio::test]
async fn a_small_disk_is_really_full_and_its_server_comes_back_with_room() {
    let dir = tempdir();
    let Some(disk) = not_run(SmallDisk::mount(&dir.path().join("disk"), 8 * 1024 * 1024)) else { return };
    let mut redis = PrivateRedis::start(redis_options(disk.dir())).await.unwrap();
    let mut wire = Wire::open(redis.port()).await.unwrap();
    assert_eq!(wire.ask("SET before 1").await.unwrap(), "+OK\r\n");
    assert!(disk.fill().unwrap() > 1024 * 1024);
    // The page that the file's end lies in may still have room.
    let value = "x".repeat(8192);
    let reply = wire.ask(&format!("SET meanwhile {value}")).await;
    assert!(!matches!(&reply, Ok(reply) if reply.starts_with('+')), "{reply:?}");
    disk.free().unwrap();
    redis.restart().await.unwrap();
    assert_eq!(redis_text(address(&redis), &["GET", "before"]).await.unwrap().as_deref(), Some("1"));
    assert_eq!(redis_text(address(&redis), &["SET", "after", "1"]).await.unwrap().as_deref(), Some("OK"));
    redis.stop().await.unwrap();
    let mounted = disk.dir().to_string_lossy().into_owned();
    drop(disk);
    assert!(!std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&mounted));
}
