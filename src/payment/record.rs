//! A payment as it is stored, with what is known of its order.

use tokio_postgres::Row;

use super::PaymentError;
use super::rules::{PaidOrder, PaymentFacts, Sum};
use crate::catalogue::Sku;
use crate::log::Lines;
use crate::order_id::OrderId;

/// Keys that begin so are ours: a client's are refused ([`crate::claim::IdempotencyKey`]).
const LATE_KEY: &str = "doorbuster:paid-late:";

/// The idempotency key under which the units of a paid order are claimed again: always the same, so that they are claimed
/// once.
pub(super) fn late_key(order: OrderId) -> String {
    format!("{LATE_KEY}{order}")
}

/// A payment with its order.
#[derive(Clone, Debug)]
pub(super) struct PaymentRecord {
    pub order: OrderId,
    pub facts: PaymentFacts,
    /// Rounds since it is in this state.
    pub attempts: u32,
    /// Under which the gateway knows the charge.
    pub charged_as: OrderId,
    pub bought: Bought,
    /// Whether this Postgres has all that was persisted anywhere.
    pub is_drained: bool,
}

/// What an order is of.
#[derive(Clone, Debug)]
pub(super) struct Bought {
    pub sale: String,
    pub buyer: String,
    pub lines: Lines,
}

#[derive(serde::Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

impl PaymentRecord {
    /// Of a row of `sql/payment/facts.sql`.
    pub fn read(row: &Row) -> Result<Self, PaymentError> {
        let order = OrderId::from_uuid(row.get("order_id"));
        let unreadable = |error: &dyn std::fmt::Display| PaymentError::Unreadable(order, error.to_string());
        let stored = PaidOrder {
            state: row.get::<_, &str>("order_state").parse().map_err(|error| unreadable(&error))?,
            cancel_reason: match row.get::<_, Option<&str>>("cancel_reason") {
                Some(word) => Some(word.parse().map_err(|error| unreadable(&error))?),
                None => None,
            },
            hold_is_over: row.get::<_, Option<bool>>("hold_is_over").unwrap_or(true),
        };
        let lines: Vec<Line> = match row.get::<_, Option<serde_json::Value>>("lines") {
            Some(lines) => serde_json::from_value(lines).map_err(|error| unreadable(&error))?,
            None => Vec::new(),
        };
        let lines = lines.into_iter().map(|line| Ok((line.sku.parse::<Sku>()?, line.quantity)));
        let lines: Result<Lines, <Sku as std::str::FromStr>::Err> = lines.collect();
        let bought = Bought {
            sale: row.get("sale_id"),
            buyer: row.get("buyer"),
            lines: lines.map_err(|error| unreadable(&error))?,
        };
        let cost = row.get::<_, Option<i64>>("cost").zip(row.get::<_, Option<String>>("currency"));
        let facts = PaymentFacts {
            payment: row.get::<_, &str>("state").parse().map_err(|error| unreadable(&error))?,
            order: stored,
            cost: cost.map(|(amount, currency)| Sum { amount, currency }),
            is_made_from_late: row.get::<_, &str>("idem_key").starts_with(LATE_KEY),
            has_money: row.get("has_money"),
            is_parked: row.get("is_parked"),
            no_charge_on_its_way: row.get("no_charge_on_its_way"),
        };
        Ok(Self {
            order,
            facts,
            attempts: row.get::<_, i32>("attempts").unsigned_abs(),
            charged_as: OrderId::from_uuid(row.get("charged_as")),
            bought,
            is_drained: row.get("is_drained"),
        })
    }
}
