//! An order as an operator is shown it: with its steps.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

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
    /// How it is paid for, where its sale asks for that.
    pub payment: Option<OrderPayment>,
    /// Every step since it was stored, and what else happened to its payment, the first one first.
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

/// How an order is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderPayment {
    /// As [`crate::payment::PaymentState`] has it.
    pub state: String,
    /// What the gateway took, in minor units.
    pub amount: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The gateway's own name for the charge.
    pub reference: Option<String>,
    /// The order that the money belongs to now.
    pub moved_to: Option<OrderId>,
    /// The order under which the gateway knows the charge, where that is another.
    pub paid_as: Option<OrderId>,
    /// What went wrong when it was last looked at.
    pub last_error: Option<String>,
}

impl OrderPayment {
    fn read(row: &Row) -> Option<Self> {
        let order = |column| row.get::<_, Option<Uuid>>(column).map(OrderId::from_uuid);
        Some(Self {
            state: row.get::<_, Option<String>>("payment")?,
            amount: row.get("amount"),
            currency: row.get("currency"),
            reference: row.get("reference"),
            moved_to: order("moved_to"),
            paid_as: order("paid_as"),
            last_error: row.get("last_error"),
        })
    }
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
                payment: OrderPayment::read(&row),
                events: serde_json::from_value(row.get(11)).map_err(unreadable)?,
                units: units.map(serde_json::from_value).transpose().map_err(unreadable)?,
            })
        })
        .await
    }
}
