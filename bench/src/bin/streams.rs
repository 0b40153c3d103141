//! Measures event streams: what an idle one costs the node in memory, how long a change takes to reach all of them, and
//! what they take from the claims on the same sale.
//!
//! `streams [STREAMS] [SECONDS]`; 5000 streams and 3 seconds for each round of claims by default. The node is a process of its
//! own, of the binary beside this one; clients and servers share its machine.
#![allow(clippy::expect_used, reason = "a bench may end with what went wrong")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doorbuster::catalogue::{CatalogueStore, NewSale};
use doorbuster::postgres::connect_pool;
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(120);
const STOCK: u64 = 100_000_000;
const BUYERS: usize = 64;
/// Between two changes whose way is timed: each has an event of its own.
const CHANGE_EVERY: Duration = Duration::from_millis(500);
const CHANGES: u64 = 20;
/// Of claims on each sale.
const ROUNDS: usize = 7;
const WATCHED: &str = "live";
const SALES: [&str; 2] = [WATCHED, "unwatched"];

/// When each number of units left was answered to the buyer who took the last of them.
type Changes = Arc<Mutex<HashMap<u64, Instant>>>;
type Delays = Arc<Mutex<Histogram<u64>>>;

/// Ends the node with this program.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let streams = args.next().unwrap_or(5_000);
    let seconds = Duration::from_secs(args.next().unwrap_or(3));
    let dir = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary directory");
    let options = RedisOptions { data_dir: dir.path().join("redis"), ..Default::default() };
    let redis = PrivateRedis::start(options).await.expect("redis");
    let options = PostgresOptions { data_dir: dir.path().join("postgres"), ..Default::default() };
    let postgres = PrivatePostgres::start(options).await.expect("postgres");
    postgres.create_database("bench").await.expect("a database");
    let url = postgres.url("bench");
    let (address, node) = start_node(&redis.url(), &url, streams).await;
    for sale in SALES {
        create_sale(&url, sale).await;
    }

    let before = resident_kb(&node);
    let (changes, delays): (Changes, Delays) = (Arc::default(), Arc::new(Mutex::new(histogram())));
    let events = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..streams {
        open_stream(address, changes.clone(), delays.clone(), events.clone(), &mut readers).await;
    }
    let after = resident_kb(&node);
    println!(
        "{streams} streams: {before} kB resident before, {after} kB with them: {:.1} kB each",
        after.saturating_sub(before) as f64 / streams as f64
    );

    let spent = processor_time(&node);
    time_changes(address, &changes).await;
    let spent = processor_time(&node) - spent;
    {
        let delays = delays.lock().expect("no panic");
        let ms = |quantile: f64| delays.value_at_quantile(quantile) as f64 / 1e3;
        println!(
            "change to event, {} events: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
            delays.len(),
            ms(0.5),
            ms(0.99),
            delays.max() as f64 / 1e3
        );
        println!(
            "processor time of the node: {:.1} µs each",
            spent.as_secs_f64() * 1e6 / delays.len() as f64
        );
    }

    // In turns: a shared machine is not as fast a few seconds later.
    let (mut rates, mut shares) = ([Vec::new(), Vec::new()], Vec::new());
    events.store(0, Relaxed);
    for round in 0..ROUNDS {
        for (sale, rates) in SALES.into_iter().zip(&mut rates) {
            rates.push(accepted_in(address, sale, seconds, &format!("round-{round}")).await);
            // Until the last events have left.
            tokio::time::sleep(CHANGE_EVERY * 2).await;
        }
        shares.push(rates[0][round] / rates[1][round] * 100.0);
    }
    let told = events.load(Relaxed) as f64 / (seconds * ROUNDS as u32).as_secs_f64();
    let [watched, unwatched] = rates.map(median);
    println!(
        "accepted in the sale that {streams} streams watch: {watched:.0}/s, beside {told:.0} events/s; in one that \
         nobody watches, in turns with it: {unwatched:.0}/s; the one is {:.0} % of the other, median of {ROUNDS} rounds",
        median(shares)
    );
    println!("resident at the end: {} kB", resident_kb(&node));
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

async fn start_node(redis: &str, postgres: &str, streams: u64) -> (SocketAddr, Node) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let program = std::env::current_exe().expect("this program").with_file_name("doorbuster");
    let node = Command::new(program)
        .arg("run")
        .env("DOORBUSTER_LISTEN", address.to_string())
        .env("DOORBUSTER_REDIS_URL", redis)
        .env("DOORBUSTER_POSTGRES_URL", postgres)
        .env("DOORBUSTER_TRUSTED_BUYER_HEADER", "x-buyer-id")
        .env("DOORBUSTER_LOG_FILTER", "warn")
        .env("DOORBUSTER_ATTEMPTS_PER_SECOND", "0")
        .env("DOORBUSTER_HTTP_CONNECTIONS_MAX", (2 * streams + 1_000).to_string())
        .env("DOORBUSTER_EVENT_STREAMS_MAX", streams.to_string())
        .spawn()
        .expect("build doorbuster first, in the same profile");
    let node = Node(node);
    let end = Instant::now() + PATIENCE;
    while !is_ready(address).await {
        assert!(Instant::now() < end, "the node does not get ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (address, node)
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

async fn create_sale(url: &str, sale: &str) {
    let store = CatalogueStore::new(connect_pool(url, 2, PATIENCE).expect("a pool"), PATIENCE);
    let sale = NewSale::read(&json!({
        "id": sale, "name": sale, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
        "items": [{ "sku": "TEE", "stock": STOCK }],
        "products": [{ "sku": "TEE", "name": "Tee", "price": 1999, "currency": "EUR" }],
    }))
    .expect("a definition");
    let created = store.create_sale(&sale, "bench").await.expect("a sale");
    assert!(store.wait_published(&sale.id, created.version(), PATIENCE).await.applied, "not published");
    // The stock follows the definition within a turn of the keeper.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Claims that [`BUYERS`] connections have accepted each second, one after another each.
async fn accepted_in(address: SocketAddr, sale: &'static str, time: Duration, who: &str) -> f64 {
    let end = Instant::now() + time;
    let buyers = (0..BUYERS).map(|buyer| {
        let who = format!("{who}-{buyer}");
        tokio::spawn(async move {
            let mut stream = connect(address).await;
            let mut accepted = 0;
            while Instant::now() < end {
                accepted += u64::from(claim(&mut stream, sale, &format!("{who}-{accepted}")).await);
            }
            accepted
        })
    });
    let mut accepted = 0_u64;
    for buyer in buyers.collect::<Vec<_>>() {
        accepted += buyer.await.expect("no panic");
    }
    accepted as f64 / time.as_secs_f64()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

async fn claim(stream: &mut TcpStream, sale: &str, buyer: &str) -> bool {
    let body = r#"{"items":[{"sku":"TEE","quantity":1}]}"#;
    let request = format!(
        "POST /v1/sales/{sale}/orders HTTP/1.1\r\nHost: x\r\nX-Buyer-Id: {buyer}\r\nIdempotency-Key: k\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = [0; 2048];
    // An answer is small, and one write of the node.
    let read = stream.read(&mut answer).await.expect("an answer");
    answer[..read].starts_with(b"HTTP/1.1 202")
}

/// Opens a stream and waits for its first event; a task reads on.
async fn open_stream(
    address: SocketAddr,
    changes: Changes,
    delays: Delays,
    events: Arc<AtomicU64>,
    readers: &mut JoinSet<()>,
) {
    let mut stream = connect(address).await;
    let request = b"GET /v1/sales/live/events HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut buffer = vec![0; 4096];
    let mut seen = String::new();
    while !seen.contains("data: ") {
        let read = stream.read(&mut buffer).await.expect("an event");
        assert!(read > 0, "closed: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    readers.spawn(async move {
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let now = Instant::now();
            let text = String::from_utf8_lossy(&buffer[..read]);
            for event in text.split("data: ").skip(1) {
                events.fetch_add(1, Relaxed);
                let left = event
                    .split("\"left\":")
                    .nth(1)
                    .and_then(|rest| rest.split([',', '}']).next()?.parse().ok());
                let changed =
                    left.and_then(|left: u64| changes.lock().expect("no panic").get(&left).copied());
                if let Some(changed) = changed {
                    let micros = now.saturating_duration_since(changed).as_micros() as u64;
                    delays.lock().expect("no panic").record(micros.max(1)).expect("in range");
                }
            }
        }
    });
}

/// Sells a unit now and then, and notes when the buyer had the answer.
async fn time_changes(address: SocketAddr, changes: &Changes) {
    let mut stream = connect(address).await;
    let mut left = units_left(address).await;
    for number in 0..CHANGES {
        tokio::time::sleep(CHANGE_EVERY).await;
        // Noted before it is sent: an event may overtake the answer.
        changes.lock().expect("no panic").insert(left - 1, Instant::now());
        assert!(claim(&mut stream, WATCHED, &format!("timed-{number}")).await, "not accepted");
        left -= 1;
    }
    tokio::time::sleep(CHANGE_EVERY * 2).await;
}

async fn units_left(address: SocketAddr) -> u64 {
    // Until the sample is no older than the last claim.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut stream = connect(address).await;
    let request = b"GET /v1/sales/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let left = answer.split("\"left\":").nth(1).expect("what is left");
    left.split([',', '}']).next().expect("a number").parse().expect("a number")
}

fn resident_kb(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.0.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What the node has spent (man 5 proc_pid_stat): a tick is 10 ms wherever Linux runs.
fn processor_time(node: &Node) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.0.id())).expect("its accounts");
    // The name before it may hold anything but ") ".
    let fields = stat.rsplit_once(") ").expect("a name").1.split(' ');
    let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}
