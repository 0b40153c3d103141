//! Measures how soon units are for sale again when their hold is over: many holds end within a second or two, while other
//! buyers go on buying.
//!
//! `expiry [ORDERS]`; 5000 by default. The node is a process of its own, of the binary beside this one; clients and servers
//! share its machine.
#![allow(clippy::expect_used, reason = "a bench may end with what went wrong")]

#[path = "../one_node.rs"]
mod one_node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use one_node::{OneNode, PATIENCE, claim, connect};
use serde_json::json;
use tokio::task::JoinSet;

const HOLD_S: u32 = 4;
const BUYERS: u64 = 64;

/// From the end of a hold to the log entry by which its units were for sale again (ms): the median, the 99th percentile and
/// the highest, of those that are back; and how many are.
const DELAYS: &str = "
    SELECT count(*), percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY late),
           percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY cancelled)
    FROM (SELECT l.entry_ms - extract(epoch FROM o.expires_at) * 1000 AS late,
                 extract(epoch FROM i.created_at - o.expires_at) * 1000 AS cancelled
          FROM orders o JOIN stock_intents i ON i.order_id = o.id AND i.kind = 'return'
          JOIN stock_ledger l ON l.cause = i.cause
          WHERE o.cancel_reason = 'expired') returned";

#[tokio::main]
async fn main() {
    let orders = std::env::args().nth(1).map_or(5_000, |arg| arg.parse::<u64>().expect("a number"));
    let node = OneNode::start(&[]).await;
    node.create_sale("held", orders, json!({ "payment": "checkout", "hold_s": HOLD_S })).await;
    node.create_sale("beside", 100_000_000, json!({})).await;

    let began = Instant::now();
    let mut buyers = JoinSet::new();
    for buyer in 0..BUYERS {
        let (address, count) = (node.address, orders / BUYERS + u64::from(buyer < orders % BUYERS));
        buyers.spawn(async move {
            let mut stream = connect(address).await;
            for number in 0..count {
                assert!(claim(&mut stream, "held", &format!("{buyer}-{number}")).await, "not accepted");
            }
        });
    }
    while let Some(bought) = buyers.join_next().await {
        bought.expect("no panic");
    }
    println!("{orders} orders in {:.1} s, each held for {HOLD_S} s", began.elapsed().as_secs_f64());

    let over = Arc::new(AtomicBool::new(false));
    for buyer in 0..BUYERS {
        let (address, over) = (node.address, over.clone());
        buyers.spawn(async move {
            let mut stream = connect(address).await;
            let mut number = 0;
            while !over.load(Relaxed) {
                claim(&mut stream, "beside", &format!("{buyer}-{number}")).await;
                number += 1;
            }
        });
    }
    let (db, connection) =
        tokio_postgres::connect(&node.postgres_url, tokio_postgres::NoTls).await.expect("postgres");
    tokio::spawn(connection);
    let end = Instant::now() + PATIENCE;
    let (delays, cancelled): (Vec<f64>, Vec<f64>) = loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let row = db.query_one(DELAYS, &[]).await.expect("the delays");
        if row.get::<_, i64>(0).unsigned_abs() == orders {
            break (row.get(1), row.get(2));
        }
        assert!(Instant::now() < end, "units do not come back");
    };
    over.store(true, Relaxed);
    while buyers.join_next().await.is_some() {}
    println!(
        "for sale again after the end of the hold: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        delays[0], delays[1], delays[2]
    );
    println!(
        "of that until it was cancelled: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        cancelled[0], cancelled[1], cancelled[2]
    );
}
