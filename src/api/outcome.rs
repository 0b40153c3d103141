//! Responses that wait for the outcome of an order, as long as the client prefers.

use std::time::Duration;

use hyper::{Response, StatusCode};
use tokio::sync::SemaphorePermit;

use super::{Api, answer, prefer};
use crate::claim::Decision;
use crate::http::Body;
use crate::live::OrderStatus;
use crate::metrics::Counted;
use crate::order_id::OrderId;

/// Answers a claim that is an order by its outcome: 201 where this claim made it, 200 where an earlier one did. Where the
/// outcome does not come in time, or too many wait already, as a claim without the preference.
pub(super) async fn of_claim(api: &Api, decision: Decision, id: OrderId, wait: Duration) -> Response<Body> {
    let Some(_place) = place(api) else { return answer::to_decision(decision) };
    let created = match decision {
        Decision::Accepted(_) => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let response = match wait_for(api, id, OrderStatus::ACCEPTED, wait).await {
        Some(status) => answer::outcome(created, id, &status),
        None => answer::to_decision(decision),
    };
    prefer::applied(response, wait)
}

/// A place among those who wait; `None` where they are too many.
pub(super) fn place(api: &Api) -> Option<(SemaphorePermit<'_>, Counted)> {
    Some((api.waiters.try_acquire().ok()?, Counted::on(&api.metrics.live.waiters)))
}

/// The outcome, or `None` where it does not come in time or the node stops.
pub(super) async fn wait_for(
    api: &Api,
    id: OrderId,
    known: OrderStatus,
    wait: Duration,
) -> Option<OrderStatus> {
    let mut watch = api.orders.watch(id, known);
    tokio::select! {
        status = watch.outcome() => Some(status),
        () = tokio::time::sleep(wait) => None,
        () = api.options.stop.cancelled() => None,
    }
}
