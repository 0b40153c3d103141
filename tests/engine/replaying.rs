//! `doorbuster replay`: the retained log, persisted once more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use doorbuster::catalogue::SaleId;
use doorbuster::log::LogRange;
use doorbuster::partition::Partition;
use doorbuster::postgres::connect_pool;
use doorbuster::replay::{Progress, Replay, Replayed};
use tokio_util::sync::CancellationToken;

use crate::support::{World, assert_same};

async fn replay(world: &World, range: LogRange, dry_run: bool) -> Replayed {
    replay_until(world, range, dry_run, &|_| {}, &CancellationToken::new()).await
}

async fn replay_until(
    world: &World,
    range: LogRange,
    dry_run: bool,
    told: &(dyn Fn(Progress) + Sync),
    stop: &CancellationToken,
) -> Replayed {
    let redis = world.redis_client().await;
    let limit = Duration::from_secs(10);
    let pool = connect_pool(&world.postgres_url, 2, limit).unwrap();
    let replay = Replay { redis: &redis, pool: &pool, partition: Partition::new(0), limit, dry_run };
    let replayed = replay.run(range, told, stop).await.unwrap();
    redis.close().await;
    replayed
}

async fn buy(world: &World, sale: &SaleId, buyers: std::ops::Range<u32>) {
    for buyer in buyers {
        let reply = world.client().claim(sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    world.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_postgres_is_made_whole_and_a_second_time_changes_nothing() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let early = world.open_sale("early", &[("TEE", 20, None)]).await;
    buy(&world, &early, 0..3).await;
    let dump = world.dump().await;
    buy(&world, &early, 3..5).await;
    let late = world.open_sale("late", &[("TEE", 20, None)]).await;
    buy(&world, &late, 0..4).await;
    // A second order of one key.
    world.redis_says(&["HDEL", "{p0}:sale:late:buyers", "b-0"]).await;
    buy(&world, &late, 0..1).await;
    world.no_intents_open().await;
    world.append("order", "not an order").await;
    world.drained().await;
    let wanted = world.rows().await;
    world.stop_node().await;
    world.restore_dump(&dump).await;
    let older = world.rows().await;

    let rehearsed = replay(&world, LogRange::default(), true).await;
    assert_same(&world.rows().await, &older);
    let done = replay(&world, LogRange::default(), false).await;
    assert_eq!(rehearsed, done, "the rehearsal said something else");
    assert_same(&world.rows().await, &wanted);
    let applied = &done.applied;
    assert_eq!((applied.new_orders, applied.known_orders, applied.duplicates), (6, 3, 1));
    assert_eq!((applied.new_sales, applied.known_sales), (1, 1));
    assert_eq!((applied.new_ledger_rows, applied.known_ledger_rows), (2, 1));
    assert_eq!((applied.dead_letters, applied.unreadable, applied.known_dead_letters), (1, 1, 0));
    assert!(!done.begins_before_the_log && !done.has_gap && !done.is_stopped, "{done:?}");

    let again = replay(&world, LogRange::default(), false).await;
    assert_same(&world.rows().await, &wanted);
    let applied = again.applied;
    assert_eq!((applied.new_orders, applied.known_orders), (0, 10));
    assert_eq!((applied.new_ledger_rows, applied.new_sales), (0, 0));
    assert_eq!((applied.dead_letters, applied.known_dead_letters), (0, 1));
    world.start_node().await;
    assert_same(&world.rows().await, &wanted);
    for sale in [&early, &late] {
        world.assert_balanced(sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_traffic_and_openings_changes_nothing() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100_000, None)]).await;
    buy(&world, &sale, 0..5).await;
    let (sold, ended) = (AtomicU64::new(5), AtomicBool::new(false));
    let traffic = async {
        for buyer in 0.. {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            let reply = world.client().claim(&sale, &format!("t-{buyer}"), "k", &[("TEE", 1)]).await;
            if reply.status == 202 {
                sold.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let replays = async {
        for turn in 0..6 {
            if turn % 2 == 0 {
                // The partition is opened anew under the replay.
                world.redis_says(&["SCRIPT", "FLUSH"]).await;
            }
            let both = (
                replay(&world, LogRange::default(), turn % 3 == 0),
                replay(&world, LogRange { from: Some("-1m".parse().unwrap()), to: None }, false),
            );
            let (all, _) = tokio::join!(both.0, both.1);
            assert_eq!(all.applied.dead_letters + all.applied.over_allotment + all.applied.duplicates, 0);
        }
        ended.store(true, Ordering::Relaxed);
    };
    tokio::join!(traffic, replays);
    world.drained().await;
    let wanted = sold.load(Ordering::Relaxed) as i64;
    // An answer that was lost with an opening may have been an order.
    let confirmed = world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await;
    assert!(confirmed >= wanted && wanted > 5, "{confirmed} orders of {wanted} that were accepted");
    assert_eq!(world.count("SELECT count(*) FROM orders").await, confirmed);
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_can_be_stopped_and_goes_on_where_it_is_run_again() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let dump = world.dump().await;
    buy(&world, &sale, 0..2).await;
    // Enough for more than one batch: what was opened when, as far as anybody can read it.
    let many = "for i = 1, 1500 do redis.call('XADD', KEYS[1], '*', 'opening', '00000000 1 0-0') end
                return redis.call('HINCRBY', KEYS[2], 'appended', 1500)";
    world.redis_says(&["EVAL", many, "2", "{p0}:log", "{p0}:meta"]).await;
    buy(&world, &sale, 2..4).await;
    world.stop_node().await;
    world.restore_dump(&dump).await;
    let stop = CancellationToken::new();
    let stopped = replay_until(&world, LogRange::default(), false, &|_| stop.cancel(), &stop).await;
    assert!(stopped.is_stopped && stopped.read == 1000, "{stopped:?}");
    assert_eq!((stopped.applied.new_orders, world.count("SELECT count(*) FROM orders").await), (2, 2));
    let rest = replay(&world, LogRange::default(), false).await;
    assert_eq!((rest.applied.known_orders, rest.applied.new_orders), (2, 2));
    assert!(!rest.is_stopped);
    world.start_node().await;
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_kept_to_and_what_is_trimmed_is_told() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    buy(&world, &sale, 0..4).await;
    let orders: Vec<String> = {
        let rows = world.db.query("SELECT id FROM orders ORDER BY id", &[]).await.unwrap();
        let id = |row: &tokio_postgres::Row| doorbuster::order_id::OrderId::from_uuid(row.get(0));
        rows.iter().map(|row| id(row).entry().to_string()).collect()
    };
    let range = LogRange { from: Some(orders[1].parse().unwrap()), to: Some(orders[2].parse().unwrap()) };
    let some = replay(&world, range, false).await;
    assert_eq!((some.read, some.applied.known_orders), (2, 2));
    assert_eq!(some.first.map(|id| id.to_string()).as_ref(), Some(&orders[1]));
    // As a keeper would: only what is known to be persisted.
    let watermark = "SELECT (watermark_ms, watermark_seq) >= ($1, $2) FROM partitions";
    let last: doorbuster::log::EntryId = orders[3].parse().unwrap();
    world
        .until("the watermark has passed the orders", || async {
            let row = world.db.query_one(watermark, &[&last.ms_sql(), &last.seq_sql()]).await.unwrap();
            row.get(0)
        })
        .await;
    world.stop_node().await;
    world.redis_says(&["XTRIM", "{p0}:log", "MINID", &orders[2]]).await;
    let rest = replay(&world, LogRange { from: Some("-1h".parse().unwrap()), to: None }, false).await;
    assert!(rest.begins_before_the_log && !rest.has_gap, "{rest:?}");
    assert_eq!(rest.retained_from.map(|id| id.to_string()).as_ref(), Some(&orders[2]));
    assert_eq!(rest.applied.known_orders, 2);
    // A database that had not persisted what was trimmed.
    world.db.batch_execute("UPDATE partitions SET watermark_ms = 5, watermark_seq = 0").await.unwrap();
    assert!(replay(&world, LogRange::default(), true).await.has_gap);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_did() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    buy(&world, &sale, 0..3).await;
    let redis = world.redis.url();
    let command = async |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_doorbuster");
        let servers = ["--redis-url", &redis, "--postgres-url", &world.postgres_url];
        tokio::process::Command::new(program).arg("replay").args(servers).args(args).output().await.unwrap()
    };
    let json = command(&["--from", "-1h", "--dry-run", "--json"]).await;
    assert!(json.status.success(), "{json:?}");
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["dry_run"], true);
    assert_eq!(answer["partitions"][0]["known_orders"], 3);
    let table = command(&["--partition", "0"]).await;
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(table.status.success() && text.contains("retained from") && text.contains("KNOWN"), "{text}");
    for wrong in [["--from", "yesterday"], ["--partition", "9"]] {
        assert_eq!(command(&wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_left_to_its_operator_also_when_it_would_go_through_by_now() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let order = "00000000 0000000000000001 demo mallory k CUP:1";
    world.append("order", order).await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters WHERE ended_at IS NULL").await, 1);
    let mended = "INSERT INTO products (sku, name, price, currency) VALUES ('CUP', 'Cup', 1, 'EUR');
        INSERT INTO sale_items (sale_id, sku, position, price, currency) VALUES ('demo', 'CUP', 2, 1, 'EUR');
        INSERT INTO sale_stock (sale_id, sku, partition, allotted) VALUES ('demo', 'CUP', 0, 5);";
    world.db.batch_execute(mended).await.unwrap();
    // Its units are counted with the dead letter: an order as well would count them twice.
    for dry_run in [true, false] {
        let replayed = replay(&world, LogRange::default(), dry_run).await;
        assert_eq!((replayed.applied.known_dead_letters, replayed.applied.new_orders), (1, 0));
    }
    world.stop_node().await;
    world.db.batch_execute("UPDATE partitions SET watermark_ms = watermark_ms - 1").await.unwrap();
    world.start_node().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 0);
    world.assert_balanced(&sale, "TEE").await;
}
