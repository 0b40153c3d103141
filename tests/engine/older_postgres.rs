//! A Postgres that is another process than before: restarted, or with older data.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use doorbuster::log::{EntryId, read_range};
use doorbuster::order_life::Cancellation;
use doorbuster::partition::Partition;
use doorbuster::persist::{Fence, KnownItems, WriteError, persist};
use doorbuster::postgres::connect_pool;
use doorbuster::redis::Keys;

use crate::restoring::decided_out_of_order;
use crate::support::life::cancel;
use crate::support::{PATIENCE, World, assert_same, until};

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    // With its owners: as root, the server runs as another user.
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Orders that were acknowledged, settled and trimmed to nowhere but the log: whatever Postgres forgets comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_postgres_forgot_comes_back_from_the_log() {
    for partitions in [1, 4] {
        let mut world = World::with_own_postgres(|settings| settings.partitions = partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 1000, None)]).await;
        let client = world.client();
        let claim = async |round: &str| {
            for buyer in 0..20 {
                let (client, sale, name) = (&client, &sale, format!("{round}-{buyer}"));
                until("it is accepted", || async {
                    client.claim(sale, &name, "k", &[("TEE", 1)]).await.status.is_success()
                })
                .await;
            }
        };
        claim("before").await;
        world.drained().await;
        let data = world.postgres_dir();
        let backup = data.with_file_name("backup");
        world.postgres.as_mut().unwrap().stop().await.unwrap();
        copy(&data, &backup);
        world.postgres.as_mut().unwrap().restart().await.unwrap();
        world.db = world.reconnect().await;
        claim("after").await;
        world.drained().await;
        // Longer than the watermark takes.
        tokio::time::sleep(Duration::from_millis(800)).await;
        world.postgres.as_mut().unwrap().stop().await.unwrap();
        copy(&backup, &data);
        claim("while-away").await;
        world.postgres.as_mut().unwrap().restart().await.unwrap();
        world.db = world.reconnect().await;
        world
            .until("every order is there", || async {
                world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await == 60
            })
            .await;
        world.drained().await;
        assert_eq!(world.count("SELECT count(*) FROM orders").await, 60);
        assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
        world.assert_balanced(&sale, "TEE").await;
    }
}

/// The keeper brings the older one up to the log's end while the partition sells: what was decided out of order, and what
/// became of orders since, is read from further on in the log.
#[tokio::test(flavor = "multi_thread")]
async fn catching_up_decides_nothing_anew() {
    let (mut world, sale, backup) = decided_out_of_order().await;
    let given_up = world.client().claim(&sale, "zoe", "late", &[("MUG", 2)]).await;
    world.drained().await;
    let id = given_up.id().parse().unwrap();
    cancel(&world.orders(), id, Cancellation::Operator).await.unwrap();
    world.no_intents_open().await;
    world.drained().await;
    let wanted = world.rows().await;
    let epoch = "SELECT epoch FROM partitions";
    let before = world.count(epoch).await;
    world.restore(&backup).await;
    let orders = "SELECT count(*) FROM orders";
    world.until("the orders are back", || async { world.count(orders).await >= 9 }).await;
    // Raised to catch up, and for the opening behind that.
    world.until("it was opened anew", || async { world.count(epoch).await >= before + 2 }).await;
    world.all_open().await;
    world.drained().await;
    assert_same(&world.rows().await, &wanted);
    for sku in ["TEE", "MUG"] {
        world.assert_balanced(&sale, sku).await;
    }
}

/// Each is another process; buyers see none of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_claim_fails_through_restarts_of_postgres() {
    let mut world = World::with_own_postgres(|_| ()).await;
    let sale = world.open_sale("demo", &[("TEE", 100_000, None)]).await;
    let client = world.client();
    // A node reads a sale's definition in Postgres, once.
    assert_eq!(client.claim(&sale, "first", "1", &[("TEE", 1)]).await.status, 202);
    let stop = tokio_util::sync::CancellationToken::new();
    let claims = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (mut key, mut waited_in_vain) = (0, false);
            while !stop.is_cancelled() {
                let buyer = format!("b-{}", key / 50);
                let started = Instant::now();
                let reply = client.claim(&sale, &buyer, &key.to_string(), &[("TEE", 1)]).await;
                if reply.problem() == (503, "unavailable") {
                    // On a machine on which an opening takes longer than claims wait: but not before that.
                    waited_in_vain |= started.elapsed() > Duration::from_millis(900);
                    assert!(waited_in_vain, "not waited for: {reply:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                assert!([200, 202].contains(&reply.status.as_u16()), "{reply:?}");
                waited_in_vain = false;
                key += 1;
            }
            key
        }
    });
    let before = world.count("SELECT epoch FROM partitions").await;
    for _ in 0..2 {
        world.postgres.as_mut().unwrap().restart().await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    stop.cancel();
    let accepted = claims.await.unwrap();
    world.db = world.reconnect().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, accepted + 1);
    assert!(world.count("SELECT epoch FROM partitions").await > before + 1, "it was not opened anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_given_up_at_a_postgres_that_is_not_the_one_of_the_opening() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    world.stop_node().await;
    let order = format!("00000000 0000000000000001 {sale} alice k TEE:1");
    world.redis_says(&["XADD", "{p0}:log", "*", "order", &order]).await;
    let partition = Partition::new(0);
    let batch = read_range(&world.redis_client().await, &Keys::new(partition), EntryId::ZERO, 100).await;
    let batch = batch.unwrap();
    let pool = connect_pool(&world.postgres_url, 2, Duration::from_secs(10)).unwrap();
    let fence = Fence::new(partition, world.count("SELECT epoch FROM partitions").await);
    let identity: String = world.db.query_one("SELECT postgres FROM partitions", &[]).await.unwrap().get(0);
    world.db.execute("UPDATE partitions SET postgres = 'another'", &[]).await.unwrap();
    let given_up = persist(&pool, fence, &KnownItems::default(), &batch, PATIENCE).await;
    assert!(matches!(given_up, Err(WriteError::OtherPostgres)), "{given_up:?}");
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 0);
    world.db.execute("UPDATE partitions SET postgres = $1", &[&identity]).await.unwrap();
    assert_eq!(persist(&pool, fence, &KnownItems::default(), &batch, PATIENCE).await.unwrap().new_orders, 1);
    // Filled anew under the running server, as a restored dump is.
    world.db.batch_execute("CREATE TABLE kept AS TABLE partitions; TRUNCATE partitions").await.unwrap();
    world.db.batch_execute("INSERT INTO partitions TABLE kept").await.unwrap();
    let given_up = persist(&pool, fence, &KnownItems::default(), &batch, PATIENCE).await;
    assert!(matches!(given_up, Err(WriteError::OtherPostgres)), "{given_up:?}");
}
