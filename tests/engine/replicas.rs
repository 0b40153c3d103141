//! `ack = "replica"`: what is acknowledged survives the loss of the primary.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use doorbuster::catalogue::SaleId;
use doorbuster::config::{Ack, Millis, RedisUrl, Role, Settings};
use doorbuster::order_id::OrderId;
use doorbuster::servers::{PrivateRedis, RedisOptions};
use tempfile::TempDir;

use crate::support::{Block, Client, PATIENCE, Reply, World, tempdir};

/// Short, since tests wait for it to pass.
const WAIT: Duration = Duration::from_millis(600);

struct Pair {
    world: World,
    replica: PrivateRedis,
    sale: SaleId,
    _dir: TempDir,
}

impl Pair {
    /// A world on a primary that has a replica, and a sale of so many units.
    async fn start(stock: i64) -> Self {
        Self::with(stock, |_| {}).await
    }

    async fn with(stock: i64, change: impl FnOnce(&mut Settings)) -> Self {
        let world = World::with(|settings| {
            settings.ack = Ack::Replica;
            settings.ack_replica_timeout_ms = Millis::new(WAIT.as_millis() as u64);
            change(settings);
        })
        .await;
        let dir = tempdir();
        let options = RedisOptions {
            data_dir: dir.path().join("replica"),
            replica_of: Some(world.redis.port()),
            ..RedisOptions::default()
        };
        let replica = PrivateRedis::start(options).await.unwrap();
        world
            .until("the replica follows", || async {
                world.redis_says(&["INFO", "replication"]).await.contains("state=online")
            })
            .await;
        let sale = world.open_sale("demo", &[("TEE", stock, None)]).await;
        Self { world, replica, sale, _dir: dir }
    }

    async fn claim(&self, buyer: &str, key: &str, units: u64) -> Reply {
        self.world.client().claim(&self.sale, buyer, key, &[("TEE", units)]).await
    }

    /// Claims until an order is told: a busy machine may be too slow for the first try.
    async fn order_of(&self, buyer: &str, key: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = self.claim(buyer, key, 1).await;
            if reply.status.is_success() {
                return reply.id();
            }
            assert!(Instant::now() < end, "no order for {buyer} {key}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The primary is gone for good; the node goes on with the replica.
    async fn fail_over(&mut self) {
        self.world.redis.kill().await.unwrap();
        self.world.crash_node();
        std::mem::swap(&mut self.world.redis, &mut self.replica);
        self.world.redis_says(&["REPLICAOF", "NO", "ONE"]).await;
        self.world.settings.redis_url = RedisUrl::new(&self.world.redis.url()).unwrap();
        self.world.start_node().await;
    }

    async fn stored(&self) -> HashSet<String> {
        self.world.drained().await;
        let rows = self.world.reconnect().await.query("SELECT id FROM orders", &[]).await.unwrap();
        rows.iter().map(|row| OrderId::from_uuid(row.get(0)).to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_once_a_replica_holds_it() {
    let mut pair = Pair::start(5).await;
    let first = pair.order_of("alice", "1").await;
    let touched = || async { pair.world.redis_says(&["HGET", "{p0}:meta", "touched"]).await };
    let before = touched().await;
    assert_eq!(pair.order_of("alice", "1").await, first);
    // The known order was told behind a write: by its promise, WAIT would say nothing of another connection's order.
    assert_ne!(touched().await, before);

    pair.replica.pause().unwrap();
    let started = Instant::now();
    let hidden = pair.claim("alice", "2", 1).await;
    assert_eq!(hidden.problem(), (503, "indeterminate"), "{hidden:?}");
    assert!(hidden.retry_after().is_some());
    assert!(started.elapsed() >= WAIT, "did not wait");
    // Neither as new nor as known: nothing was told before, and WAIT behind a script that only reads says nothing. Also
    // an order that was told before: who knows since when the replica is another one.
    for key in ["2", "1", "2"] {
        assert_eq!(pair.claim("alice", key, 1).await.problem(), (503, "indeterminate"), "{key}");
    }
    // Nor by a node that has written nothing itself.
    let other = pair.world.second_node(|settings| settings.role = Role::Api).await;
    assert!(other.wait_ready(PATIENCE).await);
    let retry = Client::new(other.api.unwrap()).claim(&pair.sale, "alice", "2", &[("TEE", 1)]).await;
    assert_eq!(retry.problem(), (503, "indeterminate"), "{retry:?}");
    other.stop().await;
    // A refusal needs nobody's memory.
    assert_eq!(pair.claim("bob", "1", 100).await.problem(), (409, "insufficient-stock"));
    assert_eq!(pair.claim("alice", "1", 2).await.problem(), (422, "idempotency-key-reused"));

    pair.replica.resume().unwrap();
    let pair = &pair;
    pair.world
        .until("the key has its order", || async { pair.claim("alice", "2", 1).await.status == 200 })
        .await;
    assert_eq!(pair.stored().await.len(), 2);
    pair.world.assert_balanced(&pair.sale, "TEE").await;
}

/// Whoever reads the log is told that the order was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_log_is_shown_once_a_replica_holds_it() {
    // With a replica that stands still nobody proves that no other server sells, and a lease runs out: not within this test.
    let mut pair = Pair::with(5, |settings| settings.lease_ms = Millis::new(120_000)).await;
    pair.world.drained().await;
    let block = Block::persisting(&pair.world).await;
    let order = pair.order_of("alice", "1").await;
    let show = |pair: &Pair, buyer: &'static str| {
        let (client, path) = (pair.world.client(), format!("/v1/orders/{order}"));
        async move { client.get(&path, buyer).await }
    };
    pair.replica.pause().unwrap();
    // Who waits for no replica. A busy machine may be too slow for the first try.
    let unknown = || async { show(&pair, "bob").await.problem() == (404, "not-found") };
    pair.world.until("a stranger is told nothing", unknown).await;
    assert_eq!(show(&pair, "alice").await.problem(), (503, "unavailable"));
    pair.replica.resume().unwrap();
    pair.world
        .until("the order is shown", || async { show(&pair, "alice").await.body["state"] == "accepted" })
        .await;
    // What is in Postgres needs no replica.
    pair.replica.stop().await.unwrap();
    block.release().await;
    let pair = &pair;
    pair.world
        .until("the order is stored", || async { show(pair, "alice").await.body["state"] == "confirmed" })
        .await;
}

/// What a key was told: `None` where nothing was.
struct Told {
    buyer: String,
    key: String,
    id: Option<String>,
}

/// Buyers who claim until they are stopped.
struct Buyers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    hidden: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Told>>>,
}

impl Buyers {
    fn start(client: &Client, sale: &SaleId) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (acknowledged, hidden) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let buy = |number: usize| {
            let (client, sale, stop) = (client.clone(), sale.clone(), stop.clone());
            let (acknowledged, hidden) = (acknowledged.clone(), hidden.clone());
            async move {
                let mut told = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let (buyer, key) = (format!("b-{number}-{}", told.len() / 50), told.len().to_string());
                    let reply = client.try_claim(sale.as_str(), &buyer, &key, &[("TEE", 1)]).await;
                    let id = reply.ok().filter(|reply| reply.status.is_success()).map(|reply| reply.id());
                    let count = if id.is_some() { &acknowledged } else { &hidden };
                    count.fetch_add(1, Ordering::Relaxed);
                    told.push(Told { buyer, key, id });
                }
                told
            }
        };
        let tasks = (0..8).map(|number| tokio::spawn(buy(number))).collect();
        Self { stop, acknowledged, hidden, tasks }
    }

    async fn finish(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        for task in self.tasks {
            told.extend(task.await.unwrap());
        }
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_orders_survive_the_loss_of_the_primary() {
    let mut pair = Pair::start(1_000_000).await;
    pair.world.drained().await;
    // Else Postgres would know them.
    let block = Block::persisting(&pair.world).await;
    let buyers = Buyers::start(&pair.world.client(), &pair.sale);
    let count = |counter: &Arc<AtomicUsize>| counter.load(Ordering::Relaxed);
    pair.world.until("orders are told", || async { count(&buyers.acknowledged) > 40 }).await;
    // From here the replica falls behind. One that is only frozen would find the rest in its socket.
    pair.replica.kill().await.unwrap();
    let before = count(&buyers.acknowledged) + count(&buyers.hidden);
    pair.world
        .until("claims come after it", || async {
            count(&buyers.acknowledged) + count(&buyers.hidden) > before + 16
        })
        .await;
    pair.world.redis.kill().await.unwrap();
    let told = buyers.finish().await;
    pair.replica.restart().await.unwrap();
    block.release().await;
    pair.fail_over().await;

    let acknowledged: HashSet<String> = told.iter().filter_map(|told| told.id.clone()).collect();
    let stored = pair.stored().await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged but lost: {lost:?}");

    // The new primary has no replica yet: nothing is told. With one, every key has its one order.
    let hidden = told.iter().find(|told| told.id.is_none()).expect("nothing was hidden");
    assert_eq!(pair.claim(&hidden.buyer, &hidden.key, 1).await.problem(), (503, "indeterminate"));
    let second = PrivateRedis::start(RedisOptions {
        data_dir: pair._dir.path().join("second"),
        replica_of: Some(pair.world.redis.port()),
        ..RedisOptions::default()
    })
    .await
    .unwrap();
    for Told { buyer, key, id } in &told {
        let found = pair.order_of(buyer, key).await;
        assert!(id.as_ref().is_none_or(|id| *id == found), "the key {buyer} {key} has two orders");
    }
    assert_eq!(pair.stored().await.len(), told.len());
    pair.world.assert_balanced(&pair.sale, "TEE").await;
    drop(second);
}
