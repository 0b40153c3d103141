//! What the log says further on of orders that are persisted again.

use std::collections::{HashMap, HashSet};

use crate::catalogue::Sku;
use crate::log::{EntryId, LogEntry, RawEntry, read_range};
use crate::order::CancelReason;
use crate::order_id::OrderId;
use crate::redis::{Keys, Redis, RedisError};

/// Orders that were cancelled as they were persisted, by the returns that stand behind them in the log.
///
/// Which of two orders of one key became the duplicate, and which order the gate refused, was decided by the order
/// in which workers persisted them, and buyers were told. A replay would decide anew, in log order; instead it
/// follows what the log says.
#[derive(Clone, Debug, Default)]
pub struct Foreseen(HashMap<OrderId, Ended>);

/// How an order ended as it was persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: CancelReason,
    /// SKUs whose units went back; those of the others never existed.
    pub returned: HashSet<Sku>,
}

/// Entries in one reading.
const STEP: usize = 2000;

impl Foreseen {
    /// Reads the log from `from` to its end.
    ///
    /// # Errors
    /// Those of any command.
    pub async fn read(redis: &Redis, keys: &Keys, from: EntryId) -> Result<Self, RedisError> {
        let mut foreseen = Self::default();
        let mut next = from;
        loop {
            let batch = read_range(redis, keys, next, STEP).await?;
            let Some(last) = batch.last() else { return Ok(foreseen) };
            next = last.id.next();
            foreseen.add(&batch);
        }
    }

    fn add(&mut self, batch: &[RawEntry]) {
        let returns =
            batch.iter().filter(|entry| entry.fields.first().is_some_and(|(f, _)| &f[..] == b"return"));
        for entry in returns {
            if let Ok(LogEntry::Return { order, reason, stock }) = entry.decode()
                && reason.is_found_by_persisting()
            {
                let returned = stock.lines.into_iter().map(|(sku, _)| sku).collect();
                self.0.insert(order, Ended { reason, returned });
            }
        }
    }

    /// How this order ended, where it did so at once.
    pub fn of(&self, order: OrderId) -> Option<&Ended> {
        self.0.get(&order)
    }
}
