//! Redis held against Postgres while orders flow: drift is found where there is some, and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbuster::catalogue::SaleId;
use doorbuster::cli::CliError;
use doorbuster::cli::reconcile::{ReconcileCommand, Report, run_reconcile};
use doorbuster::config::Millis;
use doorbuster::gate::Gate;
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partition;
use doorbuster::postgres::{PgPool, connect_pool};
use doorbuster::reconcile::{Account, Balance, Depth, ReconcileError, Reconciler};

use crate::support::{Block, PATIENCE, World};

fn command(wait: u64) -> ReconcileCommand {
    ReconcileCommand { sale: None, json: false, wait, repair: false, yes: false }
}

async fn reconcile(world: &World) -> (Report, String) {
    let mut out = Vec::new();
    let report = run_reconcile(&command(30), &world.settings, &mut out).await.unwrap();
    (report, String::from_utf8(out).unwrap())
}

fn drifts(report: &Report) -> Vec<i64> {
    report.balances().map(|(_, balance)| balance.drift()).collect()
}

fn pool(world: &World) -> PgPool {
    connect_pool(&world.postgres_url, 4, Duration::from_secs(10)).unwrap()
}

async fn reconciler(world: &World, depth: Depth) -> Reconciler {
    Reconciler { redis: world.redis_client().await, pool: pool(world), patience: Some(4 * PATIENCE), depth }
}

async fn gate(world: &World, partition: u8) -> Gate {
    Gate::watch(world.redis_client().await, Partition::new(partition))
}

/// What a cancel does in Postgres, in one transaction.
async fn cancel(db: &mut tokio_postgres::Client, id: OrderId, sku: &str, units: i64) {
    let tx = db.transaction().await.unwrap();
    let cancelled = tx
        .execute(
            "UPDATE orders SET state = 'cancelled', cancel_reason = 'operator' WHERE id = $1 AND state <> 'cancelled'",
            &[&id.to_uuid()],
        )
        .await
        .unwrap();
    if cancelled == 1 {
        let partition = id.partition().to_sql();
        tx.execute(
            "UPDATE sale_stock SET sold = sold - $1 WHERE sale_id = 'demo' AND sku = $2 AND partition = $3",
            &[&units, &sku, &partition],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
             VALUES ($1, 'return', 'demo', $2, $3, jsonb_build_object($4::text, $5::bigint), 'operator', 'test')",
            &[&format!("return:{id}"), &partition, &id.to_uuid(), &sku, &units],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_told_and_gone_when_it_is_mended() {
    let world = World::with(|settings| {
        settings.reconcile_interval_ms = Millis::new(100);
        settings.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let sale = world.open_sale("demo", &[("TEE", 10, None), ("MUG", 10, None)]).await;
    world.client().claim(&sale, "alice", "k", &[("TEE", 3)]).await;
    let (report, table) = reconcile(&world).await;
    assert_eq!(drifts(&report), [0, 0], "{table}");
    assert!(report.verdict().is_ok());
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);

    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "2"]).await;
    let (report, table) = reconcile(&world).await;
    assert_eq!(drifts(&report), [0, 2], "{table}");
    assert!(matches!(report.verdict(), Err(CliError::Drift(1))));
    let tee = report.balances().find(|(_, balance)| balance.sku.as_str() == "TEE").unwrap().1;
    assert_eq!((tee.account.allotted, tee.account.sold + tee.account.in_flight, tee.redis), (10, 3, Some(9)));
    world
        .until("the drift is an incident", || async {
            world.count("SELECT count(*) FROM incidents WHERE kind = 'stock_drift'").await == 1
        })
        .await;
    let metrics = || crate::metrics::text(&world);
    let drift = |units: i64| {
        format!("doorbuster_stock_drift_units{{partition=\"0\",sale=\"demo\",sku=\"TEE\"}} {units}\n")
    };
    assert!(metrics().await.contains(&drift(2)));
    assert!(metrics().await.contains("doorbuster_stock_drifting_items{partition=\"0\"} 1\n"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 1, "told once");

    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "-2"]).await;
    world.until("the metric is 0 again", || async { metrics().await.contains(&drift(0)) }).await;
    // No stock at all is not the same as none left.
    world.redis_says(&["HDEL", "{p0}:sale:demo", "stock:TEE"]).await;
    world.redis_says(&["HSET", "{p0}:sale:demo", "stock:GHOST", "1"]).await;
    let (report, table) = reconcile(&world).await;
    assert_eq!(drifts(&report), [0, -7, 1], "{table}");
    assert!(table.contains("demo TEE in partition p0: redis has no stock of it at all"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_mends_what_drifts_under_running_nodes() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 40, None)]).await;
        let client = world.client();
        for i in 0..8 {
            assert_eq!(client.claim(&sale, &format!("b-{i}"), "k", &[("TEE", 1)]).await.status, 202);
        }
        world.drained().await;
        world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "3"]).await;
        let epochs = world.node().epochs();

        let refused = tokio::process::Command::new(env!("CARGO_BIN_EXE_doorbuster"))
            .args(["reconcile", "--repair"])
            .env("DOORBUSTER_REDIS_URL", world.redis.url())
            .env("DOORBUSTER_POSTGRES_URL", &world.postgres_url)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && said.contains("Add --yes"), "{said}");
        assert_eq!(world.stock(&sale, "TEE").await, 35);

        let mut out = Vec::new();
        let confirmed = ReconcileCommand { yes: true, repair: true, ..command(30) };
        let report = run_reconcile(&confirmed, &world.settings, &mut out).await.unwrap();
        assert!(report.verdict().is_ok(), "{report:?}");
        assert_eq!(world.stock(&sale, "TEE").await, 32);
        world
            .until("the first partition was opened anew", || async {
                let now = world.node().epochs();
                now[0].is_some_and(|epoch| Some(epoch) > epochs[0])
            })
            .await;
        assert_eq!(world.node().epochs()[1..], epochs[1..], "a partition that balanced was left alone");
        world.drained().await;
        let again = client.claim(&sale, "b-0", "k", &[("TEE", 1)]).await;
        assert_eq!(again.status, 200, "{again:?}");
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_drift_from_no_answer() {
    let mut world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    let (code, json) = run_json(&world).await;
    assert_eq!((code, &json["items"][0]["drift"]), (Some(0), &0.into()), "{json}");
    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "-1"]).await;
    let (code, json) = run_json(&world).await;
    assert_eq!(
        (code, &json["items"][0]["drift"], &json["drift"]),
        (Some(3), &(-1).into(), &true.into()),
        "{json}"
    );
    // Open, as it seems; but nobody has loaded these scripts.
    world.stop_node().await;
    world.redis_says(&["HSET", "{p0}:meta", "stamp", "0:1:0000000000000000"]).await;
    let (code, json) = run_json(&world).await;
    assert_eq!((code, &json["items"]), (Some(1), &serde_json::json!([])), "{json}");
}

/// The real binary: its exit code, and what it says.
async fn run_json(world: &World) -> (Option<i32>, serde_json::Value) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_doorbuster"))
        .args(["reconcile", "--json", "--sale", "demo", "--wait", "1"])
        .env("DOORBUSTER_REDIS_URL", world.redis.url())
        .env("DOORBUSTER_POSTGRES_URL", &world.postgres_url)
        .output()
        .await
        .unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_persisted_is_waited_for_and_then_told() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let block = Block::persisting(&world).await;
    let client = world.client();
    for buyer in ["a", "b", "c"] {
        assert_eq!(client.claim(&sale, buyer, "k", &[("TEE", 1)]).await.status, 202);
    }
    let mut out = Vec::new();
    let report = run_reconcile(&command(0), &world.settings, &mut out).await.unwrap();
    let error = report.partitions[0].balances.as_ref().unwrap_err();
    assert!(matches!(error, ReconcileError::NotPersisted { backlog: 3, .. }), "{error}");
    assert!(matches!(report.verdict(), Err(CliError::NotReconciled(1))));

    // The snapshot is taken before the orders are persisted, and counts them as in flight.
    let reconciler = reconciler(&world, Depth::Orders).await;
    let scripts = gate(&world, 0).await.wait_open().await;
    let check = tokio::spawn(async move { reconciler.check(&scripts, None).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!check.is_finished(), "it has to wait");
    client.claim(&sale, "late", "k", &[("TEE", 5)]).await;
    block.release().await;
    let balances = check.await.unwrap().unwrap();
    let expected = Account { allotted: 10, sold: 0, in_flight: 3, returning: 0, dead: 0 };
    assert_eq!((balances[0].account, balances[0].redis), (expected, Some(7)));
    assert!(balances[0].is_good(), "{balances:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_opening_is_not_compared() {
    // Nothing but the test is to open it anew, also on a machine that stands still for a while: the lease outlives the node.
    let mut world = World::with(|settings| settings.lease_ms = Millis::new(60_000)).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.client().claim(&sale, "alice", "k", &[("TEE", 1)]).await;
    world.drained().await;
    let scripts = gate(&world, 0).await.wait_open().await;
    for depth in [Depth::Aggregates, Depth::Orders] {
        let reconciler = reconciler(&world, depth).await;
        assert!(reconciler.check(&scripts, None).await.unwrap()[0].is_good());
    }
    world.crash_node();
    // What an opening does first; from here stock may change without an entry.
    world.db.execute("UPDATE partitions SET epoch = epoch + 1", &[]).await.unwrap();
    for depth in [Depth::Aggregates, Depth::Orders] {
        let error = reconciler(&world, depth).await.check(&scripts, None).await.unwrap_err();
        assert!(matches!(error, ReconcileError::Reopened(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_neither_sold_nor_in_stock_are_accounted_for() {
    let mut world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let order = world.client().claim(&sale, "alice", "k", &[("TEE", 3)]).await;
    world.drained().await;
    // A cancel whose units cannot come back yet, and an order that ended as a dead letter.
    let ledger = Block::writing(&world, "stock_ledger").await;
    let mut db = world.reconnect().await;
    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "-2"]).await;
    world
        .db
        .batch_execute(
            "INSERT INTO dead_letters (partition, entry_ms, entry_seq, fields, sale_id, lines, error)
             VALUES (0, 1, 1, '{}', 'demo', '{\"TEE\": 2}', 'test')",
        )
        .await
        .unwrap();
    let reconciler = reconciler(&world, Depth::Orders).await;
    let scripts = gate(&world, 0).await.wait_open().await;
    cancel(&mut db, order.id().parse().unwrap(), "TEE", 3).await;
    world.until("the units are back in redis", || async { world.stock(&sale, "TEE").await == 8 }).await;
    let check = {
        let (reconciler, scripts) = (reconciler.clone(), scripts.clone());
        tokio::spawn(async move { reconciler.check(&scripts, None).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    ledger.release().await;
    let balance = &check.await.unwrap().unwrap()[0];
    assert_eq!(balance.account, Account { allotted: 10, dead: 2, ..Account::default() });
    assert!(balance.is_good(), "{balance:?}");

    // A cancel that forgot the units: nothing in redis tells, the orders do.
    world
        .db
        .batch_execute("UPDATE stock_intents SET lines = '{\"TEE\": 2}' WHERE kind = 'return'")
        .await
        .unwrap();
    world.db.batch_execute("UPDATE sale_stock SET sold = sold + 1").await.unwrap();
    let balance = &reconciler.check(&scripts, None).await.unwrap()[0];
    assert_eq!((balance.drift(), balance.aggregates.unwrap().sold_drift, balance.is_good()), (0, 1, false));
    world.stop_node().await;
}

/// Claims of `buyers`, some of which are cancelled and some of which are forgotten by Redis and made twice, until told
/// to stop.
async fn traffic(world: Arc<World>, sale: SaleId, number: usize, stop: Arc<AtomicBool>) -> u64 {
    let client = world.client();
    let mut db = world.reconnect().await;
    let mut orders = 0;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Steady, not as fast as it goes: what is to be seen is that it never stands still.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let buyer = format!("b-{number}-{round}");
        let items: &[(&str, u64)] =
            if round % 4 != 1 && round % 3 == 0 { &[("MUG", 1), ("TEE", 2)] } else { &[("TEE", 2)] };
        let reply = client.claim(&sale, &buyer, "k", items).await;
        if reply.status != 202 {
            continue;
        }
        orders += 1;
        let id: OrderId = reply.id().parse().unwrap();
        match round % 4 {
            1 => cancel(&mut db, id, "TEE", 2).await,
            2 => {
                let key = format!("{{p{}}}:sale:demo:buyers", id.partition().number());
                world.redis_says(&["HDEL", &key, &buyer]).await;
                client.claim(&sale, &buyer, "k", items).await;
            }
            _ => {}
        }
    }
    orders
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_drifts_under_load_whichever_way_postgres_is_asked() {
    for partitions in [1, 4] {
        let world = World::with(|settings| {
            settings.partitions = partitions;
            settings.persist_batch_max = 40;
        })
        .await;
        let sale = world.open_sale("demo", &[("TEE", 100_000, None), ("MUG", 100_000, None)]).await;
        let world = Arc::new(world);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..6)
            .map(|number| tokio::spawn(traffic(world.clone(), sale.clone(), number, stop.clone())))
            .collect();
        let (quick, thorough) =
            (reconciler(&world, Depth::Aggregates).await, reconciler(&world, Depth::Orders).await);
        let (mut in_flight, mut returning) = (0, 0);
        for round in 0..12 {
            for partition in 0..partitions {
                let scripts = gate(&world, partition).await.wait_open().await;
                let reconciler = if round % 2 == 0 { &quick } else { &thorough };
                let balances = reconciler.check(&scripts, None).await.unwrap();
                assert_eq!(balances.len(), 2);
                assert!(balances.iter().all(Balance::is_good), "round {round}: {balances:#?}");
                in_flight += balances.iter().map(|balance| balance.account.in_flight).sum::<i64>();
                returning += balances.iter().map(|balance| balance.account.returning).sum::<i64>();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut orders = 0;
        for client in clients {
            orders += client.await.unwrap();
        }
        assert!(orders > 50 && in_flight > 0 && returning > 0, "no load: {orders} {in_flight} {returning}");
        assert!(world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'duplicate'").await > 0);
        world.drained().await;
        world.no_intents_open().await;
        world.drained().await;
        assert!(reconcile(&world).await.0.verdict().is_ok());
    }
}

/// The keeper asks every few seconds: what it reads must not grow with the orders.
#[tokio::test(flavor = "multi_thread")]
async fn the_continuous_question_reads_no_more_where_there_are_many_orders() {
    let world = World::new().await;
    world.open_sale("demo", &[("TEE", 10, None)]).await;
    world
        .db
        .batch_execute(
            "INSERT INTO orders
                 (id, sale_id, partition, buyer, idem_key, fingerprint, state, skus, quantities, unit_prices)
             SELECT lpad(to_hex(i), 32, '0')::uuid, 'demo', 0, 'b' || i, 'k', 0, 'confirmed',
                    '{TEE}', '{1}', '{1}'
             FROM generate_series(1, 100000) i;
             ANALYZE orders",
        )
        .await
        .unwrap();
    let last = uuid::Uuid::from_u128(99_990);
    let explain = format!("EXPLAIN {}", include_str!("../../sql/reconcile/accounts.sql"));
    let plan = world
        .db
        .query(
            &explain,
            &[
                &0_i16,
                &["demo"].as_slice(),
                &[1_i64].as_slice(),
                &[0_i64].as_slice(),
                &[last].as_slice(),
                &[last].as_slice(),
                &Some(last),
                &Some(1_i64),
            ],
        )
        .await
        .unwrap();
    let plan: Vec<&str> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("orders_pkey") && !plan.contains("Seq Scan on order"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_the_gate_refused_is_no_drift() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 3, None), ("MUG", 10, None)]).await;
    world.drained().await;
    world.redis_says(&["HINCRBY", "{p0}:sale:demo", "stock:TEE", "2"]).await;
    let (report, _) = reconcile(&world).await;
    assert_eq!(drifts(&report), [0, 2]);
    let client = world.client();
    for i in 0..5 {
        assert_eq!(client.claim(&sale, &format!("b-{i}"), "k", &[("TEE", 1), ("MUG", 1)]).await.status, 202);
    }
    let (report, table) = reconcile(&world).await;
    assert_eq!(drifts(&report), [0, 0], "{table}");
    assert!(report.verdict().is_ok(), "{table}");
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE cancel_reason = 'over_allotment'").await, 2);
}
