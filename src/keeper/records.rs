//! Records of orders on their way to Redis: many in one step, several steps in flight.

use std::collections::{HashMap, HashSet};

use fred::types::{Key, Value};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, TryStreamExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::already_hashed::BuildAsItIs;
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
    /// Whether first records may be on their way. What more there is of their buyers waits for them.
    first_in_flight: bool,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<Reply, RedisError>>>,
}

/// Which records of their buyers a step adds. Redis need not look for earlier ones before it writes the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    More,
}

impl Which {
    /// For `remember.lua`.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::More => "more",
        }
    }
}

struct OfSale {
    key: Key,
    /// Hashes of the buyers who have a record. One who is taken for another is looked for in vain, and no harm done.
    buyers: HashSet<u64, BuildAsItIs>,
    /// Buyer, record, buyer, record.
    first: Vec<Value>,
    more: Vec<Value>,
}

impl OfSale {
    fn waiting(&mut self, which: Which) -> &mut Vec<Value> {
        match which {
            Which::First => &mut self.first,
            Which::More => &mut self.more,
        }
    }
}

impl<'a> Records<'a> {
    pub fn new(opening: &'a Opening<'a>) -> Self {
        let of_sales = HashMap::new();
        Self { opening, of_sales, first_in_flight: false, in_flight: FuturesUnordered::new() }
    }

    pub async fn add(&mut self, sale: &SaleId, buyer: String, record: String) -> Result<(), RedisError> {
        if !self.of_sales.contains_key(sale) {
            let key = self.opening.keys.sale(sale).buyers;
            let (buyers, first, more) = (HashSet::default(), Vec::new(), Vec::new());
            self.of_sales.insert(sale.clone(), OfSale { key, buyers, first, more });
        }
        let Some(of_sale) = self.of_sales.get_mut(sale) else { return Ok(()) };
        let is_first = of_sale.buyers.insert(xxh3_64(buyer.as_bytes()));
        let which = if is_first { Which::First } else { Which::More };
        let waiting = of_sale.waiting(which);
        waiting.extend([buyer.into(), record.into()]);
        if waiting.len() < 2 * STEP {
            return Ok(());
        }
        if which == Which::More {
            self.send(sale, Which::First).await?;
            self.first_written().await?;
        }
        self.send(sale, which).await
    }

    /// Sends what waits, and waits for all.
    pub async fn finish(mut self) -> Result<(), RedisError> {
        let sales: Vec<SaleId> = self.of_sales.keys().cloned().collect();
        for sale in &sales {
            self.send(sale, Which::First).await?;
        }
        self.first_written().await?;
        for sale in &sales {
            self.send(sale, Which::More).await?;
        }
        self.all_written().await
    }

    /// Sends what waits of a sale.
    async fn send(&mut self, sale: &SaleId, which: Which) -> Result<(), RedisError> {
        let Some(of_sale) = self.of_sales.get_mut(sale) else { return Ok(()) };
        let (key, waiting) = (of_sale.key.clone(), of_sale.waiting(which));
        if waiting.is_empty() {
            return Ok(());
        }
        // As many will follow, most likely.
        let next = Vec::with_capacity(waiting.len());
        let records = std::mem::replace(waiting, next);
        while self.in_flight.len() >= STEPS_MAX {
            self.in_flight.try_next().await?;
        }
        let opening = self.opening;
        self.first_in_flight |= which == Which::First;
        self.in_flight.push(async move { opening.remember(&key, which, records).await }.boxed());
        // Sent now, and not only when its reply is asked for.
        let _ = self.in_flight.try_next().now_or_never().transpose()?;
        Ok(())
    }

    async fn first_written(&mut self) -> Result<(), RedisError> {
        if self.first_in_flight { self.all_written().await } else { Ok(()) }
    }

    async fn all_written(&mut self) -> Result<(), RedisError> {
        while self.in_flight.try_next().await?.is_some() {}
        self.first_in_flight = false;
        Ok(())
    }
}
