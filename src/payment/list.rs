//! What operators see of payments.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::PaymentState;
use crate::order_id::OrderId;
use crate::postgres::{PgError, PgPool};

const LIST: &str = include_str!("../../sql/payment/list.sql");
const WAITING: &str = include_str!("../../sql/payment/waiting.sql");
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

/// Payments in one state that somebody has to look at again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaitingPayments {
    /// The state.
    pub state: PaymentState,
    /// How many.
    pub payments: i64,
    /// For how long the oldest stands as it does, in seconds.
    pub oldest_s: f64,
}

/// Payments that somebody has to look at again, in those of [`PaymentState::WAITING`] in which there are any.
///
/// # Errors
/// [`PgError`].
pub async fn waiting_payments(pool: &PgPool) -> Result<Vec<WaitingPayments>, PgError> {
    let db = pool.get().await?;
    let statement = db.prepare_cached(WAITING).await?;
    let states = PaymentState::WAITING.map(PaymentState::as_str);
    let rows = db.query(&statement, &[&states.as_slice()]).await?;
    let waiting = rows.iter().filter_map(|row| {
        let state = row.get::<_, &str>(0).parse().ok()?;
        Some(WaitingPayments { state, payments: row.get(1), oldest_s: row.get(2) })
    });
    Ok(waiting.collect())
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
    let waiting = PaymentState::WAITING.map(PaymentState::as_str);
    let states = state.map_or(waiting.to_vec(), |state| vec![state.as_str()]);
    let rows = db.query(LIST, &[&states, &state.is_some(), &i64::from(limit)]).await?;
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
