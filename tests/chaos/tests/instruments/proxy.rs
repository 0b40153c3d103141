//! The proxy delays, holds, refuses, cuts and loses: Redis and PostgreSQL behind it, their own words through it.

use std::time::{Duration, Instant};

use chaos::instruments::{Behaviour, Proxy};
use doorbuster::servers::{PrivatePostgres, PrivateRedis};
use tempfile::TempDir;

use crate::support::{
    PATIENCE, Wire, address, count_rows, postgres_options, redis_options, redis_text, sql_client, tempdir,
};

struct Behind {
    redis: PrivateRedis,
    proxy: Proxy,
    _dir: TempDir,
}

impl Behind {
    async fn start() -> Self {
        let dir = tempdir();
        let redis = PrivateRedis::start(redis_options(dir.path())).await.unwrap();
        let proxy = Proxy::before_port(redis.port()).await.unwrap();
        Self { redis, proxy, _dir: dir }
    }

    async fn wire(&self) -> Wire {
        Wire::open(self.proxy.port()).await.unwrap()
    }

    /// A value as the server has it, asked past the proxy.
    async fn value(&self, key: &str) -> Option<String> {
        redis_text(address(&self.redis), &["GET", key]).await.unwrap()
    }
}

async fn within(time: Duration, wire: &mut Wire) -> Option<std::io::Result<String>> {
    tokio::time::timeout(time, wire.receive()).await.ok()
}

#[tokio::test]
async fn it_passes_everything_and_leads_a_url_through_itself() {
    let behind = Behind::start().await;
    let mut wire = behind.wire().await;
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    let long = "x".repeat(50_000);
    assert_eq!(wire.ask(&format!("SET long {long}")).await.unwrap(), "+OK\r\n");
    assert_eq!(behind.value("long").await.unwrap(), long);
    let counts = behind.proxy.counts();
    assert_eq!((counts.accepted, counts.cut, counts.late, counts.replies_lost), (1, 0, 0, 0));
    assert!(counts.bytes_in > 50_000 && counts.bytes_out == 12);
    let url = behind.proxy.url_through(&behind.redis.url());
    assert_eq!(url, format!("redis://127.0.0.1:{}", behind.proxy.port()));
}

#[tokio::test]
async fn a_lost_reply_belongs_to_a_request_that_was_carried_out() {
    let behind = Behind::start().await;
    behind.proxy.lose_replies(2, b"");
    for done in ["1", "2"] {
        let mut wire = behind.wire().await;
        assert!(wire.ask("INCR a").await.is_err(), "no byte of the reply comes through");
        assert_eq!(behind.value("a").await.as_deref(), Some(done));
    }
    assert_eq!(behind.wire().await.ask("INCR a").await.unwrap(), ":3\r\n");
    assert_eq!(behind.proxy.counts().replies_lost, 2);
    // A request longer than one piece is carried out whole before its reply is lost.
    behind.proxy.lose_replies(1, b"SET long");
    let mut wire = behind.wire().await;
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    assert!(wire.ask(&format!("SET long {}", "x".repeat(60_000))).await.is_err());
    assert_eq!(behind.value("long").await.unwrap().len(), 60_000);
    assert_eq!(behind.proxy.counts().replies_lost, 3);
}

#[tokio::test]
async fn a_lost_commit_is_committed() {
    let dir = tempdir();
    let postgres = PrivatePostgres::start(postgres_options(dir.path())).await.unwrap();
    let proxy = Proxy::before_port(postgres.port()).await.unwrap();
    let mut client = sql_client(&proxy.url_through(&postgres.url("postgres"))).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n bigint)").await.unwrap();
    proxy.lose_replies(1, b"COMMIT");
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO kept VALUES (1)", &[]).await.unwrap();
    assert!(transaction.commit().await.is_err());
    assert_eq!((count_rows(&postgres).await, proxy.counts().replies_lost), (1, 1));
    // Cut before it, the transaction is gone.
    let mut client = sql_client(&proxy.url_through(&postgres.url("postgres"))).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO kept VALUES (2)", &[]).await.unwrap();
    proxy.cut();
    assert!(transaction.commit().await.is_err());
    assert_eq!((count_rows(&postgres).await, proxy.counts().cut), (1, 1));
}

#[tokio::test]
async fn each_direction_is_late_by_its_own_time() {
    let behind = Behind::start().await;
    let mut wire = behind.wire().await;
    let (requests, replies) = (Duration::from_millis(150), Duration::from_millis(250));
    behind.proxy.set(Behaviour::Delay { requests, replies }).await;
    let began = Instant::now();
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    assert!(began.elapsed() >= requests + replies);
    assert_eq!(behind.proxy.counts().late, 2);
    behind.proxy.set(Behaviour::Pass).await;
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    assert_eq!(behind.proxy.counts().late, 2);
}

#[tokio::test]
async fn a_hole_takes_everything_closes_nothing_and_gives_it_back() {
    let behind = Behind::start().await;
    let (mut asked, mut unasked) = (behind.wire().await, behind.wire().await);
    assert_eq!(asked.ask("PING").await.unwrap(), "+PONG\r\n");
    behind.proxy.set(Behaviour::Blackhole).await;
    asked.send("SET a 1").await.unwrap();
    unasked.send("SET b 1").await.unwrap();
    let mut new = behind.wire().await;
    new.send("SET c 1").await.unwrap();
    assert!(within(Duration::from_millis(300), &mut asked).await.is_none(), "no answer, no end");
    for key in ["a", "b", "c"] {
        assert_eq!(behind.value(key).await, None);
    }
    behind.proxy.set(Behaviour::Pass).await;
    for wire in [&mut asked, &mut unasked, &mut new] {
        assert_eq!(within(PATIENCE, wire).await.unwrap().unwrap(), "+OK\r\n");
    }
    assert!(behind.proxy.counts().late >= 3);
    // Cut before the end, what was sent never arrives.
    behind.proxy.set(Behaviour::Blackhole).await;
    asked.send("SET never 1").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    behind.proxy.cut();
    assert!(within(PATIENCE, &mut asked).await.unwrap().is_err());
    behind.proxy.set(Behaviour::Pass).await;
    assert_eq!(behind.value("never").await, None);
    assert_eq!(behind.proxy.counts().cut, 3);
}

#[tokio::test]
async fn a_closed_port_refuses_the_new_and_spares_the_old() {
    let behind = Behind::start().await;
    let mut wire = behind.wire().await;
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    behind.proxy.set(Behaviour::Refuse).await;
    let refused = Wire::open(behind.proxy.port()).await.err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(wire.ask("PING").await.unwrap(), "+PONG\r\n");
    behind.proxy.set(Behaviour::Pass).await;
    assert_eq!(behind.wire().await.ask("PING").await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn an_unreliable_way_loses_requests_and_replies_and_counts_them() {
    let behind = Behind::start().await;
    behind.proxy.set(Behaviour::Unreliable { fraction: 0.4, seed: 7 }).await;
    let (mut sent, mut answered) = (0, 0);
    while sent < 100 {
        let mut wire = behind.wire().await;
        sent += 1;
        if wire.ask("INCR a").await.is_ok() {
            answered += 1;
        }
    }
    let counts = behind.proxy.counts();
    let done: u64 = behind.value("a").await.unwrap().parse().unwrap();
    assert!(counts.requests_lost > 5 && counts.replies_lost > 5, "{counts:?}");
    assert_eq!((done, sent), (answered + counts.replies_lost, done + counts.requests_lost));
}

#[tokio::test]
async fn a_throttle_takes_its_time_and_loses_nothing() {
    let behind = Behind::start().await;
    let mut wire = behind.wire().await;
    behind.proxy.set(Behaviour::Throttle { bytes_per_s: 100_000 }).await;
    let began = Instant::now();
    assert_eq!(wire.ask(&format!("SET a {}", "x".repeat(40_000))).await.unwrap(), "+OK\r\n");
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
}
