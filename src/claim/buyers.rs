//! Who has orders in a sale, as long as nobody new gets one: once everything is sold the list is frozen, and a node that
//! holds it need not name the buyers whose claims it asks about.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fred::types::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::buyer::BuyerId;
use crate::claim::{ClaimError, Survey};
use crate::redis::{Redis, SaleKeys, Script, Stamp, StampedScripts};

/// Names that a node keeps of one sale in one partition: 4 MB at most.
const NAMES_MAX: usize = 200_000;
/// Names in one step: less than a millisecond of Redis.
const STEP: i64 = 500;
/// For so long nobody new must have had an order before the list is read.
const STILL: Duration = Duration::from_secs(1);

/// The buyers who had orders in a sale when they were read, by 64 bits of hash.
///
/// Names are only ever added while a partition is open. So a list that is as long as Redis says in the very call that
/// looked at the stock is still the whole list; two names of one hash make it too short for ever, and it is not used.
#[derive(Debug)]
pub struct BuyersWithOrders {
    stamp: Stamp,
    names: HashSet<u64>,
}

impl BuyersWithOrders {
    /// Reads them; `None` where there are too many.
    ///
    /// # Errors
    /// [`ClaimError`]: as any call.
    pub async fn read(
        redis: &Redis,
        scripts: &StampedScripts,
        meta: &fred::types::Key,
        sale: &SaleKeys,
    ) -> Result<Option<Self>, ClaimError> {
        let mut names = HashSet::new();
        let mut cursor = Value::from("0");
        loop {
            let keys = vec![meta.clone(), sale.buyers.clone()];
            let reply = redis.run(scripts, Script::Buyers, keys, vec![cursor, STEP.into()]).await?;
            let mut reply = reply.into_array().into_iter();
            let unexpected = || ClaimError::Unexpected("a list of buyers that cannot be read".into());
            cursor = reply.next().ok_or_else(unexpected)?;
            for name in reply {
                names.insert(xxh3_64(name.as_bytes().ok_or_else(unexpected)?));
            }
            if names.len() > NAMES_MAX {
                return Ok(None);
            }
            if cursor.as_str().is_some_and(|cursor| cursor == "0") {
                return Ok(Some(Self { stamp: scripts.stamp, names }));
            }
        }
    }

    /// Whether these are all, where Redis has so many names under this stamp.
    pub(super) fn are_all(&self, stamp: &Stamp, names: u64) -> bool {
        self.stamp == *stamp && self.names.len() as u64 == names
    }

    /// Whether this buyer has orders. Another buyer of the same hash is taken for one who has.
    pub(super) fn has(&self, buyer: &BuyerId) -> bool {
        self.names.contains(&xxh3_64(buyer.as_str().as_bytes()))
    }
}

/// The list that an intake holds, and when it is worth reading: once nobody new has had an order for a while.
#[derive(Debug, Default)]
pub(super) struct KnownBuyers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    list: Option<Arc<BuyersWithOrders>>,
    /// Under which stamp surveys have found so many names, and since when.
    found: Option<(Stamp, u64, Instant)>,
    /// These names have been read, or are being read: if the list did not become whole, it never will.
    was_read: bool,
}

impl KnownBuyers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, where there is one.
    pub fn list(&self) -> Option<Arc<BuyersWithOrders>> {
        self.state().list.clone()
    }

    /// Somebody new may have an order.
    pub fn forget(&self) {
        *self.state() = State::default();
    }

    /// Whether to read the list now, after this survey. Whoever is told so reads it, once.
    pub fn is_worth_reading(&self, stamp: &Stamp, survey: &Survey) -> bool {
        let mut state = self.state();
        let names = survey.names();
        let since = match state.found {
            Some((of, found, since)) if of == *stamp && found == names => since,
            _ => {
                *state = State { found: Some((*stamp, names, Instant::now())), ..State::default() };
                return false;
            }
        };
        let is_worth = !state.was_read && since.elapsed() > STILL && (1..=NAMES_MAX as u64).contains(&names);
        state.was_read |= is_worth;
        is_worth
    }

    /// A list that was read.
    pub fn keep(&self, list: BuyersWithOrders) {
        self.state().list = Some(Arc::new(list));
    }
}
