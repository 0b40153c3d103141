//! Units by sale and SKU.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::log::OrderEntry;

/// Items that orders name, each once, and how many units of it they take together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Units<'a> {
    /// The item's sale. Parallel to the next two, as `unnest` takes them: an item has one place in all of them.
    pub sales: Vec<&'a str>,
    /// Its SKU.
    pub skus: Vec<&'a str>,
    /// How many.
    pub sums: Vec<i64>,
    /// The place of the item of each line, in the order of orders and lines.
    pub places: Vec<usize>,
}

impl<'a> Units<'a> {
    /// Of the lines of these orders.
    pub fn of(orders: impl Iterator<Item = &'a OrderEntry>) -> Self {
        let mut all = Self::default();
        let mut known = HashMap::new();
        for order in orders {
            for (sku, quantity) in &order.lines {
                let item = (order.sale.as_str(), sku.as_str());
                let place = match known.entry(item) {
                    Entry::Occupied(place) => *place.get(),
                    Entry::Vacant(unknown) => {
                        all.sales.push(item.0);
                        all.skus.push(item.1);
                        all.sums.push(0);
                        *unknown.insert(all.sums.len() - 1)
                    }
                };
                all.sums[place] += i64::from(*quantity);
                all.places.push(place);
            }
        }
        all
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buyer::BuyerId;
    use crate::claim::IdempotencyKey;
    use crate::order_id::Mark;

    fn order(sale: &str, lines: &[(&str, u32)]) -> OrderEntry {
        OrderEntry {
            mark: Mark::random(),
            fingerprint: 1,
            sale: sale.parse().unwrap(),
            buyer: BuyerId::parse(b"ann").unwrap(),
            key: IdempotencyKey::parse(b"k1").unwrap(),
            lines: lines.iter().map(|&(sku, quantity)| (sku.parse().unwrap(), quantity)).collect(),
        }
    }

    #[test]
    fn each_item_of_a_sale_stands_once_and_each_line_knows_its_place() {
        let orders = [
            order("one", &[("TEE", 2), ("CAP", 1)]),
            order("two", &[("TEE", 4)]),
            order("one", &[("TEE", 8)]),
        ];
        let units = Units::of(orders.iter());
        assert_eq!(units.sales, ["one", "one", "two"]);
        assert_eq!(units.skus, ["TEE", "CAP", "TEE"]);
        assert_eq!(units.sums, [10, 1, 4]);
        assert_eq!(units.places, [0, 1, 2, 0]);
        assert!(Units::of([].iter()).is_empty() && units.len() == 3);
    }
}
