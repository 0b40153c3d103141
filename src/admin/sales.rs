//! `/admin/v1/sales`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::query::PageQuery;
use super::{AdminError, AdminReply, AdminState};
use crate::catalogue::{ControlAction, ControlChange, Created, FieldError, NewSale, SaleId, read_json};

/// Who is written into the stock's history. The token does not tell people apart.
const ACTOR: &str = "admin-api";
/// Characters of a reason.
pub(crate) const REASON_MAX: usize = 500;

/// `GET /admin/v1/sales`
pub(super) async fn list(state: &AdminState, query: Option<&str>) -> Result<AdminReply, AdminError> {
    let query = PageQuery::<SaleId>::read(query)?;
    let page = state.store.list_sales(query.after.as_ref(), query.limit, true).await?;
    let now = Timestamp::now();
    let sales: Vec<_> = page.rows.iter().map(|sale| sale.view(now)).collect();
    Ok(AdminReply::ok(json!({ "sales": sales, "next": page.next })))
}

/// `GET /admin/v1/sales/{id}`
pub(super) async fn get(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    let id = sale_id(id)?;
    let (sale, events) = (view(state, &id).await?, state.store.sale_events(&id).await?);
    Ok(AdminReply::ok(json!({ "sale": sale, "events": events })))
}

/// `POST /admin/v1/sales`: 201 for a new sale, 200 where it exists with the same definition.
pub(super) async fn create(state: &AdminState, body: &[u8]) -> Result<AdminReply, AdminError> {
    let new = NewSale::read(&read_json(body)?)?;
    let created = state.store.create_sale(&new, ACTOR).await?;
    let body = changed(state, &new.id, created.version()).await?;
    let status = if matches!(created, Created::New(_)) { 201 } else { 200 };
    Ok(AdminReply { status, location: Some(format!("/admin/v1/sales/{}", new.id)), body })
}

/// `POST /admin/v1/sales/{id}/open|pause|resume|close`, with nothing or `{"reason": "..."}`
pub(super) async fn control(
    state: &AdminState,
    id: &str,
    action: ControlAction,
    body: &[u8],
) -> Result<AdminReply, AdminError> {
    let id = sale_id(id)?;
    let reason = read_reason(body)?;
    let redis_now = match &state.publisher {
        Some(publisher) => publisher.time().await,
        None => None,
    };
    let change = ControlChange { action, actor: ACTOR, reason: reason.as_deref(), redis_now };
    let sale = state.store.set_control(&id, change).await?;
    Ok(AdminReply::ok(changed(state, &id, sale.version).await?))
}

/// The sale after a change, and whether the change has reached every partition.
async fn changed(state: &AdminState, id: &SaleId, version: i64) -> Result<Value, AdminError> {
    if let Some(publisher) = &state.publisher {
        publisher.publish().await;
    }
    let publication = state.store.wait_published(id, version, state.publish_wait).await;
    let mut body = json!({ "sale": view(state, id).await?, "applied": publication.applied });
    if let Some(reason) = publication.reason {
        body["reason"] = reason.into();
    }
    Ok(body)
}

async fn view(state: &AdminState, id: &SaleId) -> Result<Value, AdminError> {
    Ok(serde_json::to_value(state.store.get_sale(id).await?.view(Timestamp::now()))?)
}

fn read_reason(body: &[u8]) -> Result<Option<String>, AdminError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |message: &str| FieldError { field: "reason".into(), message: message.into() };
    match &read_json(body)?["reason"] {
        Value::Null => Ok(None),
        Value::String(reason) if reason.chars().count() <= REASON_MAX && !reason.contains('\0') => {
            Ok(Some(reason.clone()))
        }
        _ => Err(AdminError::InvalidDefinition(vec![wrong("must be a text of at most 500 characters")])),
    }
}

fn sale_id(text: &str) -> Result<SaleId, AdminError> {
    text.parse().map_err(|_| AdminError::no_route())
}
