//! `/admin/v1/sales`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::PageQuery;
use super::who::Who;
use super::{AdminError, AdminReply, AdminState};
use crate::catalogue::{
    Adjustment, ControlAction, ControlChange, Created, FieldError, NewSale, Publication, SaleId,
    adjustment_delta, read_json,
};

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
    publish(state).await;
    let publication = state.store.wait_sellable(&new.id, created.version(), state.publish_wait).await;
    let body = changed(state, &new.id, publication).await?;
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
    publish(state).await;
    let publication = state.store.wait_published(&id, sale.version, state.publish_wait).await;
    Ok(AdminReply::ok(changed(state, &id, publication).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdjustBody {
    sku: String,
    delta: i64,
    key: String,
    reason: String,
    actor: Option<String>,
}

/// `POST /admin/v1/sales/{id}/adjust`, with `{"sku": "…", "delta": -5, "key": "…", "reason": "…", "actor": "…"}`. The same
/// key again changes nothing.
pub(super) async fn adjust(state: &AdminState, id: &str, body: &[u8]) -> Result<AdminReply, AdminError> {
    let sale = sale_id(id)?;
    let body: AdjustBody = serde_json::from_slice(body).map_err(|error| {
        let form = r#"{"sku":"…","delta":-5,"key":"…","reason":"…","actor":"…"}"#;
        AdminError::Malformed(format!("{error}; send {form}"))
    })?;
    let who = Who::read(body.actor.as_deref(), &body.reason)?;
    let asked = Adjustment {
        sku: body.sku.parse().map_err(|error| AdminError::Malformed(format!("sku: {error}")))?,
        delta: adjustment_delta(body.delta).map_err(|why| AdminError::Malformed(format!("delta {why}")))?,
        key: body.key.parse().map_err(|error| AdminError::Malformed(format!("key: {error}")))?,
        sale,
        actor: who.actor,
        reason: who.reason,
    };
    let adjusted = state.store.adjust(&asked, state.publish_wait).await?;
    if adjusted.refused == asked.delta {
        let detail = format!("the units of {} are sold by now: nothing was taken away", asked.sku);
        return Err(AdminError::Conflict(detail));
    }
    Ok(AdminReply::ok(json!({ "adjusted": adjusted, "sale": view(state, &asked.sale).await? })))
}

async fn publish(state: &AdminState) {
    if let Some(publisher) = &state.publisher {
        publisher.publish().await;
    }
}

/// The sale after a change, and whether the change has reached every partition.
async fn changed(state: &AdminState, id: &SaleId, publication: Publication) -> Result<Value, AdminError> {
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
