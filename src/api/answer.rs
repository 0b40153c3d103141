//! What a decision is in HTTP. README's table of answers says the same.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::catalogue::Sku;
use crate::claim::{ClaimError, Decision};
use crate::http::{Body, Problem, ProblemKind, json};
use crate::live::OrderStatus;
use crate::order_id::OrderId;

/// In front of an order's id.
const ORDERS: &str = "/v1/orders/";
/// Suggested to a buyer whose sale is paused: nobody knows for how long.
const PAUSED_RETRY: Duration = Duration::from_secs(5);
/// While the backlog is full.
const BACKLOG_RETRY: Duration = Duration::from_secs(2);

/// The response to a decision. For `Absent` the caller has asked Postgres first.
pub(super) fn to_decision(decision: Decision) -> Response<Body> {
    match decision {
        Decision::Accepted(id) => order(StatusCode::ACCEPTED, id),
        Decision::Duplicate(id) => order(StatusCode::OK, id),
        Decision::KeyReused => Problem::new(ProblemKind::IdempotencyKeyReused).into_response(),
        Decision::OverRate => Problem::new(ProblemKind::TooManyAttempts).into_response(),
        Decision::NotYetOpen { wait } => {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            Problem::new(ProblemKind::NotYetOpen)
                .with_retry_after(wait)
                .with_extension("opens_in_ms", wait_ms)
                .into_response()
        }
        Decision::Paused => Problem::new(ProblemKind::Paused).with_retry_after(PAUSED_RETRY).into_response(),
        Decision::Closed => Problem::new(ProblemKind::Closed).into_response(),
        Decision::LimitReached(sku) => {
            let problem = Problem::new(ProblemKind::LimitReached);
            match sku {
                Some(sku) => problem.with_extension("sku", sku.as_str()),
                None => problem.with_detail("a buyer may have 100 orders in one sale"),
            }
            .into_response()
        }
        // The commonest answer of all: one prebuilt body, whichever item it is about.
        Decision::SoldOut(_) => Problem::new(ProblemKind::SoldOut).into_response(),
        Decision::Insufficient { sku, left } => Problem::new(ProblemKind::InsufficientStock)
            .with_extension("sku", sku.as_str())
            .with_extension("left", left)
            .into_response(),
        Decision::BacklogFull => {
            Problem::new(ProblemKind::BacklogFull).with_retry_after(BACKLOG_RETRY).into_response()
        }
        Decision::Absent => Problem::new(ProblemKind::Unavailable).into_response(),
    }
}

/// The response to a decision of one partition of several. An item is sold out only when every partition is; what
/// an empty partition refuses while another has units may succeed once units have moved.
pub(super) async fn of_one_partition(
    decision: Decision,
    lines: &[(Sku, u32)],
    left: impl Future<Output = HashMap<Sku, Option<i64>>>,
) -> Response<Body> {
    let (Decision::SoldOut(sku) | Decision::Insufficient { sku, .. }) = &decision else {
        return to_decision(decision);
    };
    let asked = lines.iter().find(|(line, _)| line == sku).map_or(1, |(_, quantity)| i64::from(*quantity));
    match left.await.get(sku).copied().flatten() {
        Some(0) => to_decision(Decision::SoldOut(sku.clone())),
        Some(left) if left < asked => {
            to_decision(Decision::Insufficient { sku: sku.clone(), left: left.unsigned_abs() })
        }
        _ => Problem::new(ProblemKind::Unavailable)
            .with_detail("this buyer's partition has too few units left while another has some: try again")
            .into_response(),
    }
}

/// The response to a claim without a decision.
pub(super) fn to_error(error: &ClaimError) -> Response<Body> {
    let kind = match error {
        ClaimError::Indeterminate | ClaimError::Unreplicated | ClaimError::Unexpected(_) => {
            ProblemKind::Indeterminate
        }
        ClaimError::Fenced | ClaimError::Overloaded | ClaimError::Refused(_) => ProblemKind::Unavailable,
    };
    Problem::new(kind).into_response()
}

/// The response to a claim that waited for its outcome.
pub(super) fn outcome(status: StatusCode, id: OrderId, outcome: &OrderStatus) -> Response<Body> {
    #[derive(Serialize)]
    struct Outcome<'a> {
        id: OrderId,
        href: &'a str,
        #[serde(flatten)]
        status: &'a OrderStatus,
    }
    let href = format!("{ORDERS}{id}");
    match serde_json::to_vec(&Outcome { id, href: &href, status: outcome }) {
        Ok(body) => with_location(json(status, body), href.into()),
        Err(_) => Problem::new(ProblemKind::Internal).into_response(),
    }
}

/// No state in the body: a retry may be answered long after the order was confirmed or cancelled; Location tells.
fn order(status: StatusCode, id: OrderId) -> Response<Body> {
    let mut text = [0; OrderId::LENGTH];
    let id = id.write_to(&mut text);
    // By hand: this is done for every order.
    let body = Bytes::from(["{\"id\":\"", id, "\",\"href\":\"", ORDERS, id, "\"}"].concat());
    let end = body.len() - "\"}".len();
    let href = body.slice(end - ORDERS.len() - id.len()..end);
    with_location(json(status, body), href)
}

fn with_location(mut response: Response<Body>, href: Bytes) -> Response<Body> {
    if let Ok(location) = HeaderValue::from_maybe_shared(href) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
