//! Servers that stop and start under load. Every acknowledged order ends in Postgres, once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use doorbuster::catalogue::SaleId;
use doorbuster::config::Millis;
use doorbuster::order_id::OrderId;
use tokio::task::JoinHandle;

use crate::support::{Client, World};

/// Buyers who claim one after another until they are stopped, and retry what is indeterminate.
struct Load {
    stop: Arc<AtomicBool>,
    buyers: Vec<JoinHandle<HashSet<String>>>,
    slowest_ms: Arc<AtomicU32>,
}

impl Load {
    fn start(client: &Client, sale: &SaleId) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let slowest_ms = Arc::new(AtomicU32::new(0));
        let buyers = (0..8)
            .map(|buyer| {
                let (client, sale, stop, slowest) =
                    (client.clone(), sale.clone(), stop.clone(), slowest_ms.clone());
                tokio::spawn(async move {
                    let mut acknowledged = HashSet::new();
                    let mut key = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let started = Instant::now();
                        let name = format!("b-{buyer}-{}", key / 50);
                        let reply = client.claim(&sale, &name, &key.to_string(), &[("TEE", 1)]).await;
                        slowest.fetch_max(started.elapsed().as_millis() as u32, Ordering::Relaxed);
                        match reply.status.as_u16() {
                            200 | 202 => {
                                acknowledged.insert(reply.id());
                                key += 1;
                            }
                            503 => {
                                assert!(reply.retry_after().is_some());
                                tokio::time::sleep(Duration::from_millis(50)).await;
                            }
                            _ => panic!("{reply:?}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        Self { stop, buyers, slowest_ms }
    }

    async fn finish(self) -> HashSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = HashSet::new();
        for buyer in self.buyers {
            all.extend(buyer.await.unwrap());
        }
        all
    }
}

async fn assert_all_stored(world: &World, acknowledged: &HashSet<String>) {
    world.drained().await;
    let rows =
        world.reconnect().await.query("SELECT id FROM orders WHERE state = 'confirmed'", &[]).await.unwrap();
    let stored: HashSet<String> = rows.iter().map(|row| OrderId::from_uuid(row.get(0)).to_string()).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged but not stored: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stopped_and_started_during_load() {
    for partitions in [1, 4] {
        let mut world = World::with_short_lease(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 1_000_000, None)]).await;
        let load = Load::start(&world.client(), &sale);
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            // Once by a clean stop, else as a crash.
            if round == 0 {
                world.redis.stop().await.unwrap()
            } else {
                world.redis.kill().await.unwrap()
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.redis.restart().await.unwrap();
            world.start_anew_after_redis().await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let slowest = load.slowest_ms.clone();
        let acknowledged = load.finish().await;
        assert!(acknowledged.len() > 50, "hardly any load: {}", acknowledged.len());
        assert!(slowest.load(Ordering::Relaxed) < 10_000, "a claim hung while redis was away");
        assert_all_stored(&world, &acknowledged).await;
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_stopped_and_started_during_load() {
    for partitions in [1, 4] {
        let mut world = World::with_own_postgres(|settings| settings.partitions = partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 1_000_000, None)]).await;
        let client = world.client();
        let load = Load::start(&client, &sale);
        for round in 0..2 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let postgres = world.postgres.as_mut().unwrap();
            if round == 0 {
                postgres.stop().await.unwrap()
            } else {
                postgres.kill().await.unwrap()
            }
            // Intake goes on without Postgres.
            let reply = client.claim(&sale, "while-away", &round.to_string(), &[("TEE", 1)]).await;
            assert_eq!(reply.status, 202, "{reply:?}");
            let order = client.get(reply.location(), "while-away").await;
            assert_eq!(order.body["state"], "accepted", "{order:?}");
            tokio::time::sleep(Duration::from_secs(2)).await;
            world.postgres.as_mut().unwrap().restart().await.unwrap();
            // An opening needs Postgres: the next round must not take it away in the middle of one.
            opened_at_this_postgres(&world).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let acknowledged = load.finish().await;
        assert!(acknowledged.len() > 50, "hardly any load: {}", acknowledged.len());
        assert_all_stored(&world, &acknowledged).await;
        world.db = world.reconnect().await;
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_503_in_bounded_time() {
    for partitions in [1, 4] {
        let mut world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        let client = world.client();
        assert_eq!(client.claim(&sale, "alice", "1", &[("TEE", 1)]).await.status, 202);
        world.redis.pause().unwrap();
        let started = Instant::now();
        let hung = client.claim(&sale, "alice", "2", &[("TEE", 1)]).await;
        assert_eq!(hung.problem(), (503, "indeterminate"));
        assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
        world.redis.resume().unwrap();
        // The same key tells what became of it, and it happened at most once.
        let client = &client;
        let sale = &sale;
        world
            .until("the key has its order", || async move {
                client.claim(sale, "alice", "2", &[("TEE", 1)]).await.status.is_success()
            })
            .await;
        world.drained().await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 2);
        world.assert_balanced(sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_finishes_the_claims_in_flight() {
    // Longer than redis is paused, however busy the machine is.
    let mut world = World::with(|settings| settings.redis_timeout_ms = Millis::new(20_000)).await;
    let sale = world.open_sale("demo", &[("TEE", 1000, None)]).await;
    let client = world.client();
    world.redis.pause().unwrap();
    let claims: Vec<_> = (0..10)
        .map(|i| {
            let (client, sale) = (client.clone(), sale.clone());
            tokio::spawn(async move {
                client.try_claim(sale.as_str(), "alice", &i.to_string(), &[("TEE", 1)]).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let node = world.node.take().unwrap();
    let stopping = tokio::spawn(node.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.redis.resume().unwrap();
    let stopped = stopping.await.unwrap();
    assert_eq!((stopped.requests_finished, stopped.requests_cut), (10, 0));
    for claim in claims {
        assert_eq!(claim.await.unwrap().unwrap().status, 202);
    }
    world.start_node().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 10);
}

/// Waits until every partition was opened anew at the Postgres that runs now.
async fn opened_at_this_postgres(world: &World) {
    let db = world.reconnect().await;
    // Not by `postgres`: a keeper that catches up before it opens anew has written that already.
    let query = "SELECT count(*) FROM partitions WHERE drained_postgres IS DISTINCT FROM postgres_identity()";
    world
        .until("every partition was opened at this postgres", || async {
            db.query_one(query, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    // A keeper that catches up has said so already, and opens anew behind that.
    for partition in 0..world.settings.partitions {
        let epoch = "SELECT epoch FROM partitions WHERE partition = $1";
        let meta = format!("{{p{partition}}}:meta");
        world
            .until("that opening is the one of redis", || async {
                let raised: i64 = db.query_one(epoch, &[&i16::from(partition)]).await.unwrap().get(0);
                world.redis_says(&["HMGET", &meta, "epoch", "state"]).await == format!("{raised}\nopen")
            })
            .await;
    }
    world.all_open().await;
}
