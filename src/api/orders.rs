//! `GET /v1/orders/{id}` and `GET /v1/buyers/me/orders`

use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

use super::{Api, QUERY_MAX, outcome, prefer};
use crate::buyer::BuyerId;
use crate::claim::ClaimError;
use crate::gate::Gate;
use crate::http::{Body, Problem, ProblemKind, json};
use crate::live::OrderStatus;
use crate::log::{LogEntry, OrderEntry, RawEntry, read_entry};
use crate::order::OrderState;
use crate::order_id::OrderId;
use crate::postgres::{PgError, within};
use crate::redis::Keys;

const ORDER: &str = include_str!("../../sql/api/order.sql");
const ORDERS_OF_BUYER: &str = include_str!("../../sql/api/orders_of_buyer.sql");
const DEAD_LETTER: &str = "SELECT fields FROM dead_letters WHERE partition = $1 AND entry_ms = $2 AND entry_seq = $3 AND ended_at IS NULL";
/// Orders on a page.
const PAGE_DEFAULT: i64 = 20;
const PAGE_MAX: i64 = 100;

#[derive(Serialize)]
pub(super) struct OrderView {
    id: OrderId,
    sale: String,
    #[serde(flatten)]
    status: OrderStatus,
    items: serde_json::Value,
    accepted_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// How it is paid for, where its sale asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    /// The order that the money came too late for this one belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<OrderId>,
}

impl OrderView {
    /// Where the order stands.
    pub fn status(self) -> OrderStatus {
        self.status
    }
}

#[derive(Serialize)]
struct OrdersPage {
    orders: Vec<OrderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One order of the buyer who asks, with its outcome where the client would wait for it.
pub(super) async fn show(api: &Api, id: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let buyer = api.identity.of(headers)?;
    let id: OrderId = id.parse().map_err(|_| ProblemKind::NotFound)?;
    let order = find(api, id, &buyer).await?;
    let Some(wait) = prefer::wait(headers, api.options.wait_max) else { return Ok(respond(&order)) };
    if order.status.state.is_final() {
        return Ok(prefer::applied(respond(&order), wait));
    }
    let Some(_place) = outcome::place(api) else { return Ok(respond(&order)) };
    let order = match outcome::wait_for(api, id, order.status.clone(), wait).await {
        // Whole: lines that are stored have a price.
        Some(_) => find(api, id, &buyer).await.unwrap_or(order),
        None => order,
    };
    Ok(prefer::applied(respond(&order), wait))
}

/// One order that is known to be in Postgres.
pub(super) async fn show_stored(api: &Api, id: OrderId, buyer: &BuyerId) -> Result<Response<Body>, Problem> {
    match from_postgres(api, id, buyer).await {
        Ok(Some(order)) => Ok(respond(&order)),
        _ => Err(ProblemKind::Unavailable.into()),
    }
}

/// An order of a buyer: from Postgres, else from the log.
pub(super) async fn find(api: &Api, id: OrderId, buyer: &BuyerId) -> Result<OrderView, Problem> {
    let gate = api.gate(id.partition()).ok_or(ProblemKind::NotFound)?;
    let persisted = from_postgres(api, id, buyer).await;
    if let Ok(Some(order)) = persisted {
        return Ok(order);
    }
    match (from_log(api, gate, id, buyer).await, persisted) {
        (Ok(Some(order)), _) => Ok(order),
        // Only where both have answered, and the log is the one that was opened, is it certain that there is none.
        (Ok(None), Ok(_)) if gate.open().is_some() => Err(ProblemKind::NotFound.into()),
        (log, postgres) => {
            tracing::warn!(%id, log = ?log.err(), postgres = ?postgres.err(), "an order cannot be looked up");
            Err(ProblemKind::Unavailable.into())
        }
    }
}

/// A page of the buyer's orders, newest first. `?limit=` and `?before=` an order id.
pub(super) async fn list(api: &Api, query: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let buyer = api.identity.of(headers)?;
    let page = PageQuery::parse(query)?;
    let orders = page_of_orders(api, &buyer, &page).await.map_err(|error| {
        tracing::warn!(%error, "a buyer's orders cannot be read");
        ProblemKind::Unavailable
    })?;
    let full = orders.len() as i64 == page.limit;
    let next = orders
        .last()
        .filter(|_| full)
        .map(|last| format!("/v1/buyers/me/orders?limit={}&before={}", page.limit, last.id));
    Ok(respond(&OrdersPage { orders, next }))
}

struct PageQuery {
    limit: i64,
    before: Option<OrderId>,
}

impl PageQuery {
    fn parse(query: &str) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(ProblemKind::MalformedRequest).with_detail(detail);
        let mut page = Self { limit: PAGE_DEFAULT, before: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("limit", n)) => {
                    let limit = n.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
                    page.limit = limit.ok_or_else(|| malformed(format!("limit must be 1 to {PAGE_MAX}")))?;
                }
                Some(("before", id)) => {
                    page.before = Some(id.parse().map_err(|error| malformed(format!("before: {error}")))?);
                }
                _ => return Err(malformed("the parameters are limit and before".to_owned())),
            }
        }
        Ok(page)
    }
}

async fn page_of_orders(api: &Api, buyer: &BuyerId, page: &PageQuery) -> Result<Vec<OrderView>, PgError> {
    let before = page.before.map(OrderId::to_uuid);
    let query = async {
        let db = api.pool.get().await?;
        let statement = db.prepare_cached(ORDERS_OF_BUYER).await?;
        let rows = db.query(&statement, &[&buyer.as_str(), &before, &page.limit]).await?;
        Ok(rows.iter().map(view_of_row).collect())
    };
    within(QUERY_MAX, query).await
}

/// An order that is stored, or that waits among the dead letters: the buyer is told that it was accepted.
async fn from_postgres(api: &Api, id: OrderId, buyer: &BuyerId) -> Result<Option<OrderView>, PgError> {
    let query = async {
        let db = api.pool.get().await?;
        let statement = db.prepare_cached(ORDER).await?;
        if let Some(row) = db.query_opt(&statement, &[&id.to_uuid(), &buyer.as_str()]).await? {
            return Ok(Some(view_of_row(&row)));
        }
        let statement = db.prepare_cached(DEAD_LETTER).await?;
        let (partition, entry) = (id.partition().to_sql(), id.entry());
        let row = db.query_opt(&statement, &[&partition, &entry.ms_sql(), &entry.seq_sql()]).await?;
        Ok(row.and_then(|row| view_of_raw(id, &RawEntry::from_fields(entry, row.get(0)), buyer)))
    };
    within(QUERY_MAX, query).await
}

fn view_of_row(row: &Row) -> OrderView {
    let id = OrderId::from_uuid(row.get(0));
    OrderView {
        id,
        sale: row.get(1),
        status: OrderStatus {
            // The column's CHECK allows no other word.
            state: row.get::<_, &str>(2).parse().unwrap_or(OrderState::Pending),
            cancel_reason: row.get(3),
            was_pending: row.get(8),
        },
        items: row.get(4),
        accepted_at: id.accepted_at(),
        expires_at: row.get(5),
        payment: row.get(6),
        moved_to: row.get::<_, Option<uuid::Uuid>>(7).map(OrderId::from_uuid),
    }
}

/// An order that is in the log alone. To show it is to say that it was accepted, so it has to be held by whatever a claim's
/// answer would wait for.
async fn from_log(
    api: &Api,
    gate: &Gate,
    id: OrderId,
    buyer: &BuyerId,
) -> Result<Option<OrderView>, ClaimError> {
    let keys = Keys::new(id.partition());
    let view = |raw: &RawEntry| view_of_raw(id, raw, buyer);
    let entry = match &api.replicas {
        None => read_entry(&api.redis, &keys, id.entry()).await?,
        Some(replicas) => {
            let scripts = gate.open().ok_or(ClaimError::Fenced)?;
            replicas.read_entry(&scripts, &keys, id.entry(), |raw| view(raw).is_some()).await?
        }
    };
    Ok(entry.as_ref().and_then(view))
}

/// What an entry says of this very order, if it is this buyer's.
fn view_of_raw(id: OrderId, raw: &RawEntry, buyer: &BuyerId) -> Option<OrderView> {
    match raw.decode() {
        Ok(LogEntry::Order(order)) if order.mark == id.mark() && order.buyer == *buyer => {
            Some(view_of_entry(id, &order))
        }
        _ => None,
    }
}

fn view_of_entry(id: OrderId, order: &OrderEntry) -> OrderView {
    let item = |(sku, quantity): &(_, _)| serde_json::json!({ "sku": sku, "quantity": quantity });
    OrderView {
        id,
        sale: order.sale.as_str().to_owned(),
        status: OrderStatus::ACCEPTED,
        items: order.lines.iter().map(item).collect(),
        accepted_at: id.accepted_at(),
        expires_at: None,
        payment: None,
        moved_to: None,
    }
}

fn respond(view: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(view) {
        Ok(body) => json(StatusCode::OK, body),
        Err(_) => Problem::new(ProblemKind::Internal).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded() {
        let page = PageQuery::parse("").unwrap();
        assert_eq!((page.limit, page.before), (PAGE_DEFAULT, None));
        assert_eq!(PageQuery::parse("limit=100").unwrap().limit, 100);
        assert!(PageQuery::parse("before=01KAJ3V2PC00000001ZZZZZZZZ").unwrap().before.is_some());
        for bad in ["limit=0", "limit=101", "limit=x", "before=x", "page=2", "limit"] {
            assert!(PageQuery::parse(bad).is_err(), "{bad}");
        }
    }
}
