//! Everything that the servers hold, once all is at rest.

use std::collections::{BTreeMap, BTreeSet};

use doorbuster::log::{EntryId, LogEntry, RawEntry, read_range};
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partition;
use doorbuster::redis::{Keys, Redis};

use super::{payments, wait_settled};
use crate::ChaosError;
use crate::deployment::Deployment;
use crate::history::{Lines, Purchase};
use crate::stored::{DeadLetter, Stored, StoredItem, StoredOrder};

/// Entries read at once.
const STEP: usize = 5000;

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
    let under_way = wait_settled(deployment).await?;
    (stored.unsettled, stored.overdue, stored.closed, stored.unpaid) =
        (under_way.unsettled, under_way.overdue, under_way.closed, under_way.unpaid);
    let db = deployment.sql().await?;
    stored.books = payments::read(deployment, &db).await?;
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
        let item = StoredItem { allotted: row.get(2), sold: row.get(3), in_redis, in_ledger: 0 };
        stored.items.insert((sale, sku), item);
    }
    read_ledger(&db, sales, &mut stored).await?;
    for partition in deployment.partitions() {
        read_log(&redis, partition, log_from, &mut stored.in_log).await?;
    }
    redis.close().await;
    Ok(stored)
}

async fn read_orders(
    db: &tokio_postgres::Client,
    sales: &[String],
    stored: &mut Stored,
) -> Result<(), ChaosError> {
    let mut lines: BTreeMap<uuid::Uuid, Lines> = BTreeMap::new();
    let mut refused: BTreeMap<uuid::Uuid, BTreeSet<String>> = BTreeMap::new();
    let query = "SELECT o.id, l.sku, l.quantity, l.refused IS TRUE
                 FROM orders o, unnest(o.skus, o.quantities, o.refused) AS l (sku, quantity, refused) WHERE o.sale_id = ANY($1)";
    for row in db.query(query, &[&sales]).await? {
        let (id, sku, units) = (row.get(0), row.get::<_, String>(1), row.get::<_, i32>(2).unsigned_abs());
        if row.get(3) {
            refused.entry(id).or_default().insert(sku.clone());
        }
        lines.entry(id).or_default().insert(sku, units);
    }
    // What the gateway said of an order that was cancelled already is no step.
    let query = "SELECT o.id, o.sale_id, o.buyer, o.idem_key, o.cancel_reason, count(e.at),
                        coalesce(bool_or(e.at < o.expires_at), false)
                 FROM orders o LEFT JOIN (
                     SELECT order_id, at, state = 'cancelled' AND (actor NOT LIKE 'payment %'
                            OR lag(state, 1, '') OVER (PARTITION BY order_id ORDER BY sequence) <> 'cancelled') AS is_step
                     FROM order_events
                 ) e ON e.order_id = o.id AND e.is_step
                 WHERE o.sale_id = ANY($1) GROUP BY o.id";
    for row in db.query(query, &[&sales]).await? {
        let id: uuid::Uuid = row.get(0);
        stored.orders.push(StoredOrder {
            id: OrderId::from_uuid(id).to_string(),
            purchase: Purchase { sale: row.get(1), buyer: row.get(2), key: row.get(3) },
            lines: lines.remove(&id).unwrap_or_default(),
            refused: refused.remove(&id).unwrap_or_default(),
            cancelled: row.get(4),
            cancel_steps: row.get::<_, i64>(5).unsigned_abs(),
            cancelled_before_its_time: row.get(6),
        });
    }
    Ok(())
}

/// What changed stock beside orders: of each item all together, and of each order what came back.
async fn read_ledger(
    db: &tokio_postgres::Client,
    sales: &[String],
    stored: &mut Stored,
) -> Result<(), ChaosError> {
    let query = "SELECT sale_id, sku, cause, delta FROM stock_ledger WHERE sale_id = ANY($1)";
    for row in db.query(query, &[&sales]).await? {
        let (sale, sku, cause, delta): (String, String, &str, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if let Some(order) = cause.strip_prefix("return:") {
            let back = stored.returned.entry(order.to_owned()).or_default();
            *back.entry(sku.clone()).or_default() += u32::try_from(delta).unwrap_or(u32::MAX);
        }
        if let Some(item) = stored.items.get_mut(&(sale, sku)) {
            item.in_ledger += delta;
        }
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
