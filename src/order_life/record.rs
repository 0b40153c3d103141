//! An order as an operator is shown it: with its steps.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{LifeError, OrderLife};
use crate::log::StockEntry;
use crate::order_id::OrderId;
use crate::postgres::{PgError, within};

const ORDER: &str = include_str!("../../sql/order_life/order.sql");

/// An order that is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderRecord {
    /// Its id.
    pub id: OrderId,
    /// What it was sold in.
    pub sale: String,
    /// Its slice of the buyers.
    pub partition: i16,
    /// Who bought.
    pub buyer: String,
    /// Under which key.
    pub key: String,
    /// `pending`, `confirmed` or `cancelled`.
    pub state: String,
    /// Why it was cancelled, if it was.
    pub cancel_reason: Option<String>,
    /// The time of its log entry.
    pub accepted_at: Timestamp,
    /// Until when it held its units, or holds them; there exactly if it was stored as pending.
    pub expires_at: Option<Timestamp>,
    /// Since when its buyer's money is to go back.
    pub refund_due_at: Option<Timestamp>,
    /// Lines: SKU, quantity, unit_price, refused.
    pub items: Value,
    /// Where the units of a cancelled order are.
    pub units: Option<UnitsBack>,
    /// Every step since it was stored, the first one first.
    pub events: Vec<OrderEvent>,
}

/// Where the units of a cancelled order are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitsBack {
    /// Redis, or its log, is yet to tell.
    OnTheirWay,
    /// For sale again.
    Back,
    /// The sale is retired: nowhere.
    Void,
}

/// One step of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct OrderEvent {
    /// From 1, without a gap.
    pub sequence: i32,
    /// When.
    pub at: Timestamp,
    /// Its state from then on.
    pub state: String,
    /// Whose step.
    pub actor: String,
    /// Why, in words.
    pub reason: String,
}

impl OrderLife {
    /// One order with its steps.
    ///
    /// # Errors
    /// [`LifeError::NotStored`], [`LifeError::Unreadable`], [`LifeError::Postgres`].
    pub async fn read(&self, id: OrderId) -> Result<OrderRecord, LifeError> {
        within(self.limit, async {
            let db = self.pool.get().await.map_err(PgError::from)?;
            let statement = db.prepare_cached(ORDER).await?;
            let row = db.query_opt(&statement, &[&id.to_uuid(), &StockEntry::cause_of_return(id)]).await?;
            let row = row.ok_or(LifeError::NotStored(id))?;
            let unreadable = |error: serde_json::Error| LifeError::Unreadable(id, error.to_string());
            let units = row.get::<_, Option<String>>(12).map(Value::String);
            Ok(OrderRecord {
                id,
                sale: row.get(1),
                partition: row.get(2),
                buyer: row.get(3),
                key: row.get(4),
                state: row.get(5),
                cancel_reason: row.get(6),
                accepted_at: row.get(7),
                expires_at: row.get(8),
                refund_due_at: row.get(9),
                items: row.get(10),
                events: serde_json::from_value(row.get(11)).map_err(unreadable)?,
                units: units.map(serde_json::from_value).transpose().map_err(unreadable)?,
            })
        })
        .await
    }
}
