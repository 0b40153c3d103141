//! What operators see of payments.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::PaymentState;
use crate::order_id::OrderId;
use crate::postgres::{PgError, PgPool};

const LIST: &str = include_str!("../../sql/payment/list.sql");
const RETRY: &str = include_str!("../../sql/payment/retry.sql");

/// A payment in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedPayment {
    /// Whose.
    pub order: OrderId,
    /// As [`PaymentState`] has it.
    pub state: String,
    /// Times it was looked at in this state.
    pub attempts: i32,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it is looked at again; `None` where only something heard moves it.
    pub next_at: Option<Timestamp>,
    /// What went wrong when it was last looked at.
    pub last_error: Option<String>,
}

/// Payments in `state`, or those that somebody has to look at again; the oldest first, at most `limit`.
///
/// # Errors
/// [`PgError`].
pub async fn list_payments(
    pool: &PgPool,
    state: Option<PaymentState>,
    limit: u32,
) -> Result<Vec<ListedPayment>, PgError> {
    let db = pool.get().await?;
    let rows = db.query(LIST, &[&state.map(PaymentState::as_str), &i64::from(limit)]).await?;
    let listed = rows.iter().map(|row| ListedPayment {
        order: OrderId::from_uuid(row.get(0)),
        state: row.get(1),
        attempts: row.get(2),
        since: row.get(3),
        next_at: row.get(4),
        last_error: row.get(5),
    });
    Ok(listed.collect())
}

/// Has payments looked at again at once: these, or all that are to be. Answers with those that will be.
///
/// # Errors
/// [`PgError`].
pub async fn retry_payments(pool: &PgPool, orders: Option<&[OrderId]>) -> Result<Vec<OrderId>, PgError> {
    let db = pool.get().await?;
    let ids: Option<Vec<Uuid>> = orders.map(|orders| orders.iter().map(|order| order.to_uuid()).collect());
    let rows = db.query(RETRY, &[&ids]).await?;
    Ok(rows.iter().map(|row| OrderId::from_uuid(row.get(0))).collect())
}
