//! What is looked at while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::deployment::Deployment;

/// Looks at promise 1 in Postgres all the time, until it is stopped.
pub struct OversoldWatch {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    looks: JoinHandle<()>,
}

impl OversoldWatch {
    /// Starts to look at one sale.
    pub fn start(url: String, sale: String) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let looks = tokio::spawn(watch(url, sale, stop.clone(), seen.clone()));
        Self { stop, seen, looks }
    }

    /// Stops; how often an item was seen oversold.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.looks.await;
        self.seen.load(Ordering::Relaxed)
    }
}

async fn watch(url: String, sale: String, stop: Arc<AtomicBool>, seen: Arc<AtomicU64>) {
    const PAUSE: Duration = Duration::from_millis(200);
    const ANSWER: Duration = Duration::from_secs(2);
    while !stop.load(Ordering::Relaxed) {
        // Away or frozen: nothing to see meanwhile.
        let look = tokio::time::timeout(ANSWER, oversold_items(&url, &sale, &stop, &seen));
        let _ = look.await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn oversold_items(
    url: &str,
    sale: &str,
    stop: &AtomicBool,
    seen: &AtomicU64,
) -> Result<(), tokio_postgres::Error> {
    const LOOKS: usize = 5;
    let (db, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let query = "SELECT count(*) FROM (
                     SELECT l.sku, sum(l.quantity) AS units FROM orders o, unnest(o.skus, o.quantities) AS l (sku, quantity)
                     WHERE o.sale_id = $1 AND o.state <> 'cancelled' GROUP BY l.sku
                 ) active JOIN (
                     SELECT sku, sum(allotted) AS allotted FROM sale_stock WHERE sale_id = $1 GROUP BY sku
                 ) stock USING (sku) WHERE active.units > stock.allotted";
    for _ in 0..LOOKS {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let found: i64 = db.query_one(query, &[&sale]).await?.get(0);
        seen.fetch_add(found.unsigned_abs(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Deadlocks that Postgres has broken, by its log: its statistics lag behind, and a crash forgets them.
pub fn deadlocks(deployment: &Deployment) -> u64 {
    let log = std::fs::read(deployment.dir().join("postgres").join("postgres.log")).unwrap_or_default();
    String::from_utf8_lossy(&log).matches("deadlock detected").count() as u64
}
