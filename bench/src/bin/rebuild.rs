//! Times openings of a partition whose sale has many orders: one that rebuilds an empty Redis from Postgres, and one
//! that finds everything as it should be.
//!
//! `rebuild [ORDERS] [BUYERS]`; a million orders by default, each of another buyer. Both servers are private ones of this
//! process, with durable settings.
#![allow(clippy::expect_used, reason = "a bench may end with what went wrong")]

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use doorbuster::catalogue::{CatalogueStore, NewSale};
use doorbuster::config::{PostgresUrl, RedisUrl, Settings};
use doorbuster::node::Node;
use doorbuster::postgres::connect_pool;
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use serde_json::json;

/// As the engine's binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATIENCE: Duration = Duration::from_secs(600);

/// Orders as a persist worker writes them: one line each, ids that count up, a millisecond for every 50.
const FILL: &str = "
    WITH base AS (SELECT max(entry_ms) + 1 AS ms FROM stock_ledger), made AS (
        SELECT (lpad(to_hex(base.ms + n / 50), 12, '0') || '00' || lpad(to_hex(n), 8, '0')
                || lpad(to_hex(n), 10, '0'))::uuid AS id, n FROM base, generate_series(1, $ORDERS) n
    )
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, skus, quantities, unit_prices)
    SELECT id, 'big', 0, 'buyer-' || n % $BUYERS, 'key-' || n, n, 'confirmed', '{TEE}', '{1}', '{1999}' FROM made;
    UPDATE sale_stock SET sold = $ORDERS;
    VACUUM ANALYZE;";

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let orders = args.next().unwrap_or(1_000_000);
    let buyers = args.next().unwrap_or(orders);
    let dir = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary directory");
    let mut redis =
        PrivateRedis::start(RedisOptions { data_dir: dir.path().join("redis"), ..Default::default() })
            .await
            .expect("redis");
    let options = PostgresOptions { data_dir: dir.path().join("postgres"), ..Default::default() };
    let postgres = PrivatePostgres::start(options).await.expect("postgres");
    postgres.create_database("bench").await.expect("a database");
    let url = postgres.url("bench");
    let settings = settings(&redis, &url);

    let node = Node::start(&settings).await.expect("a node");
    create_sale(&url, orders + 1000).await;
    node.stop().await;
    fill(&url, orders, buyers).await;
    println!("{orders} orders of {buyers} buyers");

    redis.stop().await.expect("redis stops");
    std::fs::remove_dir_all(dir.path().join("redis/appendonlydir")).expect("its data");
    redis.restart().await.expect("redis starts");
    let rebuilt = open(&settings).await;
    println!(
        "rebuild: {:.2} s, {:.0} orders/s",
        rebuilt.as_secs_f64(),
        orders as f64 / rebuilt.as_secs_f64()
    );
    let intact = open(&settings).await;
    println!("opening of an intact partition: {:.0} ms", intact.as_secs_f64() * 1e3);
}

fn settings(redis: &PrivateRedis, postgres_url: &str) -> Settings {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    settings.redis_url = RedisUrl::new(&redis.url()).expect("a url");
    settings.postgres_url = PostgresUrl::new(postgres_url).expect("a url");
    settings
}

async fn create_sale(url: &str, units: u64) {
    let store = CatalogueStore::new(connect_pool(url, 2, PATIENCE).expect("a pool"), PATIENCE);
    let sale = NewSale::read(&json!({
        "id": "big", "name": "big", "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
        "items": [{ "sku": "TEE", "stock": units }],
        "products": [{ "sku": "TEE", "name": "Tee", "price": 1999, "currency": "EUR" }],
    }))
    .expect("a definition");
    let created = store.create_sale(&sale, "bench").await.expect("a sale");
    assert!(store.wait_published(&sale.id, created.version(), PATIENCE).await.applied, "not published");
    let db = connect(url).await;
    loop {
        let rows = db.query("SELECT FROM stock_ledger", &[]).await.expect("the ledger");
        if !rows.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn fill(url: &str, orders: u64, buyers: u64) {
    let db = connect(url).await;
    let script = FILL.replace("$ORDERS", &orders.to_string()).replace("$BUYERS", &buyers.to_string());
    for statement in script.split(';').filter(|statement| !statement.trim().is_empty()) {
        db.batch_execute(statement).await.expect("orders");
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (db, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db
}

/// From the start of a node until it may sell.
async fn open(settings: &Settings) -> Duration {
    let started = Instant::now();
    let node = Node::start(settings).await.expect("a node");
    assert!(node.wait_ready(PATIENCE).await, "the partition does not open");
    let took = started.elapsed();
    node.stop().await;
    took
}
