//! Another server behind the same address: it sells only once the old one cannot.

use std::time::{Duration, Instant};

use doorbuster::config::{Millis, RedisUrl, Role};
use doorbuster::gate::Gate;
use doorbuster::partition::Partition;
use doorbuster::redis::{GROUP, Keys, Redis, RedisOptions, Script, StampedScripts};
use doorbuster::servers::{self, PrivateRedis};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Client, Forwarder, PATIENCE, World, tempdir};

const PARTITION: Partition = Partition::new(0);

async fn client_of(port: u16) -> Redis {
    let url = format!("redis://127.0.0.1:{port}");
    let redis = Redis::connect(&RedisOptions { url, timeout: PATIENCE, queue_max: 100 }).unwrap();
    redis.wait_ready().await.unwrap();
    redis
}

async fn start_redis() -> (PrivateRedis, TempDir) {
    let dir = tempdir();
    let options = servers::RedisOptions { data_dir: dir.path().join("redis"), ..Default::default() };
    (PrivateRedis::start(options).await.unwrap(), dir)
}

async fn follow(replica: &PrivateRedis, primary: &PrivateRedis) {
    let (keys, port) = (Keys::new(PARTITION), primary.port().to_string());
    let redis = client_of(replica.port()).await;
    redis.command("REPLICAOF", &keys.meta, vec!["127.0.0.1".into(), port.into()]).await.unwrap();
    let primary = client_of(primary.port()).await;
    crate::support::until("the replica follows", || async {
        let info = primary.command("INFO", &keys.meta, vec!["replication".into()]).await.unwrap();
        info.as_string().unwrap().contains("state=online")
    })
    .await;
}

/// One server, asked as a node would ask it: does it sell?
struct Shop {
    redis: Redis,
    gate: Gate,
    /// The last stamp that was seen there: a node goes on with it until it is refused.
    known: Option<std::sync::Arc<StampedScripts>>,
}

impl Shop {
    async fn at(port: u16) -> Self {
        let redis = client_of(port).await;
        Self { gate: Gate::watch(redis.clone(), PARTITION), redis, known: None }
    }

    /// Settles nothing, which passes the fence as a claim does.
    async fn sells(&mut self) -> bool {
        self.known = self.gate.open().or(self.known.take());
        let Some(scripts) = &self.known else { return false };
        let keys = Keys::new(PARTITION);
        let args = vec![GROUP.into(), 0.into(), 1.into(), 1.into(), "0-1".into()];
        let all = vec![keys.meta, keys.log, keys.order_changes, keys.payments];
        self.redis.run(scripts, Script::Settle, all, args).await.is_ok()
    }
}

/// Watches both until the new one sells; panics where both do. Tells how long the old one did.
async fn watch(old: &mut Shop, new: &mut Shop) -> Duration {
    let started = Instant::now();
    let mut old_sold = Duration::ZERO;
    let mut seen = 0;
    // Some time longer: the old one must stay closed.
    while seen < 100 {
        assert!(started.elapsed() < PATIENCE, "the new server does not open");
        // The new one first: where it sells already, the old one must not any more.
        let new_sells = new.sells().await;
        let old_sells = old.sells().await;
        assert!(!(new_sells && old_sells), "two servers sell, after {:?}", started.elapsed());
        if old_sells {
            old_sold = started.elapsed();
        }
        seen += u32::from(new_sells);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    old_sold
}

/// A world whose node reaches Redis, and Postgres, through addresses that can be switched.
async fn forwarded(lease_ms: u64) -> (World, Forwarder, Forwarder) {
    let mut redis = None;
    let mut postgres = None;
    let world = World::with(|settings| {
        settings.lease_ms = Millis::new(lease_ms);
        let (url, forwarder) = Forwarder::before(settings.redis_url.expose());
        settings.redis_url = RedisUrl::new(&url).unwrap();
        redis = Some(forwarder);
        let (url, forwarder) = Forwarder::before(settings.postgres_url.expose());
        settings.postgres_url = doorbuster::config::PostgresUrl::new(&url).unwrap();
        postgres = Some(forwarder);
    })
    .await;
    (world, redis.unwrap(), postgres.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_sells_only_after_the_lease_of_the_old_one() {
    let (world, address, _postgres) = forwarded(3_000).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    world.drained().await;
    let (new, _dir) = start_redis().await;
    let mut old_shop = Shop::at(world.redis.port()).await;
    let mut new_shop = Shop::at(new.port()).await;
    old_shop.gate.wait_open().await;
    address.switch(Some(new.port()));
    let old_sold = watch(&mut old_shop, &mut new_shop).await;
    assert!(old_sold > Duration::from_secs(1), "no lease was waited out: {old_sold:?}");
    let again = world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    assert_eq!(again.status, 200, "{again:?}");
}

/// The old keeper, and the old primary, on one side; Postgres and a promoted replica on the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_cut_off_with_its_primary_lets_the_lease_run_out() {
    let (world, _address, postgres) = forwarded(2_000).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let (replica, _dir) = start_redis().await;
    follow(&replica, &world.redis).await;
    // So that the keeper has seen it; the first replica of all begins a new line of replication, which is opened anew.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.drained().await;
    let mut old_shop = Shop::at(world.redis.port()).await;
    old_shop.gate.wait_open().await;
    // Nobody else's connection leads through it.
    postgres.switch(None);
    let keys = Keys::new(PARTITION);
    let promoted = client_of(replica.port()).await;
    promoted.command("REPLICAOF", &keys.meta, vec!["NO".into(), "ONE".into()]).await.unwrap();
    let mut new_shop = Shop::at(replica.port()).await;
    let second = world.second_node(|settings| {
        settings.redis_url = RedisUrl::new(&replica.url()).unwrap();
        settings.postgres_url = doorbuster::config::PostgresUrl::new(&world.postgres_url).unwrap();
    });
    let (old_sold, second) = tokio::join!(watch(&mut old_shop, &mut new_shop), second);
    assert!(old_sold > Duration::from_secs(1), "the old one was closed at once: {old_sold:?}");
    let client = Client::new(second.api.unwrap());
    world
        .until("the promoted one sells", || async {
            client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.status == 202
        })
        .await;
    second.stop().await;
}

/// Without the lock, beside replicas that follow: intake goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_without_postgres_goes_on_beside_its_replica() {
    let (world, _address, postgres) = forwarded(2_000).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let (replica, _dir) = start_redis().await;
    follow(&replica, &world.redis).await;
    // The first replica of all begins a new line of replication: opened anew.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world
        .until("claims pass", || async {
            world.client().claim(&sale, "alice", "0", &[("TEE", 1)]).await.status.is_success()
        })
        .await;
    world.drained().await;
    postgres.switch(None);
    let epoch = world.redis_says(&["HGET", "{p0}:meta", "epoch"]).await;
    let until = Instant::now() + Duration::from_secs(6);
    let mut key = 0;
    while Instant::now() < until {
        key += 1;
        let reply = world.client().claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
        assert!([202, 409].contains(&reply.status.as_u16()), "{reply:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.redis_says(&["HGET", "{p0}:meta", "epoch"]).await, epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_ended_in_order_is_not_waited_for_and_one_that_crashed_is() {
    let mut world = World::with_short_lease(1).await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.stop_node().await;
    let ends = "SELECT count(*) FROM partitions WHERE lease_ends_at < now() + interval '4 s'";
    assert_eq!(world.count(ends).await, 1, "it did not say when its lease ends");
    world.redis.restart().await.unwrap();
    world.start_node().await;
    assert_eq!(world.count("SELECT count(*) FROM partitions WHERE lease_ends_at IS NULL").await, 1);
    world.crash_node();
    world.redis.restart().await.unwrap();
    let started = Instant::now();
    world.start_node().await;
    // The time in which it must have noticed, a renewal that came late, and its lease.
    assert!(started.elapsed() > Duration::from_millis(2 * 3000 + 3500), "after {:?}", started.elapsed());
}

/// A Redis Sentinel of this test alone.
struct Sentinel {
    _process: Child,
    _dir: TempDir,
    port: u16,
}

impl Sentinel {
    async fn before(primary: &PrivateRedis) -> Self {
        let dir = tempdir();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir ./\nsentinel monitor shop 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 2000\n",
            primary.port()
        );
        std::fs::write(dir.path().join("sentinel.conf"), config).unwrap();
        let process = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(dir.path())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let sentinel = Self { _process: process, _dir: dir, port };
        let redis = Redis::connect(&RedisOptions {
            url: format!("redis://127.0.0.1:{port}"),
            timeout: PATIENCE,
            queue_max: 10,
        });
        redis.unwrap().wait_ready().await.unwrap();
        sentinel
    }

    async fn knows_replica(&self, replica: &PrivateRedis) {
        let port = replica.port().to_string();
        crate::support::until("the sentinel knows the replica", || async {
            let asked = ["-p", &self.port.to_string(), "sentinel", "replicas", "shop"].map(str::to_owned);
            let said = Command::new("redis-cli").args(asked).output().await.unwrap();
            String::from_utf8(said.stdout).unwrap().lines().any(|line| line == port)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_a_failover_by_sentinel() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.stop_node().await;
    let (mut replica, _dir) = start_redis().await;
    follow(&replica, &world.redis).await;
    let sentinel = Sentinel::before(&world.redis).await;
    sentinel.knows_replica(&replica).await;
    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=shop", sentinel.port);
    world.settings.redis_url = RedisUrl::new(&url).unwrap();
    world.settings.lease_ms = Millis::new(2_000);
    world.start_node().await;
    let client = world.client();
    let mut orders = Vec::new();
    for key in 0..10 {
        let reply = client.claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
        orders.push(reply.id());
    }
    world.drained().await;
    assert_eq!(world.redis_says(&["WAIT", "1", "10000"]).await, "1");
    world.redis.kill().await.unwrap();
    world
        .until("claims pass on the promoted replica", || async {
            client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.status.is_success()
        })
        .await;
    for (key, order) in orders.iter().enumerate() {
        let again = client.claim(&sale, "alice", &key.to_string(), &[("TEE", 1)]).await;
        assert_eq!((again.status.as_u16(), &again.id()), (200, order));
    }
    // The workers follow as well.
    std::mem::swap(&mut world.redis, &mut replica);
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 11);
    world.assert_balanced(&sale, "TEE").await;
    world.stop_node().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_alone_is_no_second_keeper_on_another_server() {
    // A second candidate sees the new server and waits for the lock: it neither opens nor evicts a keeper that is alive.
    let (world, _address, _postgres) = forwarded(2_000).await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let (other, _dir) = start_redis().await;
    let epoch = world.count("SELECT epoch FROM partitions").await;
    let second = world
        .second_node(|settings| {
            settings.role = Role::Worker;
            settings.redis_url = RedisUrl::new(&other.url()).unwrap();
        })
        .await;
    // Twice as long as a silent keeper would be waited for.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(world.count("SELECT epoch FROM partitions").await, epoch);
    second.stop().await;
}
