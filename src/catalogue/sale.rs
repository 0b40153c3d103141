//! A sale as it is stored.

use std::collections::HashMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use super::control::{SaleStatus, SaleWindow, UnknownWord};
use super::ids::{SaleId, Sku};
use super::money::Money;

/// What has to happen before an order is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentPolicy {
    /// Nothing: an order is confirmed as it is persisted.
    #[default]
    None,
    /// A payment gateway has to take the money while the order is held.
    Gateway,
    /// The buyer pays elsewhere while the order is held, and a webhook tells.
    Checkout,
}

/// Until when a buyer may cancel an order of the sale. An operator may always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuyerCancel {
    /// Not at all.
    Never,
    /// While the order waits for its payment: never, where none is asked for.
    #[default]
    Pending,
    /// Until the sale closes, also once the order is confirmed.
    UntilClose,
}

/// A sale without its items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sale {
    /// Its name in addresses.
    pub id: SaleId,
    /// For people.
    pub name: String,
    /// Window and control.
    #[serde(flatten)]
    pub window: SaleWindow,
    /// What has to happen before an order is confirmed.
    pub payment: PaymentPolicy,
    /// Seconds for which a pending order holds its units; there exactly where payment is asked for.
    pub hold_s: Option<i32>,
    /// Until when a buyer may cancel.
    pub buyer_cancel: BuyerCancel,
    /// Rises with every change.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on Postgres alone answers for its orders.
    pub retired_at: Option<Timestamp>,
}

/// The part of a product that a buyer is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductText {
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Where there is one.
    pub image_url: Option<String>,
}

/// One SKU in one sale. Fixed for the sale's life, except for the product's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The product.
    pub sku: Sku,
    /// Place in the sale, from 1.
    pub position: i16,
    /// For one unit.
    #[serde(flatten)]
    pub price: Money,
    /// Most units that one buyer may have.
    pub per_buyer_limit: Option<i32>,
    /// What a buyer is shown.
    pub product: ProductText,
}

/// A sale with its items: what a node needs to take orders. Immutable; a change gives a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleDefinition {
    /// The sale itself.
    pub sale: Sale,
    items: Vec<Item>,
    by_sku: HashMap<Sku, usize>,
}

impl SaleDefinition {
    /// Joins a sale and its items, which come ordered by position.
    pub fn new(sale: Sale, items: Vec<Item>) -> Self {
        let by_sku = items.iter().enumerate().map(|(index, item)| (item.sku.clone(), index)).collect();
        Self { sale, items, by_sku }
    }

    /// The items by position.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item of a SKU, given as text so that a request need not be copied.
    pub fn item(&self, sku: &str) -> Option<&Item> {
        self.by_sku.get(sku).map(|&index| &self.items[index])
    }
}

/// Units of one item in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemStock {
    /// The item.
    #[serde(skip)]
    pub sku: Sku,
    /// The partition.
    pub partition: i16,
    /// Units that may be sold.
    pub allotted: i64,
    /// Units of orders that are not cancelled.
    pub sold: i64,
}

/// Everything an operator is shown of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleDetail {
    /// The sale and its items.
    pub definition: SaleDefinition,
    /// Per item and partition, ordered by position and partition.
    pub stock: Vec<ItemStock>,
    /// The lowest version that a partition of Redis was told; 0 where one knows nothing of the sale.
    pub published_version: i64,
}

/// A sale in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleSummary {
    /// The sale.
    pub sale: Sale,
    /// Number of items.
    pub items: i64,
    /// Units of all items.
    pub allotted: i64,
    /// Units sold of all items, as far as they are persisted.
    pub sold: i64,
}

/// How a sale is written for the outside: its status at a moment beside its facts.
#[derive(Debug, Serialize)]
pub struct SaleView<'a, Rest: Serialize> {
    #[serde(flatten)]
    sale: &'a Sale,
    status: SaleStatus,
    #[serde(flatten)]
    rest: Rest,
}

/// The part of a view that only a single sale has.
#[derive(Debug, Serialize)]
pub struct DetailRest<'a> {
    published: bool,
    items: Vec<ItemView<'a>>,
}

/// The part of a view that a sale in a list has.
#[derive(Debug, Serialize)]
pub struct SummaryRest {
    items: i64,
    allotted: i64,
    sold: i64,
}

#[derive(Debug, Serialize)]
struct ItemView<'a> {
    #[serde(flatten)]
    item: &'a Item,
    allotted: i64,
    sold: i64,
    partitions: Vec<&'a ItemStock>,
}

impl SaleDetail {
    /// For JSON, as of `now`.
    pub fn view(&self, now: Timestamp) -> SaleView<'_, DetailRest<'_>> {
        let sale = &self.definition.sale;
        let mut stock: HashMap<&Sku, Vec<&ItemStock>> = HashMap::new();
        for row in &self.stock {
            stock.entry(&row.sku).or_default().push(row);
        }
        let items = self
            .definition
            .items
            .iter()
            .map(|item| ItemView::new(item, stock.remove(&item.sku).unwrap_or_default()))
            .collect();
        let rest = DetailRest { published: self.published_version >= sale.version, items };
        SaleView { sale, status: sale.window.status(now), rest }
    }
}

impl<'a> ItemView<'a> {
    fn new(item: &'a Item, partitions: Vec<&'a ItemStock>) -> Self {
        let allotted = partitions.iter().map(|stock| stock.allotted).sum();
        let sold = partitions.iter().map(|stock| stock.sold).sum();
        Self { item, allotted, sold, partitions }
    }
}

impl SaleSummary {
    /// For JSON, as of `now`.
    pub fn view(&self, now: Timestamp) -> SaleView<'_, SummaryRest> {
        let rest = SummaryRest { items: self.items, allotted: self.allotted, sold: self.sold };
        SaleView { sale: &self.sale, status: self.sale.window.status(now), rest }
    }
}

/// Not a word that a definition may have in this place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {allowed}, not {word:?}")]
pub struct UnknownPolicy {
    word: String,
    allowed: &'static str,
}

impl From<UnknownPolicy> for UnknownWord {
    fn from(unknown: UnknownPolicy) -> Self {
        Self { word: unknown.word, allowed: unknown.allowed }
    }
}

macro_rules! policy_words {
    ($type:ident, $allowed:literal { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// As stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl FromStr for $type {
            type Err = UnknownPolicy;
            fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownPolicy { word: word.chars().take(40).collect(), allowed: $allowed }),
                }
            }
        }
    };
}
policy_words!(PaymentPolicy, "none, gateway, checkout" { None = "none", Gateway = "gateway", Checkout = "checkout" });
policy_words!(BuyerCancel, "never, pending, until_close" {
    Never = "never", Pending = "pending", UntilClose = "until_close",
});
