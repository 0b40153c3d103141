//! The one door through which a stored order moves: by compare-and-set, in one transaction.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Cancellation, Facts, LifeError, OrderLife, OrderOf, Outcome, Step, Told, outcome};
use crate::faults::crash_point;
use crate::log::StockEntry;
use crate::order_id::OrderId;
use crate::postgres::{PgError, lock_gates, within};

const LOCK: &str = include_str!("../../sql/order_life/lock.sql");
const LOCK_EXPIRED: &str = include_str!("../../sql/order_life/lock_expired.sql");
const CONFIRM: &str = include_str!("../../sql/order_life/confirm.sql");
const CANCEL: &str = include_str!("../../sql/order_life/cancel.sql");

/// An order that this transaction holds.
struct Held {
    id: OrderId,
    facts: Facts,
    is_drained: bool,
}

impl OrderLife {
    /// Takes a step for one order, in a transaction of its own. Done before, it changes nothing and is no error.
    ///
    /// # Errors
    /// [`LifeError`].
    pub async fn step(
        &self,
        id: OrderId,
        of: OrderOf<'_>,
        step: Step,
        told: Told<'_>,
    ) -> Result<Outcome, LifeError> {
        within(self.limit, async {
            let mut db = self.pool.get().await.map_err(PgError::from)?;
            let tx = db.transaction().await?;
            let outcome = step_in(&tx, id, of, step, told).await?;
            crash_point!("step_before_commit");
            tx.commit().await?;
            crash_point!("step_after_commit");
            if outcome != Outcome::Unchanged {
                tracing::info!(order = %id, ?step, actor = told.actor, reason = told.reason, "an order moved");
            }
            Ok(outcome)
        })
        .await
    }

    /// Cancels orders whose hold is over, at most `batch` of them, oldest first. Answers with their number. Any number of
    /// processes may do so at once: none waits for another.
    ///
    /// # Errors
    /// [`LifeError`]; then none of them is cancelled.
    pub async fn expire(&self, batch: i64, told: Told<'_>) -> Result<u64, LifeError> {
        within(self.limit, async {
            let mut db = self.pool.get().await.map_err(PgError::from)?;
            let tx = db.transaction().await?;
            let statement = tx.prepare_cached(LOCK_EXPIRED).await?;
            let rows = tx.query(&statement, &[&batch]).await?;
            if rows.is_empty() {
                return Ok(0);
            }
            let mut expired = Vec::with_capacity(rows.len());
            for row in &rows {
                let held = Held::read(row)?;
                let step = Step::Cancel(Cancellation::Expired);
                if let Ok(Outcome::Cancelled { refund }) = outcome(&held.facts, step) {
                    expired.push((held, refund));
                }
            }
            let cancelled = cancel(&tx, &expired, Cancellation::Expired, told).await?;
            crash_point!("expire_before_commit");
            tx.commit().await?;
            crash_point!("step_after_commit");
            Ok(cancelled)
        })
        .await
    }
}

/// Takes a step inside a transaction of the caller's, who has more to write with it: what was paid, for example. The
/// order is locked until the transaction ends.
///
/// # Errors
/// [`LifeError`].
pub async fn step_in(
    tx: &Transaction<'_>,
    id: OrderId,
    of: OrderOf<'_>,
    step: Step,
    told: Told<'_>,
) -> Result<Outcome, LifeError> {
    let buyer = match of {
        OrderOf::Buyer(buyer) => Some(buyer.as_str()),
        OrderOf::Anyone => None,
    };
    let statement = tx.prepare_cached(LOCK).await?;
    let row = tx.query_opt(&statement, &[&id.to_uuid(), &buyer]).await?;
    let held = Held::read(&row.ok_or(LifeError::NotStored(id))?)?;
    if !held.is_drained {
        return Err(LifeError::NotDrained(id.partition()));
    }
    let outcome = outcome(&held.facts, step).map_err(|refusal| LifeError::Refused(id, refusal))?;
    match (step, outcome) {
        (_, Outcome::Unchanged) => {}
        (Step::Cancel(why), Outcome::Cancelled { refund }) => {
            cancel(tx, &[(held, refund)], why, told).await?;
        }
        _ => {
            let statement = tx.prepare_cached(CONFIRM).await?;
            let cause = StockEntry::cause_of_confirmation(id);
            let params: [&(dyn ToSql + Sync); 4] = [&id.to_uuid(), &cause, &told.actor, &told.reason];
            let moved = tx.query_one(&statement, &params).await?;
            as_locked(moved.get(0), 1, id)?;
        }
    }
    Ok(outcome)
}

async fn cancel(
    tx: &Transaction<'_>,
    orders: &[(Held, bool)],
    why: Cancellation,
    told: Told<'_>,
) -> Result<u64, LifeError> {
    let Some((first, _)) = orders.first() else { return Ok(0) };
    let ids: Vec<Uuid> = orders.iter().map(|(held, _)| held.id.to_uuid()).collect();
    let causes: Vec<String> = orders.iter().map(|(held, _)| StockEntry::cause_of_return(held.id)).collect();
    let states: Vec<&str> = orders.iter().map(|(held, _)| held.facts.state.as_str()).collect();
    let refunds: Vec<bool> = orders.iter().map(|(_, refund)| *refund).collect();
    lock_gates(tx, orders.iter().map(|(held, _)| held.id.partition())).await?;
    let statement = tx.prepare_cached(CANCEL).await?;
    let (reason, actor, words) = (why.reason().as_str(), told.actor, told.reason);
    let row = tx.query_one(&statement, &[&ids, &causes, &states, &refunds, &reason, &actor, &words]).await?;
    as_locked(row.get(0), orders.len(), first.id)
}

/// What was locked cannot have moved since; a statement that moved less is wrong, and nothing of it may stay.
fn as_locked(moved: i64, orders: usize, first: OrderId) -> Result<u64, LifeError> {
    let moved = moved.unsigned_abs();
    if moved == orders as u64 {
        return Ok(moved);
    }
    Err(LifeError::Unreadable(first, format!("{moved} of {orders} orders moved that were locked")))
}

impl Held {
    fn read(row: &Row) -> Result<Self, LifeError> {
        let id = OrderId::from_uuid(row.get(0));
        let unreadable = |error: &dyn std::fmt::Display| LifeError::Unreadable(id, error.to_string());
        let facts = Facts {
            state: row.get::<_, &str>(1).parse().map_err(|error| unreadable(&error))?,
            cancel_reason: match row.get::<_, Option<&str>>(2) {
                Some(word) => Some(word.parse().map_err(|error| unreadable(&error))?),
                None => None,
            },
            payment: row.get::<_, &str>(3).parse().map_err(|error| unreadable(&error))?,
            buyer_cancel: row.get::<_, &str>(4).parse().map_err(|error| unreadable(&error))?,
            sale_is_closed: row.get(5),
            hold_is_over: row.get(6),
        };
        Ok(Self { id, facts, is_drained: row.get(7) })
    }
}
