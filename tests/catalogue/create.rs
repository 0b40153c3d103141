use doorbuster::catalogue::{Created, SaleStatus, StoreError};
use jiff::Timestamp;
use serde_json::json;

use crate::{Catalogue, definition, new_sale};

#[tokio::test]
async fn a_sale_is_created_with_its_stock_split_and_its_intents() {
    let catalogue = Catalogue::new(4).await;
    let created = catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap();
    assert_eq!(created, Created::New(1));

    let id = "demo".parse().unwrap();
    let detail = catalogue.store.get_sale(&id).await.unwrap();
    let stock: Vec<_> =
        detail.stock.iter().map(|row| (row.sku.as_str(), row.partition, row.allotted)).collect();
    let tee = [("TEE", 0, 3), ("TEE", 1, 3), ("TEE", 2, 2), ("TEE", 3, 2)];
    let mug = [("MUG", 0, 1), ("MUG", 1, 1), ("MUG", 2, 1), ("MUG", 3, 0)];
    assert_eq!(stock, [tee, mug].concat());
    assert_eq!(detail.published_version, 0);
    assert_eq!(catalogue.number("SELECT count(*) FROM sale_publications WHERE version = 0").await, 4);

    let client = catalogue.pool.get().await.unwrap();
    let intents = "SELECT cause, lines, kind, reason, actor FROM stock_intents ORDER BY sequence";
    let intents = client.query(intents, &[]).await.unwrap();
    let intents: Vec<(String, serde_json::Value)> =
        intents.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("allotment:demo:0".to_owned(), json!({"TEE": 3, "MUG": 1})),
        ("allotment:demo:1".to_owned(), json!({"TEE": 3, "MUG": 1})),
        ("allotment:demo:2".to_owned(), json!({"TEE": 2, "MUG": 1})),
        ("allotment:demo:3".to_owned(), json!({"TEE": 2})),
    ];
    assert_eq!(intents, expected, "no line of 0 units");

    let loaded = catalogue.store.load_definition(&id).await.unwrap().unwrap();
    assert_eq!(*loaded, detail.definition);
    assert_eq!(loaded.item("TEE").unwrap().price.to_string(), "19.99 EUR", "the product's own price");
    let mug = loaded.item("MUG").unwrap();
    assert_eq!((mug.price.to_string().as_str(), mug.product.name.as_str()), ("4.50 EUR", "Mug"));
    assert!(loaded.item("CAP").is_none());
    assert_eq!(loaded.sale.window.status(Timestamp::now()), SaleStatus::NotYetOpen);
    assert!(catalogue.store.load_definition(&"other".parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_partition_without_units_has_no_intent() {
    let catalogue = Catalogue::new(4).await;
    let mut one = definition("one");
    one["items"] = json!([{"sku": "TEE", "stock": 1}]);
    catalogue.store.create_sale(&new_sale(&one), "test").await.unwrap();
    assert_eq!(catalogue.number("SELECT count(*) FROM sale_stock").await, 4);
    assert_eq!(catalogue.number("SELECT count(*) FROM stock_intents").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_definition_again_changes_nothing() {
    let catalogue = Catalogue::new(2).await;
    let sale = new_sale(&definition("demo"));
    let attempts = (0..8).map(|_| {
        let (store, sale) = (catalogue.store.clone(), sale.clone());
        tokio::spawn(async move { store.create_sale(&sale, "test").await })
    });
    let mut new = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        new += usize::from(attempt.await.unwrap().unwrap() == Created::New(1));
    }
    assert_eq!(new, 1);
    assert_eq!(catalogue.number("SELECT count(*) FROM stock_intents").await, 2);
    assert_eq!(catalogue.number("SELECT sum(allotted)::bigint FROM sale_stock").await, 13);

    // A product's new price changes no sale, and does not make its definition another one.
    catalogue.execute("UPDATE products SET price = 1 WHERE sku = 'TEE'").await;
    assert_eq!(catalogue.store.create_sale(&sale, "test").await.unwrap(), Created::Unchanged(1));
    let price = "SELECT price FROM products WHERE sku = 'TEE'";
    assert_eq!(catalogue.number(price).await, 1, "products of an unchanged sale are not touched");
}

#[tokio::test]
async fn another_definition_of_the_same_id_is_a_conflict_that_says_where() {
    let catalogue = Catalogue::new(2).await;
    catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap();
    let mut other = definition("demo");
    other["name"] = json!("Other");
    other["items"][0]["stock"] = json!(11);
    other["items"][1]["price"] = json!(451);
    let error = catalogue.store.create_sale(&new_sale(&other), "test").await.unwrap_err();
    let StoreError::SaleDiffers { different, .. } = &error else { panic!("{error}") };
    assert_eq!(different, &["name", "items[0].stock", "items[1].price"]);

    let mut shorter = definition("demo");
    shorter["items"].as_array_mut().unwrap().pop();
    let error = catalogue.store.create_sale(&new_sale(&shorter), "test").await.unwrap_err();
    assert!(error.to_string().contains("different: items)"), "{error}");
}

#[tokio::test]
async fn a_missing_product_names_its_item_and_leaves_nothing() {
    let catalogue = Catalogue::new(1).await;
    let mut sale = definition("demo");
    sale["products"].as_array_mut().unwrap().pop();
    let error = catalogue.store.create_sale(&new_sale(&sale), "test").await.unwrap_err();
    let StoreError::Invalid(errors) = error else { panic!("{error}") };
    assert_eq!((errors.len(), errors[0].field.as_str()), (1, "items[1].sku"));
    assert_eq!(catalogue.number("SELECT count(*) FROM sales").await, 0);
    assert_eq!(catalogue.number("SELECT count(*) FROM products").await, 0);
}

#[tokio::test]
async fn a_sale_that_is_paid_for_has_one_currency() {
    let catalogue = Catalogue::new(1).await;
    let mut sale = definition("mixed");
    sale["items"][0]["price"] = json!(100);
    sale["items"][0]["currency"] = json!("USD");
    catalogue.store.create_sale(&new_sale(&sale), "test").await.unwrap();
    sale["id"] = json!("paid");
    sale["payment"] = json!("gateway");
    let refused = catalogue.store.create_sale(&new_sale(&sale), "test").await.unwrap_err();
    assert!(refused.to_string().contains("items: have prices in EUR, USD"), "{refused}");
    assert_eq!(catalogue.number("SELECT count(*) FROM sales").await, 1, "nothing of it stays");
}

#[tokio::test]
async fn a_database_without_partitions_takes_no_sale() {
    let catalogue = Catalogue::new(1).await;
    catalogue.execute("DELETE FROM partitions").await;
    let error = catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap_err();
    assert!(matches!(error, StoreError::NoPartitions), "{error}");
}

#[tokio::test]
async fn a_large_sale_fits() {
    let catalogue = Catalogue::new(64).await;
    let mut sale = definition("large");
    sale["items"] = (0..1000).map(|n| json!({"sku": format!("S{n}"), "stock": n + 1})).collect();
    sale["products"] = (0..1000)
        .map(|n| json!({"sku": format!("S{n}"), "name": "x", "price": n, "currency": "JPY"}))
        .collect();
    catalogue.store.create_sale(&new_sale(&sale), "test").await.unwrap();
    assert_eq!(catalogue.number("SELECT count(*) FROM sale_stock").await, 64_000);
    assert_eq!(catalogue.number("SELECT sum(allotted)::bigint FROM sale_stock").await, 500_500);
    let again = catalogue.store.create_sale(&new_sale(&sale), "test").await.unwrap();
    assert_eq!(again, Created::Unchanged(1));
}

#[tokio::test]
async fn what_a_sale_asks_for_is_kept_and_part_of_its_definition() {
    let catalogue = Catalogue::new(1).await;
    let mut held = definition("held");
    held["payment"] = json!("gateway");
    held["buyer_cancel"] = json!("until_close");
    catalogue.store.create_sale(&new_sale(&held), "test").await.unwrap();
    let sale = catalogue.store.load_definition(&"held".parse().unwrap()).await.unwrap().unwrap();
    let sale = serde_json::to_value(&sale.sale).unwrap();
    assert_eq!((&sale["payment"], &sale["hold_s"]), (&json!("gateway"), &json!(900)));
    assert_eq!(sale["buyer_cancel"], "until_close");
    held["hold_s"] = json!(60);
    held["buyer_cancel"] = json!("never");
    let error = catalogue.store.create_sale(&new_sale(&held), "test").await.unwrap_err();
    assert!(error.to_string().contains("different: hold_s, buyer_cancel)"), "{error}");
}
