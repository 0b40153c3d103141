//! What is sold, apart from any sale.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::fields::{FieldError, Object, Report};
use super::ids::Sku;
use super::money::Money;

const FIELDS: [&str; 6] = ["sku", "name", "description", "price", "currency", "image_url"];

/// Most products in one definition.
pub const PRODUCTS_MAX: usize = 1000;

/// A product as an operator defines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Its name everywhere.
    pub sku: Sku,
    /// For people, 1 to 200 characters.
    pub name: String,
    /// For people, up to 10 000 characters.
    pub description: String,
    /// The price of an item that does not give its own.
    #[serde(flatten)]
    pub price: Money,
    /// An `https`, `http` or site-relative address.
    pub image_url: Option<String>,
}

/// A product as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredProduct {
    /// What the operator defined.
    #[serde(flatten)]
    pub product: Product,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Product {
    /// Reads a product from a definition. `sku` is the one in the address: the definition may leave it
    /// out, or repeat it.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn read(definition: &Value, sku: Option<&Sku>) -> Result<Self, Vec<FieldError>> {
        let report = Report::default();
        let product = Self::read_at(&report, "", definition, sku);
        report.finish(product)
    }

    pub(super) fn read_at(
        report: &Report,
        path: &str,
        definition: &Value,
        sku: Option<&Sku>,
    ) -> Option<Self> {
        let object = Object::open(report, path, definition, &FIELDS)?;
        let sku = match (sku, object.value("sku")) {
            (Some(sku), None) => Some(sku.clone()),
            (None, _) => object.required("sku").and_then(|value| object.parsed("sku", value)),
            (Some(sku), Some(value)) => {
                if value.as_str() != Some(sku.as_str()) {
                    object.fault("sku", format_args!("must be {sku}, as in the address, or left out"));
                }
                Some(sku.clone())
            }
        };
        let name = object.required("name").and_then(|value| object.text("name", value, 1..=200, false));
        let description = object
            .value("description")
            .and_then(|value| object.text("description", value, 0..=10_000, true))
            .unwrap_or_default();
        let minor_units = object.required("price").and_then(|_| object.price("price"));
        let currency = object.required("currency").and_then(|_| object.currency("currency"));
        let image_url = object.value("image_url").and_then(|value| image_url(&object, value));
        let price = Money { minor_units: minor_units?, currency: currency? };
        Some(Self { sku: sku?, name: name?, description, price, image_url })
    }
}

/// Reads one product, or a document whose only field is a list `products`.
///
/// # Errors
/// Every field that is wrong.
pub fn read_products(definition: &Value) -> Result<Vec<Product>, Vec<FieldError>> {
    if definition.get("products").is_none() {
        return Product::read(definition, None).map(|product| vec![product]);
    }
    let report = Report::default();
    let products = Object::open(&report, "", definition, &["products"]).map(|object| read_list(&object));
    report.finish(products)
}

/// Reads the list `products` of a definition.
pub(super) fn read_list(object: &Object<'_>) -> Vec<Product> {
    let mut products: Vec<Product> = Vec::new();
    for (path, value) in object.list("products", PRODUCTS_MAX) {
        let Some(product) = Product::read_at(object.report, &path, value, None) else { continue };
        if products.iter().any(|other| other.sku == product.sku) {
            object.report.add(format!("{path}.sku"), "is given twice; each product may be given once");
        }
        products.push(product);
    }
    products
}

fn image_url(object: &Object<'_>, value: &Value) -> Option<String> {
    let url = object.text("image_url", value, 1..=2000, false)?;
    // A page will show it: a script address must not pass.
    if !["https://", "http://", "/"].iter().any(|start| url.starts_with(start)) {
        object.fault("image_url", "must begin with https://, http:// or /");
        return None;
    }
    Some(url)
}
