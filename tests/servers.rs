//! Private servers keep their data, come back, and never outlive their owner.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, ServersError};
use tempfile::TempDir;

fn tempdir_with_mode(mode: u32) -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(mode)).tempdir().unwrap()
}

/// A directory that the user PostgreSQL runs as can pass through.
fn shared_tempdir() -> TempDir {
    tempdir_with_mode(0o755)
}

fn redis_options(dir: &Path) -> RedisOptions {
    RedisOptions { data_dir: dir.join("redis"), ..RedisOptions::default() }
}

fn postgres_options(dir: &Path) -> PostgresOptions {
    PostgresOptions { data_dir: dir.join("postgres"), ..PostgresOptions::default() }
}

/// Sends inline commands and QUIT, and gives back everything that was answered.
fn redis_says(port: u16, commands: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    write!(stream, "{commands}\r\nQUIT\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

async fn client(postgres: &PrivatePostgres, database: &str) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&postgres.url(database), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count_rows(postgres: &PrivatePostgres) -> i64 {
    client(postgres, "shop").await.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Dead, or a zombie that its parent has not reaped yet.
fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}

#[tokio::test]
async fn redis_keeps_its_data_through_stop_kill_and_a_second_start() {
    let dir = shared_tempdir();
    let mut redis = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    let port = redis.port();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}"));
    assert!(redis_says(port, "SET a 1").unwrap().starts_with("+OK"));
    redis.restart().await.unwrap();
    assert!(redis_says(port, "GET a\r\nSET b 2").unwrap().starts_with("$1\r\n1\r\n+OK"));
    redis.kill().await.unwrap();
    assert!(!answers(port) && redis.pid().is_none());
    redis.restart().await.unwrap();
    assert!(redis_says(redis.port(), "GET b").unwrap().starts_with("$1\r\n2"));
    redis.stop().await.unwrap();
    redis.stop().await.unwrap();
    let again = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    assert!(redis_says(again.port(), "MGET a b").unwrap().starts_with("*2\r\n$1\r\n1\r\n$1\r\n2"));
}

#[tokio::test]
async fn redis_is_durable_and_takes_further_settings() {
    let dir = shared_tempdir();
    let limits = ("client-output-buffer-limit".to_owned(), "normal 64mb 32mb 10".to_owned());
    let options = RedisOptions {
        extra_args: vec![("maxmemory".to_owned(), "64mb".to_owned()), limits],
        ..redis_options(dir.path())
    };
    let redis = PrivateRedis::start(options).await.unwrap();
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
        ("bind", "127.0.0.1"),
        ("protected-mode", "yes"),
        ("maxmemory", "67108864"),
    ] {
        let reply = redis_says(redis.port(), &format!("CONFIG GET {name}")).unwrap();
        assert!(reply.contains(&format!("\r\n{value}\r\n")), "{name}: {reply}");
    }
    let reply = redis_says(redis.port(), "CONFIG GET client-output-buffer-limit").unwrap();
    assert!(reply.contains("normal 67108864 33554432 10"), "{reply}");
}

#[tokio::test]
async fn a_replica_copies_its_primary() {
    let dir = shared_tempdir();
    let primary = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    redis_says(primary.port(), "SET k v").unwrap();
    let options = RedisOptions {
        data_dir: dir.path().join("replica"),
        replica_of: Some(primary.port()),
        ..RedisOptions::default()
    };
    let replica = PrivateRedis::start(options).await.unwrap();
    wait_until("the replica has the key", || {
        redis_says(replica.port(), "GET k").is_ok_and(|said| said.contains("$1\r\nv"))
    });
    assert!(redis_says(replica.port(), "SET k w").unwrap().contains("-READONLY"));
}

#[tokio::test]
async fn a_paused_redis_answers_nothing_until_it_is_resumed_and_can_be_stopped() {
    let dir = shared_tempdir();
    let mut redis = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    redis.pause().unwrap();
    assert!(redis_says(redis.port(), "PING").is_err());
    redis.resume().unwrap();
    assert!(redis_says(redis.port(), "PING").unwrap().starts_with("+PONG"));
    redis.pause().unwrap();
    let began = Instant::now();
    redis.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(redis.pause(), Err(ServersError::NotRunning { .. })));
}

#[tokio::test]
async fn a_taken_port_a_used_directory_and_a_bad_setting_are_named() {
    let dir = shared_tempdir();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = RedisOptions { port: Some(port), ..redis_options(dir.path()) };
    let error = PrivateRedis::start(options).await.err().unwrap();
    assert!(matches!(error, ServersError::PortInUse { port: named } if named == port), "{error}");
    let options = RedisOptions {
        extra_args: vec![("appendfsync".to_owned(), "perhaps".to_owned())],
        ..redis_options(dir.path())
    };
    let error = PrivateRedis::start(options).await.err().unwrap();
    assert!(error.to_string().contains("appendfsync"), "{error}");
}

#[tokio::test]
async fn dropping_a_server_ends_it() {
    let dir = shared_tempdir();
    let redis = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    let (pid, port) = (redis.pid().unwrap(), redis.port());
    drop(redis);
    assert!(is_gone(pid) && !answers(port));
}

#[tokio::test]
async fn postgres_keeps_its_data_through_stop_kill_and_a_second_start() {
    let dir = shared_tempdir();
    let mut postgres = PrivatePostgres::start(postgres_options(dir.path())).await.unwrap();
    let port = postgres.port();
    postgres.create_database("shop").await.unwrap();
    postgres.create_database("shop").await.unwrap();
    let session = client(&postgres, "shop").await;
    session.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    postgres.restart().await.unwrap();
    assert_eq!((postgres.port(), count_rows(&postgres).await), (port, 1));

    // A session in the middle of its work when the power goes.
    let session = client(&postgres, "shop").await;
    session.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    session.batch_execute("BEGIN; INSERT INTO kept VALUES (3)").await.unwrap();
    postgres.kill().await.unwrap();
    assert!(!answers(port) && postgres.pid().is_none());
    postgres.restart().await.unwrap();
    assert_eq!(count_rows(&postgres).await, 2);

    // After a crash, a pid file that names a living process which is none of PostgreSQL's.
    postgres.kill().await.unwrap();
    drop(postgres);
    let pid_file = dir.path().join("postgres/pgdata/postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();
    let outcome = PrivatePostgres::start(postgres_options(dir.path())).await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let again = outcome.unwrap();
    assert_eq!(count_rows(&again).await, 2);
    again.drop_database("shop").await.unwrap();
}

#[tokio::test]
async fn postgres_is_durable_private_and_takes_further_settings() {
    let dir = shared_tempdir();
    let options = PostgresOptions {
        extra_settings: vec![("max_connections".to_owned(), "37".to_owned())],
        ..postgres_options(dir.path())
    };
    let mut postgres = PrivatePostgres::start(options).await.unwrap();
    let session = client(&postgres, "postgres").await;
    for (name, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("password_encryption", "scram-sha-256"),
        ("max_connections", "37"),
    ] {
        let row = session.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), value, "{name}");
    }
    let wrong = postgres.url("postgres").replace("doorbuster:", "doorbuster:0");
    assert!(tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err());
    let mode = std::fs::metadata(dir.path().join("postgres/password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    postgres.pause().unwrap();
    let frozen = tokio::time::timeout(Duration::from_millis(300), session.simple_query("SELECT 1")).await;
    assert!(frozen.is_err());
    postgres.resume().unwrap();
    session.simple_query("SELECT 1").await.unwrap();
    let (pid, port) = (postgres.pid().unwrap(), postgres.port());
    drop(postgres);
    assert!(is_gone(pid) && !answers(port));
}

/// As root, PostgreSQL runs as another user, who may not be able to get to the data.
#[tokio::test]
async fn a_directory_that_the_server_cannot_reach_is_named() {
    let closed = tempdir_with_mode(0o700);
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(closed.path()).unwrap()) != 0 {
        return;
    }
    let error = PrivatePostgres::start(postgres_options(closed.path())).await.err().unwrap();
    let path = closed.path().canonicalize().unwrap();
    assert!(matches!(&error, ServersError::Unreachable { blocked, .. } if *blocked == path), "{error}");
    assert!(error.to_string().contains("chmod o+x"), "{error}");
    let elsewhere = doorbuster::servers::dev_data_dir(&closed.path().join("data")).unwrap();
    assert_eq!(elsewhere, PathBuf::from("/var/lib/doorbuster"));
    let open = shared_tempdir();
    assert_eq!(
        doorbuster::servers::dev_data_dir(&open.path().join("data")).unwrap(),
        open.path().join("data")
    );
}

const OWNER_DIR: &str = "DOORBUSTER_TEST_OWNER_DIR";
const OWNER_PAUSES: &str = "DOORBUSTER_TEST_OWNER_PAUSES";

/// Not a test by itself: the process that `orphans_end` starts and kills.
#[tokio::test]
async fn owner_of_servers() {
    let Some(dir) = std::env::var_os(OWNER_DIR).map(PathBuf::from) else { return };
    let mut redis = PrivateRedis::start(redis_options(&dir)).await.unwrap();
    let mut postgres = PrivatePostgres::start(postgres_options(&dir)).await.unwrap();
    postgres.create_database("shop").await.unwrap();
    let session = client(&postgres, "shop").await;
    session
        .batch_execute("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)")
        .await
        .unwrap();
    redis_says(redis.port(), "INCR a").unwrap();
    let facts = [redis.pid().unwrap(), redis.port().into(), postgres.pid().unwrap(), postgres.port().into()];
    if std::env::var_os(OWNER_PAUSES).is_some() {
        redis.pause().unwrap();
        postgres.pause().unwrap();
    }
    std::fs::write(dir.join("facts.unfinished"), facts.map(|fact| fact.to_string()).join(" ")).unwrap();
    std::fs::rename(dir.join("facts.unfinished"), dir.join("facts")).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn orphans_end(pauses: bool) {
    let dir = shared_tempdir();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "owner_of_servers"]).env(OWNER_DIR, dir.path());
    if pauses {
        command.env(OWNER_PAUSES, "1");
    }
    let mut owner = command.spawn().unwrap();
    wait_until("the owner has started its servers", || dir.path().join("facts").exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let facts = std::fs::read_to_string(dir.path().join("facts")).unwrap();
    let facts: Vec<u32> = facts.split(' ').map(|fact| fact.parse().unwrap()).collect();
    if !pauses {
        // At once, while the guards still work: a second start waits for the first servers' end.
        let redis = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
        assert!(redis_says(redis.port(), "GET a").unwrap().starts_with("$1\r\n1"));
        let postgres = PrivatePostgres::start(postgres_options(dir.path())).await.unwrap();
        assert_eq!(count_rows(&postgres).await, 1);
    }
    wait_until("the orphans have ended", || is_gone(facts[0]) && is_gone(facts[2]));
    assert!(!answers(u16::try_from(facts[1]).unwrap()) && !answers(u16::try_from(facts[3]).unwrap()));
}

#[tokio::test]
async fn servers_end_when_their_owner_is_killed_and_their_data_is_found_again() {
    orphans_end(false).await;
}

#[tokio::test]
async fn even_paused_servers_end_when_their_owner_is_killed() {
    orphans_end(true).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let dir = shared_tempdir();
    let _first = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
    let began = Instant::now();
    let error = PrivateRedis::start(redis_options(dir.path())).await.err().unwrap();
    assert!(matches!(error, ServersError::DataDirInUse { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
