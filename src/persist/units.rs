//! Units by sale and SKU.

use std::collections::BTreeMap;

use crate::catalogue::{SaleId, Sku};

/// Sums of units, sorted by sale and SKU.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Units(BTreeMap<(SaleId, Sku), i64>);

/// Three parallel columns, as `unnest` takes them.
pub struct UnitColumns<'a> {
    /// Sales.
    pub sales: Vec<&'a str>,
    /// SKUs.
    pub skus: Vec<&'a str>,
    /// Units.
    pub units: Vec<i64>,
}

impl Units {
    /// Adds the lines of one order.
    pub fn add(&mut self, sale: &SaleId, lines: &[(Sku, u32)]) {
        for (sku, quantity) in lines {
            *self.0.entry((sale.clone(), sku.clone())).or_default() += i64::from(*quantity);
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As columns.
    pub fn columns(&self) -> UnitColumns<'_> {
        UnitColumns {
            sales: self.0.keys().map(|(sale, _)| sale.as_str()).collect(),
            skus: self.0.keys().map(|(_, sku)| sku.as_str()).collect(),
            units: self.0.values().copied().collect(),
        }
    }
}
