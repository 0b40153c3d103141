//! `/admin/v1/webhooks`.

use serde_json::json;

use super::{AdminError, AdminReply, AdminRequest, AdminState};
use crate::catalogue::read_json;
use crate::webhooks::NewEndpoint;

/// Dead deliveries in one answer.
const DEAD_MAX: u32 = 1_000;

/// Finds the handler; `path` is what follows `webhooks`.
pub(super) async fn route(
    state: &AdminState,
    path: &[&str],
    method: &str,
    request: &AdminRequest<'_>,
) -> Result<AdminReply, AdminError> {
    match (path, method) {
        ([], "GET") => list(state).await,
        ([], "POST") => add(state, &request.body).await,
        ([], _) => Err(AdminError::MethodNotAllowed { allow: "GET, POST" }),
        ([id], "DELETE") => remove(state, id).await,
        ([_], _) => Err(AdminError::MethodNotAllowed { allow: "DELETE" }),
        ([id, "dead"], "GET") => dead(state, id).await,
        ([_, "dead"], _) => Err(AdminError::MethodNotAllowed { allow: "GET" }),
        ([id, "test"], "POST") => test(state, id).await,
        ([id, "redrive"], "POST") => redrive(state, id).await,
        ([_, "test" | "redrive"], _) => Err(AdminError::MethodNotAllowed { allow: "POST" }),
        _ => Err(AdminError::no_route()),
    }
}

async fn list(state: &AdminState) -> Result<AdminReply, AdminError> {
    Ok(AdminReply::ok(json!({ "webhooks": state.webhooks.list().await? })))
}

/// The only answer that holds the secret.
async fn add(state: &AdminState, body: &[u8]) -> Result<AdminReply, AdminError> {
    let new: NewEndpoint = serde_json::from_value(read_json(body)?)
        .map_err(|error| AdminError::Malformed(format!("{error}; send url and event_types")))?;
    let (endpoint, secret) = state.webhooks.add(new).await?;
    let body = json!({ "webhook": endpoint, "secret": secret.expose() });
    Ok(AdminReply { status: 201, location: None, body })
}

async fn remove(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    state.webhooks.remove(id).await?;
    Ok(AdminReply::ok(json!({ "removed": id })))
}

async fn dead(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    Ok(AdminReply::ok(json!({ "dead": state.webhooks.dead(Some(id), DEAD_MAX).await? })))
}

async fn test(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    Ok(AdminReply::ok(json!({ "event": state.webhooks.test(id).await? })))
}

async fn redrive(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    Ok(AdminReply::ok(json!({ "redriven": state.webhooks.redrive(id, None).await? })))
}
