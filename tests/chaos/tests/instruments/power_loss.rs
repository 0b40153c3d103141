//! Power is lost: what was synced stays, what was not is gone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chaos::instruments::{InstrumentError, Shim};
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};

use crate::support::{
    Wire, address, count_rows, postgres_options, redis_options, redis_text, sql_client, tempdir,
};

/// Runs a shell script under the shim.
fn run(shim: &Shim, dir: &Path, script: &str) {
    let output =
        Command::new("/bin/sh").args(["-ec", script]).current_dir(dir).envs(shim.env()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn unsynced_changes_are_undone_and_synced_ones_stay() {
    let dir = tempdir();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("there-before"), "durable").unwrap();
    let shim = Shim::install(&dir.path().join("shim"), &root).unwrap();
    // Each of these is a process of its own, as the processes of a PostgreSQL are.
    let write = "printf %s \"$1\" | dd status=none of=\"$2\" conv=notrunc$3 oflag=\"$4\"";
    let dd = |content: &str, file: &str, conv: &str, flags: &str| {
        run(&shim, &root, &format!("set -- '{content}' {file} '{conv}' '{flags}'; {write}"));
    };
    dd("synced", "appended", ",fsync", "append");
    dd("-and-not", "appended", "", "append");
    dd("0123456789", "overwritten", ",fdatasync", "append");
    dd("abc", "overwritten", ",fsync", "append");
    dd("XXXX", "overwritten", "", "seek_bytes");
    dd("YYYYYYYYYYYYYYYYYYYY", "overwritten", "", "seek_bytes");
    dd("tail", "there-before", "", "append");
    dd("never", "new", "", "append");
    dd("0123456789", "shortened", ",fsync", "append");
    run(&shim, &root, "truncate -s 4 shortened");
    dd("zz", "shortened", "", "append");
    dd("dsync", "at-once", "", "append,dsync");
    dd("old", "replaced", ",fsync", "append");
    run(&shim, &root, "printf unsynced >replacement; mv replacement replaced; rm new; printf n >new");
    // One of these is given the inode that was freed, where the file system reuses them.
    dd("0123456789", "removed", ",fsync", "append");
    run(&shim, &root, "rm removed");
    let reborn =
        "for i in 0 1 2 3 4 5 6 7 8 9; do printf short | dd status=none of=reborn$i conv=notrunc; done";
    run(&shim, &root, reborn);
    std::fs::write(dir.path().join("outside"), "x").unwrap();
    let counts = shim.counts().unwrap();
    assert!(counts.writes > 10 && counts.syncs == 7 && counts.saves >= 3, "{counts:?}");

    let loss = shim.power_loss().unwrap();
    assert_eq!(text(&root.join("appended")), "synced");
    assert_eq!(text(&root.join("overwritten")), "0123456789abc");
    assert_eq!(text(&root.join("there-before")), "durable");
    assert_eq!(text(&root.join("shortened")), "0123456789");
    assert_eq!(text(&root.join("at-once")), "dsync");
    // The names stay, their content was never synced: what a journalling file system may leave.
    assert_eq!((text(&root.join("new")), text(&root.join("replaced"))), (String::new(), String::new()));
    assert!((0..10).all(|number| text(&root.join(format!("reborn{number}"))).is_empty()));
    assert_eq!(text(&dir.path().join("outside")), "x");
    let lost = |name: &str| loss.files.iter().find(|file| file.path.ends_with(name)).unwrap();
    assert_eq!((lost("appended").cut, lost("overwritten").cut), ("-and-not".len() as u64, 7));
    assert!(lost("shortened").restored >= 6 && loss.bytes() > 20);

    // What was left is durable; a second loss takes nothing more.
    assert_eq!(shim.power_loss().unwrap().files, []);
    dd("-again", "appended", "", "append");
    assert_eq!(shim.power_loss().unwrap().bytes(), 6);
    assert_eq!(text(&root.join("appended")), "synced");
}

async fn redis_under(dir: &Path, fsync: &str) -> (Shim, PrivateRedis) {
    let plain = redis_options(dir);
    let shim = Shim::install(&dir.join("shim"), &plain.data_dir.join("appendonlydir")).unwrap();
    let extra_args = vec![("appendfsync".to_owned(), fsync.to_owned())];
    let redis = PrivateRedis::start(RedisOptions { env: shim.env(), extra_args, ..plain }).await.unwrap();
    (shim, redis)
}

/// Counts up for a while, by 100 at least, one acknowledged command after the other, to the last moment before
/// the kill. Returns the last count that was acknowledged.
async fn acknowledged(redis: &mut PrivateRedis, time: Duration) -> u64 {
    let mut wire = Wire::open(redis.port()).await.unwrap();
    let began = Instant::now();
    let mut acknowledged = 0;
    let mut commands = 0;
    while began.elapsed() < time || commands < 100 {
        commands += 1;
        let reply = wire.ask("INCR acknowledged").await.unwrap();
        acknowledged = reply.trim().trim_start_matches(':').parse().unwrap();
    }
    redis.kill().await.unwrap();
    acknowledged
}

async fn kept(redis: &PrivateRedis) -> u64 {
    redis_text(address(redis), &["GET", "acknowledged"])
        .await
        .unwrap()
        .map_or(0, |text| text.parse().unwrap())
}

#[tokio::test]
async fn redis_loses_nothing_with_appendfsync_always() {
    let dir = tempdir();
    let (shim, mut redis) = redis_under(dir.path(), "always").await;
    for _ in 0..3 {
        let acknowledged = acknowledged(&mut redis, Duration::from_millis(300)).await;
        let counts = shim.counts().unwrap();
        assert!(counts.syncs >= 100, "{counts:?}");
        shim.power_loss().unwrap();
        redis.restart().await.unwrap();
        assert!(kept(&redis).await >= acknowledged);
    }
}

#[tokio::test]
async fn redis_loses_acknowledged_writes_with_appendfsync_everysec_and_only_to_a_loss_of_power() {
    let dir = tempdir();
    let (shim, mut redis) = redis_under(dir.path(), "everysec").await;
    let before = acknowledged(&mut redis, Duration::from_millis(500)).await;
    redis.restart().await.unwrap();
    assert!(kept(&redis).await >= before, "kill -9 alone loses nothing");
    // The second's sync may fall between the last reply and the kill; not three times.
    let mut lost = 0;
    for _ in 0..3 {
        let acknowledged = acknowledged(&mut redis, Duration::from_millis(300)).await;
        let loss = shim.power_loss().unwrap();
        redis.restart().await.unwrap();
        lost = acknowledged.saturating_sub(kept(&redis).await);
        assert_eq!(lost > 0, loss.bytes() > 0);
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0);
}

#[tokio::test]
async fn power_is_not_lost_under_a_running_server() {
    let dir = tempdir();
    let (shim, redis) = redis_under(dir.path(), "always").await;
    let refused = shim.power_loss().unwrap_err();
    assert!(
        matches!(refused, InstrumentError::StillRunning { pids, .. } if pids.contains(&redis.pid().unwrap()))
    );
}

/// Commits one row after the other, kills, takes the power, restarts. Returns rows committed and rows kept.
async fn commits_through_power_loss(synchronous_commit: &str) -> (i64, i64) {
    let dir = tempdir();
    let plain = postgres_options(dir.path());
    let shim = Shim::install(&dir.path().join("shim"), &plain.data_dir.join("pgdata")).unwrap();
    let settings = [("synchronous_commit", synchronous_commit), ("wal_writer_delay", "10s")];
    let extra_settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut postgres =
        PrivatePostgres::start(PostgresOptions { env: shim.env(), extra_settings, ..plain }).await.unwrap();
    let client = sql_client(&postgres.url("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n bigint); CHECKPOINT").await.unwrap();
    let mut committed = 0;
    while committed < 200 {
        client.execute("INSERT INTO kept VALUES ($1)", &[&committed]).await.unwrap();
        committed += 1;
        if committed == 100 {
            // Blocks that are durable are changed further: their old content must come back.
            client
                .batch_execute("SET synchronous_commit = on; CHECKPOINT; RESET synchronous_commit")
                .await
                .unwrap();
        }
    }
    postgres.kill().await.unwrap();
    let counts = shim.counts().unwrap();
    assert!(counts.saves > 0 && counts.syncs > 0, "{counts:?}");
    shim.power_loss().unwrap();
    postgres.restart().await.unwrap();
    let kept = count_rows(&postgres).await;
    postgres.stop().await.unwrap();
    (committed, kept)
}

#[tokio::test]
async fn postgres_loses_no_commit_with_synchronous_commit_on() {
    assert_eq!(commits_through_power_loss("on").await, (200, 200));
}

#[tokio::test]
async fn postgres_loses_commits_with_synchronous_commit_off() {
    let (committed, kept) = commits_through_power_loss("off").await;
    assert!((100..committed).contains(&kept), "{kept} of {committed}");
}
