//! `/admin/v1/products`.

use serde_json::json;

use super::query::PageQuery;
use super::{AdminError, AdminReply, AdminState};
use crate::catalogue::{FieldError, Product, Sku, StoreError, read_json};

/// `GET /admin/v1/products`
pub(super) async fn list(state: &AdminState, query: Option<&str>) -> Result<AdminReply, AdminError> {
    let query = PageQuery::<Sku>::read(query)?;
    let page = state.store.list_products(query.after.as_ref(), query.limit).await?;
    Ok(AdminReply::ok(json!({ "products": page.rows, "next": page.next })))
}

/// `GET /admin/v1/products/{sku}`
pub(super) async fn get(state: &AdminState, sku: &str) -> Result<AdminReply, AdminError> {
    let Ok(sku) = sku.parse::<Sku>() else { return Err(AdminError::no_route()) };
    read(state, &sku, 200).await
}

/// `PUT /admin/v1/products/{sku}`: 201 for a new product, 200 for a known one.
pub(super) async fn put(state: &AdminState, sku: &str, body: &[u8]) -> Result<AdminReply, AdminError> {
    let sku: Sku = sku.parse().map_err(|error| {
        AdminError::InvalidDefinition(vec![FieldError { field: "sku".into(), message: format!("{error}") }])
    })?;
    let product = Product::read(&read_json(body)?, Some(&sku))?;
    // Of two clients that put the same new product at once, both may hear 201; that harms nobody.
    let status = match state.store.get_product(&sku).await {
        Ok(_) => 200,
        Err(StoreError::NoSuchProduct(_)) => 201,
        Err(error) => return Err(error.into()),
    };
    state.store.upsert_product(&product).await?;
    read(state, &sku, status).await
}

async fn read(state: &AdminState, sku: &Sku, status: u16) -> Result<AdminReply, AdminError> {
    let body = serde_json::to_value(state.store.get_product(sku).await?)?;
    let location = (status == 201).then(|| format!("/admin/v1/products/{sku}"));
    Ok(AdminReply { status, location, body })
}
