//! What a worker knows of the items of sales. With a thousand of them in a batch, to ask for them each time costs Postgres a
//! tenth of all that it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Transaction;

use crate::catalogue::{SaleId, Sku};
use crate::persist::transaction::{Fence, WriteError};
use crate::persist::units::Units;

const ITEMS: &str = include_str!("../../sql/persist/items.sql");
/// Items that are known at once: some ten megabytes.
const ITEMS_MAX: usize = 100_000;

/// Items as Postgres has them, learned as orders name them. They never change, and nobody takes them away; but a Postgres that
/// came back may have other ones. So they are known under one opening, and learned in no transaction that writes a sale.
/// Cheap to clone; clones know the same.
#[derive(Clone, Debug, Default)]
pub struct KnownItems(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    under: Option<Fence>,
    sales: HashMap<SaleId, HashMap<Sku, Item>>,
    items: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    price: i64,
    /// The sale's orders wait for a payment.
    waits: bool,
}

impl KnownItems {
    fn state(&self, fence: Fence) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.under != Some(fence) || state.items > ITEMS_MAX {
            *state = State { under: Some(fence), ..State::default() };
        }
        state
    }

    /// What these items cost, each at its place; `None` where the orders of some sale wait for a payment.
    ///
    /// # Errors
    /// [`WriteError::UnknownItem`], or the database.
    pub(super) async fn prices(
        &self,
        tx: &Transaction<'_>,
        fence: Fence,
        units: &Units<'_>,
    ) -> Result<Option<Vec<i64>>, WriteError> {
        let name = |place: usize| (units.sales[place], units.skus[place]);
        let mut found: Vec<Option<Item>> = {
            let state = self.state(fence);
            (0..units.len()).map(|place| state.find(name(place))).collect()
        };
        let unknown: Vec<usize> = (0..units.len()).filter(|&place| found[place].is_none()).collect();
        if !unknown.is_empty() {
            let (sales, skus): (Vec<_>, Vec<_>) = unknown.iter().map(|&place| name(place)).unzip();
            let statement = tx.prepare_cached(ITEMS).await?;
            let rows = tx.query(&statement, &[&sales, &skus]).await?;
            // What is answered does not depend on what others do with the state meanwhile.
            let mut state = self.state(fence);
            for row in &rows {
                let (number, item) = (row.get::<_, i64>(0), Item { price: row.get(1), waits: row.get(2) });
                let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
                let place = *unknown.get(at).ok_or(WriteError::UnknownItem)?;
                state.learn(name(place), item);
                found[place] = Some(item);
            }
        }
        let items = found.into_iter().collect::<Option<Vec<Item>>>().ok_or(WriteError::UnknownItem)?;
        let waits = items.iter().any(|item| item.waits);
        Ok((!waits).then(|| items.iter().map(|item| item.price).collect()))
    }
}

impl State {
    fn find(&self, (sale, sku): (&str, &str)) -> Option<Item> {
        self.sales.get(sale)?.get(sku).copied()
    }

    fn learn(&mut self, (sale, sku): (&str, &str), item: Item) {
        let (Ok(sale), Ok(sku)) = (sale.parse::<SaleId>(), sku.parse()) else { return };
        self.items += usize::from(self.sales.entry(sale).or_default().insert(sku, item).is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partition;

    const TEE: Item = Item { price: 5, waits: false };

    #[test]
    fn what_is_known_under_one_opening_is_forgotten_with_it() {
        let fence = |epoch| Fence::new(Partition::new(0), epoch);
        let known = KnownItems::default();
        known.state(fence(1)).learn(("drop", "TEE"), TEE);
        assert_eq!(known.clone().state(fence(1)).find(("drop", "TEE")), Some(TEE));
        assert_eq!(known.state(fence(1)).find(("drop", "CAP")), None);
        assert_eq!(known.state(fence(2)).find(("drop", "TEE")), None);
        assert_eq!(known.state(fence(1)).find(("drop", "TEE")), None, "whichever comes next");
    }

    #[test]
    fn only_so_many_items_are_kept() {
        let fence = Fence::new(Partition::new(0), 1);
        let known = KnownItems::default();
        for number in 0..=ITEMS_MAX {
            known.state(fence).learn(("drop", &format!("S{number}")), TEE);
        }
        assert_eq!(known.state(fence).items, 0);
    }
}
