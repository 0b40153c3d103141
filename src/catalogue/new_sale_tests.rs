#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde_json::json;

use super::*;
use crate::catalogue::read_toml;

fn good() -> Value {
    json!({
        "id": "demo", "name": "Demo",
        "opens_at": "2026-11-27T09:00:00Z", "closes_at": "2026-11-27T11:00:00+01:00",
        "items": [
            {"sku": "TEE", "price": 1999, "currency": "EUR", "stock": 100, "per_buyer_limit": 2},
            {"sku": "MUG", "stock": 5}
        ],
        "products": [{"sku": "MUG", "name": "Mug", "price": 500, "currency": "EUR"}]
    })
}

fn errors(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let mut definition = good();
    change(&mut definition);
    NewSale::read(&definition)
        .expect_err("must be refused")
        .into_iter()
        .map(|error| (error.field, error.message))
        .collect()
}

/// The only error is at `field` and says `text`.
#[track_caller]
fn refused(field: &str, text: &str, change: impl FnOnce(&mut Value)) {
    let errors = errors(change);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].0, field, "{errors:?}");
    assert!(errors[0].1.contains(text), "{errors:?}");
}

#[test]
fn a_good_definition_is_read_whole() {
    let mut definition = good();
    definition["closes_at"] = json!("2026-11-27T12:00:00.1239+01:00");
    let sale = NewSale::read(&definition).unwrap();
    assert_eq!(sale.id.as_str(), "demo");
    assert_eq!(sale.closes_at.to_string(), "2026-11-27T11:00:00.123Z", "UTC, whole milliseconds");
    assert_eq!((sale.payment, sale.hold_s), (PaymentPolicy::None, None));
    assert_eq!(sale.buyer_cancel, BuyerCancel::Pending);
    assert_eq!(sale.items[0].price, Some(1999));
    assert_eq!(sale.items[0].per_buyer_limit, Some(2));
    assert_eq!((sale.items[1].price, sale.items[1].currency), (None, None));
    assert_eq!(sale.products.len(), 1);
}

#[test]
fn toml_gives_the_same_sale() {
    let toml = r#"
        id = "demo"
        name = "Demo"
        opens_at = 2026-11-27T09:00:00Z
        closes_at = 2026-11-27T12:00:00+01:00
        [[items]]
        sku = "TEE"
        price = 1999
        currency = "EUR"
        stock = 100
        per_buyer_limit = 2
        [[items]]
        sku = "MUG"
        stock = 5
        [[products]]
        sku = "MUG"
        name = "Mug"
        price = 500
        currency = "EUR"
    "#;
    let mut definition = good();
    definition["closes_at"] = json!("2026-11-27T12:00:00+01:00");
    assert_eq!(NewSale::read(&read_toml(toml).unwrap()), NewSale::read(&definition));
}

#[test]
fn each_mistake_names_its_field() {
    // The fixture itself closes at 10:00Z, an hour after it opens.
    refused("id", "a sale id is", |sale| sale["id"] = json!("Demo!"));
    refused("name", "is required", |sale| sale["name"] = json!(null));
    refused("name", "1 to 200", |sale| sale["name"] = json!(""));
    refused("name", "control", |sale| sale["name"] = json!("a\u{0}b"));
    refused("opens_at", "RFC 3339", |sale| sale["opens_at"] = json!("tomorrow"));
    refused("opens_at", "offset", |sale| sale["opens_at"] = json!("2026-11-27T09:00:00"));
    refused("closes_at", "RFC 3339", |sale| sale["closes_at"] = json!(1_800_000_000));
    refused("closes_at", "after opens_at", |sale| sale["closes_at"] = sale["opens_at"].clone());
    refused("payment", "none, gateway", |sale| sale["payment"] = json!("cash"));
    refused("hold_s", "needs a payment", |sale| sale["hold_s"] = json!(60));
    refused("buyer_cancel", "until_close", |sale| sale["buyer_cancel"] = json!("always"));
    for bad in [json!(0), json!(2_592_001), json!("60")] {
        refused("hold_s", "2592000", |sale| {
            sale["payment"] = json!("gateway");
            sale["hold_s"] = bad;
        });
    }
    refused("items", "is required", |sale| sale["items"] = json!(null));
    refused("items", "at least one", |sale| sale["items"] = json!([]));
    refused("items", "must be a list", |sale| sale["items"] = json!({"sku": "A"}));
    refused("items[1]", "must be an object", |sale| sale["items"][1] = json!("MUG"));
    refused("items", "at most 1000", |sale| {
        sale["items"] = (0..1001).map(|n| json!({"sku": format!("S{n}"), "stock": 1})).collect();
    });
    refused("products[0].currency", "ISO 4217", |sale| sale["products"][0]["currency"] = json!("EURO"));
    refused("products[0].price", "minor units, e.g. 1999 for 19.99", |sale| {
        sale["products"][0]["price"] = json!(5.0);
    });
    refused("products[0].image_url", "https://", |sale| {
        sale["products"][0]["image_url"] = json!("javascript:alert(1)");
    });
}

#[test]
fn each_mistake_in_an_item_names_the_item() {
    for stock in [json!(0), json!(-1), json!(1_000_000_000_001_i64), json!(1.5), json!("7")] {
        refused("items[1].stock", "from 1 to 1000000000000", |sale| sale["items"][1]["stock"] = stock);
    }
    for price in [json!(19.99), json!(1999.0), json!("19.99"), json!("1999"), json!(true)] {
        refused("items[0].price", "minor units, e.g. 1999 for 19.99", |sale| {
            sale["items"][0]["price"] = price
        });
    }
    refused("items[0].price", "negative", |sale| sale["items"][0]["price"] = json!(-1));
    refused("items[0].price", "above", |sale| sale["items"][0]["price"] = json!(i64::MAX));
    refused("items[0].currency", "ISO 4217", |sale| sale["items"][0]["currency"] = json!("XYZ"));
    refused("items[1].currency", "needs a price", |sale| sale["items"][1]["currency"] = json!("EUR"));
    refused("items[0].per_buyer_limit", "units", |sale| sale["items"][0]["per_buyer_limit"] = json!(0));
    refused("items[1].sku", "items[0]", |sale| sale["items"][1]["sku"] = json!("TEE"));
    refused("items[1].sku", "a SKU is", |sale| sale["items"][1]["sku"] = json!("a b"));
}

#[test]
fn an_unknown_field_is_refused_with_a_suggestion() {
    refused("items[1].stok", "did you mean \"stock\"?", |sale| sale["items"][1]["stok"] = json!(1));
    refused("colour", "known are", |sale| sale["colour"] = json!("red"));
}

#[test]
fn all_mistakes_come_at_once() {
    let found = errors(|sale| {
        sale["id"] = json!("");
        sale["closes_at"] = json!("2020-01-01T00:00:00Z");
        sale["items"][0]["price"] = json!(1.5);
        sale["items"][1]["stock"] = json!(-3);
        sale["items"][1]["sku"] = json!("TEE");
        sale["extra"] = json!(1);
    });
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    for field in ["id", "closes_at", "items[0].price", "items[1].stock", "items[1].sku", "extra"] {
        assert!(fields.contains(&field), "{field} is missing in {fields:?}");
    }
}

#[test]
fn a_hopeless_definition_gives_a_bounded_report() {
    let found = errors(|sale| sale["items"] = (0..1000).map(|_| json!({})).collect());
    assert_eq!(found.len(), crate::catalogue::FIELD_ERRORS_MAX);
    assert_eq!(NewSale::read(&json!([])).unwrap_err()[0].field, "(document)");
}
