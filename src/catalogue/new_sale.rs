//! A sale as an operator defines it: validated whole, every error named at once.

use std::collections::HashMap;

use iso_currency::Currency;
use jiff::Timestamp;
use serde_json::Value;

use super::allotment::STOCK_MAX;
use super::fields::{FieldError, Object, Report};
use super::ids::{SaleId, Sku};
use super::product::{Product, read_list};
use super::sale::{BuyerCancel, PaymentPolicy};

const SALE_FIELDS: [&str; 9] =
    ["id", "name", "opens_at", "closes_at", "payment", "hold_s", "buyer_cancel", "items", "products"];
const ITEM_FIELDS: [&str; 5] = ["sku", "price", "currency", "stock", "per_buyer_limit"];

/// How long a pending order holds its units where the definition does not say, in seconds.
const HOLD_S: i32 = 900;
/// The longest hold: 30 days, in seconds.
const HOLD_S_MAX: i64 = 2_592_000;

/// Most items of one sale.
pub const ITEMS_MAX: usize = 1000;

/// The definition of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSale {
    /// Its name in addresses, for ever.
    pub id: SaleId,
    /// For people, 1 to 200 characters.
    pub name: String,
    /// First moment of the window, whole milliseconds.
    pub opens_at: Timestamp,
    /// First moment after the window, whole milliseconds.
    pub closes_at: Timestamp,
    /// What has to happen before an order is confirmed.
    pub payment: PaymentPolicy,
    /// Seconds for which a pending order holds its units; there exactly where payment is asked for.
    pub hold_s: Option<i32>,
    /// Until when a buyer may cancel.
    pub buyer_cancel: BuyerCancel,
    /// In the order in which they are shown.
    pub items: Vec<NewItem>,
    /// Products that are put together with the sale.
    pub products: Vec<Product>,
}

/// One item of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// The product.
    pub sku: Sku,
    /// In minor units; the product's where it is not given.
    pub price: Option<i64>,
    /// Of `price`; the product's where it is not given.
    pub currency: Option<Currency>,
    /// The allotment, in units.
    pub stock: i64,
    /// Most units that one buyer may have; no limit where it is not given.
    pub per_buyer_limit: Option<i32>,
}

impl NewSale {
    /// Reads and validates a definition.
    ///
    /// # Errors
    /// Every field that is wrong, at most [`super::FIELD_ERRORS_MAX`].
    pub fn read(definition: &Value) -> Result<Self, Vec<FieldError>> {
        let report = Report::default();
        let sale = Object::open(&report, "", definition, &SALE_FIELDS).and_then(|object| read_sale(&object));
        report.finish(sale)
    }
}

fn read_sale(object: &Object<'_>) -> Option<NewSale> {
    let id = object.required("id").and_then(|value| object.parsed("id", value));
    let name = object.required("name").and_then(|value| object.text("name", value, 1..=200, false));
    let opens_at = object.time("opens_at");
    let closes_at = object.time("closes_at");
    if let (Some(opens_at), Some(closes_at)) = (opens_at, closes_at)
        && closes_at <= opens_at
    {
        object.fault("closes_at", format_args!("must be after opens_at, which is {opens_at}"));
    }
    let payment = match object.value("payment") {
        None => Some(PaymentPolicy::default()),
        Some(value) => object.parsed("payment", value),
    };
    let hold_s = read_hold(object, payment);
    let buyer_cancel = match object.value("buyer_cancel") {
        None => Some(BuyerCancel::default()),
        Some(value) => object.parsed("buyer_cancel", value),
    };
    let products = read_list(object);
    let items = read_items(object);
    Some(NewSale {
        id: id?,
        name: name?,
        opens_at: opens_at?,
        closes_at: closes_at?,
        payment: payment?,
        hold_s,
        buyer_cancel: buyer_cancel?,
        items,
        products,
    })
}

fn read_hold(object: &Object<'_>, payment: Option<PaymentPolicy>) -> Option<i32> {
    let given = object
        .value("hold_s")
        .and_then(|value| object.integer("hold_s", value, 1..=HOLD_S_MAX, "seconds"))
        .and_then(|seconds| i32::try_from(seconds).ok());
    if payment == Some(PaymentPolicy::None) {
        if given.is_some() {
            object.fault("hold_s", "needs a payment to wait for: orders without one are confirmed at once");
        }
        return None;
    }
    given.or(Some(HOLD_S))
}

fn read_items(object: &Object<'_>) -> Vec<NewItem> {
    let mut first_at: HashMap<Sku, String> = HashMap::new();
    let mut items = Vec::new();
    let Some(value) = object.required("items") else { return items };
    if value.as_array().is_some_and(Vec::is_empty) {
        object.fault("items", "must have at least one entry");
    }
    for (path, value) in object.list("items", ITEMS_MAX) {
        let Some(item) = read_item(object.report, &path, value) else { continue };
        if let Some(first) = first_at.get(&item.sku) {
            object.report.add(
                format!("{path}.sku"),
                format_args!("is given twice: {first} has the same SKU; an item may be listed once"),
            );
        } else {
            first_at.insert(item.sku.clone(), path);
        }
        items.push(item);
    }
    items
}

fn read_item(report: &Report, path: &str, value: &Value) -> Option<NewItem> {
    let object = Object::open(report, path, value, &ITEM_FIELDS)?;
    let sku = object.required("sku").and_then(|value| object.parsed("sku", value));
    let stock =
        object.required("stock").and_then(|value| object.integer("stock", value, 1..=STOCK_MAX, "units"));
    let per_buyer_limit = object
        .value("per_buyer_limit")
        .and_then(|value| object.integer("per_buyer_limit", value, 1..=i64::from(i32::MAX), "units"))
        .and_then(|limit| i32::try_from(limit).ok());
    let (price, currency) = (object.price("price"), object.currency("currency"));
    if currency.is_some() && object.value("price").is_none() {
        object.fault(
            "currency",
            "needs a price beside it: the product's own price is in the product's currency",
        );
    }
    // Without a known SKU the duplicate check has nothing to compare; the error is already there.
    Some(NewItem { sku: sku?, price, currency, stock: stock.unwrap_or_default(), per_buyer_limit })
}

#[cfg(test)]
#[path = "new_sale_tests.rs"]
mod tests;
