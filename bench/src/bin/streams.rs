//! Measures event streams: what an idle one costs the node in memory, how long a change takes to reach all of them, and
//! what they take from the claims on the same sale.
//!
//! `streams [STREAMS] [SECONDS]`; 5000 streams and 3 seconds for each round of claims by default. The node is a process of its
//! own, of the binary beside this one; clients and servers share its machine.
#![allow(clippy::expect_used, reason = "a bench may end with what went wrong")]

#[path = "../one_node.rs"]
mod one_node;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use one_node::{OneNode, claim, connect};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

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

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let streams = args.next().unwrap_or(5_000);
    let seconds = Duration::from_secs(args.next().unwrap_or(3));
    let settings = [
        ("DOORBUSTER_HTTP_CONNECTIONS_MAX", (2 * streams + 1_000).to_string()),
        ("DOORBUSTER_EVENT_STREAMS_MAX", streams.to_string()),
    ];
    let node = OneNode::start(&settings).await;
    let address = node.address;
    for sale in SALES {
        node.create_sale(sale, STOCK, json!({})).await;
    }
    // The stock follows the definition within a turn of the keeper.
    tokio::time::sleep(Duration::from_secs(1)).await;

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
    let mut told = 0;
    for round in 0..ROUNDS {
        for (sale, rates) in SALES.into_iter().zip(&mut rates) {
            events.store(0, Relaxed);
            rates.push(accepted_in(address, sale, seconds, &format!("round-{round}")).await);
            // Nobody is told of the other one.
            told += events.load(Relaxed);
            // Until the last events have left.
            tokio::time::sleep(CHANGE_EVERY * 2).await;
        }
        shares.push(rates[0][round] / rates[1][round] * 100.0);
    }
    let told = told as f64 / (seconds * ROUNDS as u32).as_secs_f64();
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

fn resident_kb(node: &OneNode) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.process.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What the node has spent (man 5 proc_pid_stat): a tick is 10 ms wherever Linux runs.
fn processor_time(node: &OneNode) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.process.id())).expect("its accounts");
    // The name before it may hold anything but ") ".
    let fields = stat.rsplit_once(") ").expect("a name").1.split(' ');
    let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}
