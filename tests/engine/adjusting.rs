//! Allotments that change while their sale runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use doorbuster::catalogue::{Adjusted, Adjustment, SaleId, StoreError};
use serde_json::{Value, json};

use crate::support::{Block, PATIENCE, World, assert_same};

fn change(sale: &SaleId, delta: i64, key: &str) -> Adjustment {
    Adjustment {
        sale: sale.clone(),
        sku: "TEE".parse().unwrap(),
        delta,
        key: key.parse().unwrap(),
        actor: "cli: ada".into(),
        reason: "the test wants it".into(),
    }
}

async fn adjust(world: &World, sale: &SaleId, delta: i64, key: &str) -> Result<Adjusted, StoreError> {
    world.store.adjust(&change(sale, delta, key), PATIENCE).await
}

async fn allotted(world: &World) -> i64 {
    world.count("SELECT sum(allotted)::bigint FROM sale_stock").await
}

fn applied(units: i64) -> Adjusted {
    Adjusted { applied: units, ..Adjusted::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_are_added_and_taken_away_once_for_each_key() {
    for partitions in [1, 4] {
        let world = World::with_partitions(partitions).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        for _ in 0..2 {
            assert_eq!(adjust(&world, &sale, 7, "more").await.unwrap(), applied(7));
            assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (17, 17));
        }
        for _ in 0..2 {
            assert_eq!(adjust(&world, &sale, -12, "less").await.unwrap(), applied(-12));
            assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (5, 5));
        }
        let other = adjust(&world, &sale, -3, "less").await;
        assert!(matches!(other, Err(StoreError::KeyReused(_))), "{other:?}");
        let too_many = adjust(&world, &sale, -6, "least").await;
        assert!(matches!(too_many, Err(StoreError::TooFewUnits { free: 5, .. })), "{too_many:?}");
        let unknown = Adjustment { sku: "CUP".parse().unwrap(), ..change(&sale, 1, "cup") };
        let unknown = world.store.adjust(&unknown, PATIENCE).await;
        assert!(matches!(unknown, Err(StoreError::NoSuchItem(..))), "{unknown:?}");
        world.assert_balanced(&sale, "TEE").await;
        let ledger = "SELECT count(*) FROM stock_ledger l JOIN stock_intents i USING (cause)
                      WHERE i.kind IN ('raise', 'lower') AND i.actor = 'cli: ada' AND i.reason = 'the test wants it'";
        assert!(world.count(ledger).await >= 2, "who and why");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_does_not_know_to_be_sold_redis_does_not_give() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 5, None)]).await;
    let block = Block::persisting(&world).await;
    let client = world.client();
    for n in 0..3 {
        assert_eq!(client.claim(&sale, &format!("b-{n}"), "k", &[("TEE", 1)]).await.status, 202);
    }
    // Postgres believes in five, Redis has two.
    let refused = adjust(&world, &sale, -4, "less").await.unwrap();
    assert_eq!(refused, Adjusted { refused: -4, ..Adjusted::default() });
    block.release().await;
    world.drained().await;
    assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (5, 2));
    assert_eq!(adjust(&world, &sale, -4, "less").await.unwrap().refused, -4, "the key was decided");
    assert_eq!(adjust(&world, &sale, -2, "fewer").await.unwrap(), applied(-2));
    assert_eq!(client.claim(&sale, "late", "k", &[("TEE", 1)]).await.problem(), (409, "sold-out"));
    world.assert_balanced(&sale, "TEE").await;
}

/// Orders that were accepted before units were taken away are persisted after it, and the gate takes them.
#[tokio::test(flavor = "multi_thread")]
async fn buyers_and_operators_at_once_never_sell_a_unit_that_is_not_there() {
    let world = World::with(|settings| settings.persist_batch_max = 7).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let (ended, sold) = (AtomicBool::new(false), AtomicU64::new(0));
    let buyers = async |name: &str| {
        for n in 0.. {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            let reply = world.client().claim(&sale, &format!("{name}-{n}"), "k", &[("TEE", 1)]).await;
            sold.fetch_add(u64::from(reply.status == 202), Ordering::Relaxed);
        }
    };
    let operator = async {
        for n in 0..30 {
            let delta = if n % 3 == 0 { 25 } else { -9 };
            match adjust(&world, &sale, delta, &format!("k-{n}")).await {
                Ok(adjusted) => assert_eq!(adjusted.pending, 0),
                Err(error) => assert!(matches!(error, StoreError::TooFewUnits { .. }), "{error}"),
            }
            if n % 10 == 5 {
                world.redis_says(&["SCRIPT", "FLUSH"]).await;
            }
        }
        ended.store(true, Ordering::Relaxed);
    };
    tokio::join!(buyers("a"), buyers("b"), operator);
    world.no_intents_open().await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(world.count("SELECT count(*) FROM incidents").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state <> 'confirmed'").await, 0);
    assert!(sold.load(Ordering::Relaxed) > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_asked_for_while_nobody_listens_waits() {
    for emptied in [false, true] {
        let mut world = World::with_short_lease(1).await;
        let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
        world.drained().await;
        world.crash_node();
        for (delta, key) in [(5, "more"), (-3, "less")] {
            let asked = world.store.adjust(&change(&sale, delta, key), Duration::ZERO).await.unwrap();
            assert_eq!(asked.pending, delta);
        }
        // Raised at once, lowered only once redis has given the units.
        assert_eq!(allotted(&world).await, 15);
        if emptied {
            world.redis_says(&["FLUSHALL"]).await;
        }
        world.start_node().await;
        world.no_intents_open().await;
        world.drained().await;
        assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (12, 12));
        world.assert_balanced(&sale, "TEE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_postgres_learns_of_changes_and_who_made_them_from_the_log() {
    let mut world = World::with_own_postgres(|_| {}).await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    world.drained().await;
    let dump = world.dump().await;
    adjust(&world, &sale, 5, "more").await.unwrap();
    assert_eq!(world.client().claim(&sale, "alice", "k", &[("TEE", 4)]).await.status, 202);
    world.drained().await;
    adjust(&world, &sale, -8, "less").await.unwrap();
    world.drained().await;
    let wanted = world.rows().await;
    world.stop_node().await;
    world.restore_dump(&dump).await;
    world.start_node().await;
    assert_same(&world.rows().await, &wanted);
    assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (7, 3));
    let who = "SELECT count(*) FROM stock_intents WHERE actor = 'cli: ada' AND reason = 'the test wants it'";
    assert_eq!(world.count(who).await, 2);
    assert_eq!(adjust(&world, &sale, -8, "less").await.unwrap(), applied(-8), "once, also after that");
    assert_eq!(allotted(&world).await, 7);
    world.assert_balanced(&sale, "TEE").await;
}

/// The key that the command has drawn and told.
fn key_told(output: &std::process::Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = told.split_once("repeat this with --key ").unwrap_or_else(|| panic!("no key: {told}"));
    rest.split(',').next().unwrap().to_owned()
}

/// Postgres does not answer in time: what was asked may have been done, and the operator asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_an_answer_can_be_repeated_under_the_key_that_was_told() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let command = async |more: &[&str]| {
        let servers = ["--postgres-url", &world.postgres_url, "--redis-url", &world.redis.url()];
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_doorbuster"));
        command
            .args(["sale", "adjust", "demo", "TEE", "+5", "--reason", "more came"])
            .args(more)
            .args(servers);
        command.output().await.unwrap()
    };
    let block = Block::writing(&world, "stock_intents").await;
    let unanswered = command(&["--postgres-timeout-ms", "500"]).await;
    assert_eq!(unanswered.status.code(), Some(1), "{unanswered:?}");
    let key = key_told(&unanswered);
    block.release().await;
    for _ in 0..2 {
        let repeated = command(&["--key", &key]).await;
        assert!(repeated.status.success(), "{repeated:?}");
        world.no_intents_open().await;
        assert_eq!((allotted(&world).await, world.stock(&sale, "TEE").await), (15, 15));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_did() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, None)]).await;
    let command = async |args: &[&str]| {
        let servers = ["--postgres-url", &world.postgres_url];
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_doorbuster"));
        command.args(["sale", "adjust", "demo", "TEE"]).args(args).args(servers).output().await.unwrap()
    };
    let more = command(&["+5", "--reason", "more came", "--by", "ada", "--key", "k-1"]).await;
    let text = String::from_utf8_lossy(&more.stdout).into_owned();
    assert!(more.status.success() && text.contains("TEE +5 (key k-1)"), "{more:?}");
    let less = command(&["-2", "--reason", "broken", "--json"]).await;
    let answer: Value = serde_json::from_slice(&less.stdout).unwrap();
    assert_eq!(answer["adjusted"], json!({ "applied": -2, "refused": 0, "pending": 0 }));
    assert!(!String::from_utf8_lossy(&more.stderr).contains("--key"), "it was given: {more:?}");
    assert_eq!(key_told(&less), answer["key"].as_str().unwrap());
    for wrong in [["0", "--reason", "x"], ["x", "--reason", "x"], ["+1", "--reason", ""]] {
        assert_eq!(command(&wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    let too_many = command(&["-100", "--reason", "x"]).await;
    assert_eq!(too_many.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&too_many.stderr).contains("only 13 units"), "{too_many:?}");
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}
