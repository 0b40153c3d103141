//! Reads what the servers hold, for the checker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use doorbuster::log::{EntryId, LogEntry, RawEntry, read_range};
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partition;
use doorbuster::redis::{Keys, Redis};
use tokio::task::JoinHandle;

use crate::ChaosError;
use crate::deployment::{Deployment, PATIENCE};
use crate::history::{Lines, Purchase};
use crate::stored::{DeadLetter, Stored, StoredItem, StoredOrder};

const POLL: Duration = Duration::from_millis(20);
/// Entries read at once.
const STEP: i64 = 5000;

/// How far a partition is with what it has accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether it says that it is open.
    pub is_open: bool,
    /// Of the opening that counts.
    pub stamp: String,
    /// Entries accepted since that opening.
    pub appended: u64,
    /// Entries persisted since.
    pub settled: u64,
}

/// Asks one partition.
///
/// # Errors
/// [`ChaosError::Redis`].
pub async fn progress(redis: &Redis, partition: Partition) -> Result<Progress, ChaosError> {
    let args = ["state", "stamp", "appended", "settled"].map(Into::into).to_vec();
    let reply = redis.on_key("HMGET", &Keys::new(partition).meta, args).await?;
    let words: [Option<String>; 4] = reply
        .convert::<Vec<Option<String>>>()
        .ok()
        .and_then(|words| words.try_into().ok())
        .unwrap_or_default();
    let [state, stamp, appended, settled] = words;
    let number = |word: Option<String>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Progress {
        is_open: state.as_deref() == Some("open"),
        stamp: stamp.unwrap_or_default(),
        appended: number(appended),
        settled: number(settled),
    })
}

/// Waits until all that was accepted by now is persisted; how long that took, `None` past the patience.
pub async fn drained_by(deployment: &Deployment) -> Option<Duration> {
    let began = Instant::now();
    for partition in deployment.partitions() {
        let mut target: Option<Progress> = None;
        loop {
            // Where Redis is away or closed the wait begins with its next opening, which drains the log itself.
            if let Some(now) = look(deployment, partition).await.filter(|now| now.is_open) {
                match &target {
                    Some(target) if target.stamp == now.stamp && now.settled >= target.appended => break,
                    Some(target) if target.stamp == now.stamp => {}
                    _ => target = Some(now),
                }
            }
            if began.elapsed() > PATIENCE {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Some(began.elapsed())
}

async fn look(deployment: &Deployment, partition: Partition) -> Option<Progress> {
    let redis = deployment.connect_redis().await.ok()?;
    let now = progress(&redis, partition).await.ok();
    redis.close().await;
    now
}

/// Waits until nothing is under way any more, and reads everything.
///
/// # Errors
/// [`ChaosError`] where a server does not answer.
pub async fn read_at_rest(
    deployment: &Deployment,
    sales: &[String],
    log_from: EntryId,
) -> Result<Stored, ChaosError> {
    let mut stored = Stored { partitions: deployment.options.partitions, ..Stored::default() };
    (stored.unsettled, stored.closed) = wait_settled(deployment).await?;
    let db = deployment.sql().await?;
    read_orders(&db, sales, &mut stored).await?;
    read_dead_letters(&db, sales, &mut stored).await?;
    let items = db
        .query(
            "SELECT sale_id, sku, sum(allotted)::bigint, sum(sold)::bigint FROM sale_stock
             WHERE sale_id = ANY($1) GROUP BY sale_id, sku",
            &[&sales],
        )
        .await?;
    let redis = deployment.connect_redis().await?;
    for row in items {
        let (sale, sku): (String, String) = (row.get(0), row.get(1));
        let in_redis = stock(deployment, &redis, &sale, &sku).await?;
        let item = StoredItem { allotted: row.get(2), sold: row.get(3), in_redis };
        stored.items.insert((sale, sku), item);
    }
    for partition in deployment.partitions() {
        read_log(&redis, partition, log_from, &mut stored.in_log).await?;
    }
    redis.close().await;
    Ok(stored)
}

/// What is still unsettled, and how many partitions are closed, when all is at rest or the patience is over.
async fn wait_settled(deployment: &Deployment) -> Result<(u64, u64), ChaosError> {
    let end = Instant::now() + PATIENCE;
    let db = deployment.sql().await?;
    let redis = deployment.connect_redis().await?;
    loop {
        let intents = "SELECT count(*) FROM stock_intents WHERE applied_at IS NULL";
        let intents: i64 = db.query_one(intents, &[]).await?.get(0);
        let (mut unsettled, mut closed) = (intents.unsigned_abs(), 0);
        for partition in deployment.partitions() {
            let now = progress(&redis, partition).await?;
            unsettled += now.appended.saturating_sub(now.settled);
            closed += u64::from(!now.is_open);
        }
        if unsettled + closed == 0 || Instant::now() > end {
            redis.close().await;
            return Ok((unsettled, closed));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn read_orders(
    db: &tokio_postgres::Client,
    sales: &[String],
    stored: &mut Stored,
) -> Result<(), ChaosError> {
    let mut lines: BTreeMap<uuid::Uuid, Lines> = BTreeMap::new();
    let query = "SELECT l.order_id, l.sku, l.quantity FROM order_lines l JOIN orders o ON o.id = l.order_id
                 WHERE o.sale_id = ANY($1)";
    for row in db.query(query, &[&sales]).await? {
        let units = row.get::<_, i32>(2).unsigned_abs();
        lines.entry(row.get(0)).or_default().insert(row.get(1), units);
    }
    let query = "SELECT id, sale_id, buyer, idem_key, cancel_reason FROM orders WHERE sale_id = ANY($1)";
    for row in db.query(query, &[&sales]).await? {
        let id: uuid::Uuid = row.get(0);
        stored.orders.push(StoredOrder {
            id: OrderId::from_uuid(id).to_string(),
            purchase: Purchase { sale: row.get(1), buyer: row.get(2), key: row.get(3) },
            lines: lines.remove(&id).unwrap_or_default(),
            cancelled: row.get(4),
        });
    }
    Ok(())
}

async fn read_dead_letters(
    db: &tokio_postgres::Client,
    sales: &[String],
    stored: &mut Stored,
) -> Result<(), ChaosError> {
    let query = "SELECT partition, entry_ms, entry_seq, fields FROM dead_letters
                 WHERE ended_at IS NULL AND sale_id = ANY($1)";
    for row in db.query(query, &[&sales]).await? {
        let partition = u8::try_from(row.get::<_, i16>(0)).map(Partition::new).ok();
        let (Some(partition), Some(entry)) = (partition, EntryId::from_sql(row.get(1), row.get(2))) else {
            continue;
        };
        if let Ok(LogEntry::Order(order)) = RawEntry::from_fields(entry, row.get(3)).decode() {
            stored.dead_letters.push(DeadLetter {
                order: OrderId::new(entry, partition, order.mark).to_string(),
                lines: order.lines.iter().map(|(sku, n)| (sku.as_str().to_owned(), *n)).collect(),
                sale: Some(order.sale.as_str().to_owned()),
            });
        }
    }
    Ok(())
}

/// Units of an item in Redis, all partitions together; `None` where one does not know.
async fn stock(
    deployment: &Deployment,
    redis: &Redis,
    sale: &str,
    sku: &str,
) -> Result<Option<i64>, ChaosError> {
    let mut total = 0;
    for partition in deployment.partitions() {
        let Ok(sale) = sale.parse() else { return Ok(None) };
        let key = Keys::new(partition).sale(&sale).sale;
        let reply = redis.on_key("HGET", &key, vec![format!("stock:{sku}").into()]).await?;
        match reply.as_i64() {
            Some(units) => total += units,
            None => return Ok(None),
        }
    }
    Ok(Some(total))
}

async fn read_log(
    redis: &Redis,
    partition: Partition,
    from: EntryId,
    ids: &mut BTreeSet<String>,
) -> Result<(), ChaosError> {
    let keys = Keys::new(partition);
    let mut next = from;
    loop {
        let batch = read_range(redis, &keys, next, STEP).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        next = last.id.next();
        for entry in &batch {
            if let Ok(LogEntry::Order(order)) = entry.decode() {
                ids.insert(OrderId::new(entry.id, partition, order.mark).to_string());
            }
        }
    }
}

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
                     SELECT l.sku, sum(l.quantity) AS units FROM orders o JOIN order_lines l ON l.order_id = o.id
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
