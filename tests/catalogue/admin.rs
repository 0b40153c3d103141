use std::time::Duration;

use doorbuster::admin::{AdminError, AdminReply, AdminRequest, AdminState, handle};
use doorbuster::order_life::OrderLife;
use doorbuster::webhooks::WebhookStore;
use serde_json::{Value, json};

use crate::{Catalogue, TIMEOUT, definition};

struct Admin {
    catalogue: Catalogue,
    state: AdminState,
}

impl Admin {
    async fn new() -> Self {
        let catalogue = Catalogue::new(2).await;
        let state = AdminState {
            store: catalogue.store.clone(),
            orders: OrderLife::new(catalogue.pool.clone(), TIMEOUT),
            publisher: None,
            webhooks: WebhookStore::new(catalogue.pool.clone(), TIMEOUT),
            publish_wait: Duration::from_millis(50),
        };
        Self { catalogue, state }
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        body: impl Into<String>,
    ) -> Result<AdminReply, AdminError> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let path: Vec<&str> = ["admin", "v1"].into_iter().chain(path.split('/')).collect();
        handle(&self.state, AdminRequest { method, path: &path, query, body: body.into().into() }).await
    }

    async fn json(&self, method: &str, target: &str, body: Value) -> Result<AdminReply, AdminError> {
        self.send(method, target, body.to_string()).await
    }
}

#[tokio::test]
async fn products_are_put_and_read() {
    let admin = Admin::new().await;
    let mug = json!({"name": "Mug", "price": 500, "currency": "EUR"});
    let created = admin.json("PUT", "products/MUG", mug.clone()).await.unwrap();
    assert_eq!((created.status, created.location.as_deref()), (201, Some("/admin/v1/products/MUG")));
    let again = admin.json("PUT", "products/MUG", mug).await.unwrap();
    assert_eq!((again.status, &again.body), (200, &created.body), "nothing changed, not even updated_at");
    assert_eq!(created.body["sku"], "MUG");
    assert_eq!(created.body["price"], 500);
    assert_eq!(created.body["currency"], "EUR");

    let cap = json!({"sku": "CAP", "name": "Cap", "price": 900, "currency": "EUR", "description": "a\nb"});
    admin.json("PUT", "products/CAP", cap).await.unwrap();
    let page = admin.send("GET", "products?limit=1", "").await.unwrap().body;
    assert_eq!((&page["products"][0]["sku"], &page["next"]), (&json!("CAP"), &json!("CAP")));
    let page = admin.send("GET", "products?limit=1&after=CAP", "").await.unwrap().body;
    assert_eq!((&page["products"][0]["sku"], &page["next"]), (&json!("MUG"), &Value::Null));
    assert_eq!(admin.send("GET", "products/MUG", "").await.unwrap().body, created.body);

    let other = json!({"sku": "CAP", "name": "Mug", "price": 5.5, "currency": "EUR"});
    let error = admin.json("PUT", "products/MUG", other).await.unwrap_err();
    let AdminError::InvalidDefinition(errors) = error else { panic!("{error}") };
    assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["sku", "price"]);
}

#[tokio::test]
async fn a_sale_is_created_read_and_controlled() {
    let admin = Admin::new().await;
    let created = admin.json("POST", "sales", definition("demo")).await.unwrap();
    assert_eq!((created.status, created.location.as_deref()), (201, Some("/admin/v1/sales/demo")));
    assert_eq!(created.body["applied"], false, "no worker runs here");
    assert!(created.body["reason"].as_str().unwrap().contains("worker"));
    let sale = &created.body["sale"];
    assert_eq!(sale["status"], "not_yet_open");
    assert_eq!(sale["opens_at"], "2100-01-01T09:00:00Z");
    assert_eq!(sale["items"][0]["allotted"], 10);
    assert_eq!(sale["items"][0]["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(sale["items"][0]["product"]["name"], "Shirt");
    assert_eq!((&sale["items"][1]["price"], &sale["items"][1]["currency"]), (&json!(450), &json!("EUR")));

    assert_eq!(admin.json("POST", "sales", definition("demo")).await.unwrap().status, 200);
    let mut other = definition("demo");
    other["name"] = json!("Other");
    assert!(matches!(admin.json("POST", "sales", other).await, Err(AdminError::Conflict(_))));

    admin.catalogue.execute("UPDATE sale_publications SET version = 9").await;
    let opened = admin.send("POST", "sales/demo/open", "").await.unwrap().body;
    assert_eq!((&opened["applied"], &opened["sale"]["status"]), (&json!(true), &json!("open")));
    assert!(opened.get("reason").is_none());
    admin.send("POST", "sales/demo/close", "").await.unwrap();
    let error = admin.send("POST", "sales/demo/resume", "").await.unwrap_err();
    assert!(matches!(&error, AdminError::Conflict(why) if why.contains("final")), "{error}");

    let list = admin.send("GET", "sales", "").await.unwrap().body;
    assert_eq!((&list["sales"][0]["id"], &list["sales"][0]["allotted"]), (&json!("demo"), &json!(13)));
    assert_eq!(list["sales"][0]["status"], "closed");
    assert_eq!(admin.send("GET", "sales/demo", "").await.unwrap().body["sale"]["control"], "closed");
}

#[tokio::test]
async fn a_bad_request_gets_its_own_error() {
    let admin = Admin::new().await;
    let mut bad = definition("demo");
    bad["items"][0]["stock"] = json!(-1);
    bad["items"][1]["price"] = json!("4.50");
    let error = admin.json("POST", "sales", bad).await.unwrap_err();
    let AdminError::InvalidDefinition(errors) = error else { panic!("{error}") };
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["items[0].stock", "items[1].price"]);

    for (method, target) in [("GET", "sales/nobody"), ("POST", "sales/nobody/open"), ("GET", "products/NO")] {
        let error = admin.send(method, target, "").await.unwrap_err();
        assert!(matches!(&error, AdminError::NotFound(why) if why.starts_with("there is no")), "{error}");
    }
    for target in ["", "orders", "sales/demo/explode", "sales/a/b/c", "sales/No!", "products/a b"] {
        let error = admin.send("GET", target, "").await.unwrap_err();
        assert!(matches!(error, AdminError::NotFound(_)), "{target}: {error}");
    }
    for (method, target) in [("DELETE", "sales"), ("PUT", "sales/demo"), ("GET", "sales/demo/open")] {
        let error = admin.send(method, target, "").await.unwrap_err();
        assert!(matches!(error, AdminError::MethodNotAllowed { .. }), "{target}: {error}");
    }
    for body in ["", "{", "id = 'demo'"] {
        let error = admin.send("POST", "sales", body).await.unwrap_err();
        assert!(matches!(error, AdminError::Malformed(_)), "{body}: {error}");
    }
    let error = admin.send("GET", "sales?page=2", "").await.unwrap_err();
    assert!(matches!(error, AdminError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn an_allotment_is_adjusted_by_a_delta_once_for_each_key() {
    let admin = Admin::new().await;
    admin.json("POST", "sales", definition("demo")).await.unwrap();
    let more = json!({"sku": "TEE", "delta": 5, "key": "k-1", "reason": "more came", "actor": "ada"});
    for _ in 0..2 {
        let adjusted = admin.json("POST", "sales/demo/adjust", more.clone()).await.unwrap();
        // Nobody tells Redis here.
        let wanted = json!({"applied": 0, "refused": 0, "pending": 5});
        assert_eq!((adjusted.status, &adjusted.body["adjusted"]), (200, &wanted));
        assert_eq!(adjusted.body["sale"]["items"][0]["allotted"], 15);
    }
    let partitions = "SELECT count(*) FROM sale_stock WHERE sku = 'TEE' AND allotted IN (8, 7)";
    assert_eq!(admin.catalogue.number(partitions).await, 2, "split over both, the remainder to the first");
    // The file that made the sale is still the same definition.
    assert_eq!(admin.json("POST", "sales", definition("demo")).await.unwrap().status, 200);
    for (field, bad) in [
        ("delta", json!(0)),
        ("delta", json!(1_000_000_000_001_i64)),
        ("key", json!("a b")),
        ("reason", json!("")),
        ("sku", json!("a b")),
        ("more", json!(1)),
    ] {
        let mut body = more.clone();
        body[field] = bad;
        let refused = admin.json("POST", "sales/demo/adjust", body).await;
        assert!(matches!(refused, Err(AdminError::Malformed(_))), "{field}: {refused:?}");
    }
    for (field, other) in [("delta", json!(6)), ("sku", json!("MUG"))] {
        let mut body = more.clone();
        body[field] = other;
        let refused = admin.json("POST", "sales/demo/adjust", body).await;
        assert!(matches!(refused, Err(AdminError::Conflict(_))), "{field}: {refused:?}");
    }
    let far = json!({"sku": "TEE", "delta": -16, "key": "k-2", "reason": "x"});
    assert!(matches!(admin.json("POST", "sales/demo/adjust", far).await, Err(AdminError::Conflict(_))));
    admin.catalogue.execute("UPDATE sales SET retired_at = now()").await;
    let late = json!({"sku": "TEE", "delta": 1, "key": "k-3", "reason": "x"});
    assert!(matches!(admin.json("POST", "sales/demo/adjust", late).await, Err(AdminError::Conflict(_))));
}
