//! The outcome of a run of a peer.

use super::{Stored, compare, orders_sql};
use crate::load::Tally;
use crate::stage::{Peer, PeerKind, StageError};

/// Orders of a sale that are persisted.
///
/// # Errors
/// [`StageError`].
pub async fn orders_of_peer(peer: &Peer, sale: &str) -> Result<u64, StageError> {
    let row =
        peer.servers.db().await?.query_one("SELECT count(*) FROM orders WHERE sale = $1", &[&sale]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Every fault that the run left; empty where all is well. To be asked once everything is persisted.
///
/// # Errors
/// [`StageError`].
pub async fn check_peer(peer: &Peer, sales: &[String], seen: &Tally) -> Result<Vec<String>, StageError> {
    let db = peer.servers.db().await?;
    // One moment: a peer may still be at work on claims that nobody waits for any more.
    db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let orders = db.query_one(&orders_sql("sale", "state = 'confirmed'"), &[&sales]).await?;
    let lines = "SELECT coalesce(sum(l.quantity), 0)::bigint FROM order_lines l JOIN orders o ON o.id = l.order_id \
                 WHERE o.sale = ANY($1)";
    let units: i64 = db.query_one(lines, &[&sales]).await?.get(0);
    let stock = match peer.kind {
        // The one that has a row for each unit counts those.
        PeerKind::PostgresSkipLocked => "SELECT count(order_id), count(*) FROM units WHERE sale = ANY($1)",
        _ => "SELECT sum(sold)::bigint, sum(allotted)::bigint FROM stock WHERE sale = ANY($1)",
    };
    let stock = db.query_one(stock, &[&sales]).await?;
    db.batch_execute("COMMIT").await?;
    let stored = Stored {
        rows: orders.get::<_, i64>(0).unsigned_abs(),
        distinct: orders.get::<_, i64>(1).unsigned_abs(),
        sum: orders.get::<_, &str>(2).parse().unwrap_or(u128::MAX),
        xor: orders.get::<_, i64>(3).cast_unsigned(),
        units: units.unsigned_abs(),
        sold: stock.get::<_, i64>(0).unsigned_abs(),
        allotted: stock.get::<_, i64>(1).unsigned_abs(),
    };
    Ok(compare(seen, &stored, !peer.kind.answers_before_it_decides()))
}
