//! The admin API: what an operator does over HTTP. It knows nothing of sockets, tokens or problem
//! documents; the HTTP shell asks [`handle`] and writes what it answers.

mod door;
mod error;
mod orders;
mod products;
mod query;
mod sales;
mod webhooks;
mod who;

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

pub use door::{AdminDoor, BODY_MAX_BYTES, PUBLISH_WAIT, serve};
pub use error::AdminError;
pub(crate) use sales::REASON_MAX;

use crate::catalogue::{CatalogueStore, ControlAction};
use crate::order_life::OrderLife;
use crate::stock::Publisher;
use crate::webhooks::WebhookStore;

/// What the routes work on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// Products and sales.
    pub store: CatalogueStore,
    /// Orders that are stored.
    pub orders: OrderLife,
    /// Tells Redis of a change at once; without one a keeper does at its next turn.
    pub publisher: Option<Publisher>,
    /// Who is told of what.
    pub webhooks: WebhookStore,
    /// How long an answer waits for a change to reach Redis before it says `"applied": false`.
    pub publish_wait: Duration,
}

/// A request whose token has been checked.
#[derive(Debug, Clone)]
pub struct AdminRequest<'a> {
    /// Upper case, as sent.
    pub method: &'a str,
    /// The path between its slashes: `["admin", "v1", "sales"]`.
    pub path: &'a [&'a str],
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// JSON, or empty.
    pub body: Bytes,
}

/// A success.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminReply {
    /// 200 or 201.
    pub status: u16,
    /// Where a new resource is.
    pub location: Option<String>,
    /// JSON.
    pub body: Value,
}

impl AdminReply {
    fn ok(body: Value) -> Self {
        Self { status: 200, location: None, body }
    }
}

/// Answers one request under `/admin/v1`.
///
/// # Errors
/// [`AdminError`], each variant one kind of problem document.
pub async fn handle(state: &AdminState, request: AdminRequest<'_>) -> Result<AdminReply, AdminError> {
    let ["admin", "v1", path @ ..] = request.path else { return Err(AdminError::no_route()) };
    match (path, request.method) {
        (["products"], "GET") => products::list(state, request.query).await,
        (["products"], _) => Err(AdminError::MethodNotAllowed { allow: "GET" }),
        (["products", sku], "GET") => products::get(state, sku).await,
        (["products", sku], "PUT") => products::put(state, sku, &request.body).await,
        (["products", _], _) => Err(AdminError::MethodNotAllowed { allow: "GET, PUT" }),
        (["webhooks", path @ ..], method) => webhooks::route(state, path, method, &request).await,
        (["sales"], "GET") => sales::list(state, request.query).await,
        (["sales"], "POST") => sales::create(state, &request.body).await,
        (["sales"], _) => Err(AdminError::MethodNotAllowed { allow: "GET, POST" }),
        (["sales", id], "GET") => sales::get(state, id).await,
        (["sales", _], _) => Err(AdminError::MethodNotAllowed { allow: "GET" }),
        (["sales", id, "adjust"], "POST") => sales::adjust(state, id, &request.body).await,
        (["sales", _, "adjust"], _) => Err(AdminError::MethodNotAllowed { allow: "POST" }),
        (["sales", id, word], method) => match (control_action(word), method) {
            (None, _) => Err(AdminError::no_route()),
            (Some(action), "POST") => sales::control(state, id, action, &request.body).await,
            (Some(_), _) => Err(AdminError::MethodNotAllowed { allow: "POST" }),
        },
        (["orders", id], "GET") => orders::get(state, id).await,
        (["orders", _], _) => Err(AdminError::MethodNotAllowed { allow: "GET" }),
        (["orders", id, "cancel"], "POST") => orders::cancel(state, id, &request.body).await,
        (["orders", _, "cancel"], _) => Err(AdminError::MethodNotAllowed { allow: "POST" }),
        _ => Err(AdminError::no_route()),
    }
}

fn control_action(word: &str) -> Option<ControlAction> {
    match word {
        "open" => Some(ControlAction::Open),
        "pause" => Some(ControlAction::Pause),
        "resume" => Some(ControlAction::Resume),
        "close" => Some(ControlAction::Close),
        _ => None,
    }
}
