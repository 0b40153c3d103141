//! Records of orders on their way to Redis: many in one step, several steps in flight.

use std::collections::HashMap;

use fred::types::{Key, Value};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, TryStreamExt};

use crate::catalogue::SaleId;
use crate::redis::{RedisError, Reply};

use super::opening::Opening;

/// Records in one step: Redis does nothing else meanwhile, so it takes some milliseconds at most.
const STEP: usize = 4000;
/// Steps in flight: so many that neither server waits for the other.
const STEPS_MAX: usize = 4;

/// Adds records, in any order of sales and buyers.
pub(super) struct Records<'a> {
    opening: &'a Opening<'a>,
    of_sales: HashMap<SaleId, OfSale>,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<Reply, RedisError>>>,
}

struct OfSale {
    buyers: Key,
    /// Buyer, record, buyer, record.
    waiting: Vec<Value>,
}

impl<'a> Records<'a> {
    pub fn new(opening: &'a Opening<'a>) -> Self {
        Self { opening, of_sales: HashMap::new(), in_flight: FuturesUnordered::new() }
    }

    pub async fn add(&mut self, sale: &SaleId, buyer: &str, record: String) -> Result<(), RedisError> {
        if !self.of_sales.contains_key(sale) {
            let buyers = self.opening.keys.sale(sale).buyers;
            self.of_sales.insert(sale.clone(), OfSale { buyers, waiting: Vec::new() });
        }
        let Some(of_sale) = self.of_sales.get_mut(sale) else { return Ok(()) };
        of_sale.waiting.extend([buyer.into(), record.into()]);
        if of_sale.waiting.len() < 2 * STEP {
            return Ok(());
        }
        let (buyers, full) = (of_sale.buyers.clone(), std::mem::take(&mut of_sale.waiting));
        self.send(buyers, full).await
    }

    /// Sends what waits, and waits for all.
    pub async fn finish(mut self) -> Result<(), RedisError> {
        for (_, of_sale) in std::mem::take(&mut self.of_sales) {
            if !of_sale.waiting.is_empty() {
                self.send(of_sale.buyers, of_sale.waiting).await?;
            }
        }
        while self.in_flight.try_next().await?.is_some() {}
        Ok(())
    }

    async fn send(&mut self, buyers: Key, records: Vec<Value>) -> Result<(), RedisError> {
        while self.in_flight.len() >= STEPS_MAX {
            self.in_flight.try_next().await?;
        }
        let opening = self.opening;
        self.in_flight.push(async move { opening.remember(&buyers, records).await }.boxed());
        // Sent now, and not only when its reply is asked for.
        let _ = self.in_flight.try_next().now_or_never().transpose()?;
        Ok(())
    }
}
