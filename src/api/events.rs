//! `GET /v1/sales/{sale}/events` and `GET /v1/orders/{id}/events`: streams of what happens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::{Api, orders};
use crate::http::{Body, Event, Events, Problem, ProblemKind, empty, event_stream};
use crate::live::{OrderStatus, OrderWatch, SaleEvent};
use crate::metrics::Counted;
use crate::order::OrderState;
use crate::order_id::OrderId;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// When a client that found no room is to come back: from this, spread over twice of it.
const NO_ROOM_RETRY_S: u64 = 5;

/// The stock and state of a sale, whenever they change. A client that comes back is sent the state as it is, unless that
/// is what it had last.
pub(super) async fn of_sale(api: &Api, sale: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let room = room(api)?;
    let desk = api.desks.of(sale).await?;
    let mut events = api.sales.watch(desk.definition.clone()).ok_or_else(no_room)?;
    let first = first_event(&mut events).await.ok_or(ProblemKind::Unavailable)?;
    let is_known = last_event_id(headers) == Some(&first.id);
    if first.is_last && is_known {
        return Ok(over());
    }
    let open = (room, Counted::on(&api.metrics.live.sale_streams));
    let stream =
        SaleStream { events, next: (!is_known).then_some(first), due: None, is_over: false, _open: open };
    Ok(event_stream(stream, api.options.heartbeat, api.options.stop.clone()))
}

/// For how long a sample is waited for: a Redis that is away is known sooner.
const FIRST_EVENT_WAIT: Duration = Duration::from_secs(5);

async fn first_event(events: &mut watch::Receiver<Option<SaleEvent>>) -> Option<SaleEvent> {
    let first = tokio::time::timeout(FIRST_EVENT_WAIT, events.wait_for(Option::is_some)).await;
    first.ok()?.ok()?.clone()
}

struct SaleStream {
    events: watch::Receiver<Option<SaleEvent>>,
    next: Option<SaleEvent>,
    /// When the event that has come is sent.
    due: Option<Instant>,
    is_over: bool,
    _open: (OwnedSemaphorePermit, Counted),
}

impl SaleStream {
    /// The newest event, at this watcher's moment. Cancel-safe: the moment is kept.
    async fn newest(&mut self) -> Option<SaleEvent> {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.events.changed().await.ok()?;
                let spread = self.events.borrow_and_update().as_ref()?.spread;
                *self.due.insert(Instant::now() + spread.mul_f64(fastrand::f64()))
            }
        };
        tokio::time::sleep_until(due).await;
        self.due = None;
        self.events.borrow_and_update().clone()
    }
}

impl Events for SaleStream {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let event = match self.next.take() {
            Some(first) => first,
            None => self.newest().await?,
        };
        self.is_over = event.is_last;
        Some(event.bytes)
    }
}

/// The steps of one order of the buyer who asks, to its outcome. A client that comes back is sent those behind the one
/// that it had last.
pub(super) async fn of_order(api: &Api, id: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let buyer = api.identity.of(headers)?;
    let room = room(api)?;
    let id: OrderId = id.parse().map_err(|_| ProblemKind::NotFound)?;
    let known = orders::find(api, id, &buyer).await?.status();
    let told = last_event_id(headers).and_then(|state| state.parse::<OrderState>().ok());
    if known.state.is_final() && told == Some(known.state) {
        return Ok(over());
    }
    let watch = api.orders.watch(id, known);
    let open = (room, Counted::on(&api.metrics.live.order_streams));
    let stream = OrderStream { id, watch, told, _open: open };
    Ok(event_stream(stream, api.options.heartbeat, api.options.stop.clone()))
}

struct OrderStream {
    id: OrderId,
    watch: OrderWatch,
    told: Option<OrderState>,
    _open: (OwnedSemaphorePermit, Counted),
}

impl Events for OrderStream {
    async fn next(&mut self) -> Option<Bytes> {
        if self.told.is_some_and(OrderState::is_final) && self.told >= Some(self.watch.status().state) {
            return None;
        }
        let mut status = self.watch.status();
        // Every order was accepted once, also one that has gone further when the client comes.
        if self.told.is_none() {
            status = OrderStatus::ACCEPTED;
        }
        while self.told >= Some(status.state) {
            status = self.watch.changed().await;
        }
        // What went by faster than anybody looked.
        if status.was_pending && self.told < Some(OrderState::Pending) && self.told.is_some() {
            status = OrderStatus { state: OrderState::Pending, cancel_reason: None, ..status };
        }
        self.told = Some(status.state);
        Some(order_event(self.id, &status))
    }
}

fn order_event(id: OrderId, status: &OrderStatus) -> Bytes {
    let mut data = json!({ "id": id, "state": status.state });
    if let Some(reason) = &status.cancel_reason {
        data["cancel_reason"] = reason.as_str().into();
    }
    if status.state == OrderState::Accepted {
        data["at"] = json!(id.accepted_at());
    }
    Event { id: status.state.as_str(), name: "order", data: &data.to_string() }.encode()
}

/// A place among the streams of this node.
fn room(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&api.streams).try_acquire_owned().map_err(|_| no_room())
}

fn no_room() -> Problem {
    let spread = Duration::from_secs(NO_ROOM_RETRY_S + fastrand::u64(..=2 * NO_ROOM_RETRY_S));
    Problem::new(ProblemKind::TooManyStreams).with_retry_after(spread)
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()
}

/// Told everything: 204 keeps an EventSource from coming back (section 9.2.3 of the specification).
fn over() -> Response<Body> {
    empty(StatusCode::NO_CONTENT)
}
