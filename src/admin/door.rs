//! The admin API behind its token.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::{AdminError, AdminReply, AdminRequest, AdminState, handle};
use crate::http::{
    BearerToken, Body, FieldError, HttpLimits, PathSegments, Problem, ProblemKind, json, read_body,
};

/// Everything an admin request may need.
pub struct AdminDoor {
    /// What the routes work on.
    pub state: AdminState,
    /// Who may come in.
    pub token: BearerToken,
    /// Of request bodies; a definition with many items is larger than a claim.
    pub limits: HttpLimits,
}

/// How long an answer waits for a change to reach Redis.
pub const PUBLISH_WAIT: Duration = Duration::from_secs(3);
/// A sale of 1000 items with their products fits.
pub const BODY_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Answers a request: 401 without the token, before anything is read.
pub async fn serve(door: Arc<AdminDoor>, request: Request<Incoming>) -> Response<Body> {
    answer(&door, request).await.unwrap_or_else(Problem::into_response)
}

async fn answer(door: &AdminDoor, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    if !door.token.authorizes(&parts.headers) {
        return Err(ProblemKind::Unauthenticated.into());
    }
    let path = PathSegments::split(parts.uri.path()).ok_or(ProblemKind::NotFound)?;
    let body = read_body(body, door.limits.body_max_bytes, door.limits.body_timeout).await?;
    let request =
        AdminRequest { method: parts.method.as_str(), path: path.as_slice(), query: parts.uri.query(), body };
    handle(&door.state, request).await.map(respond).map_err(problem)
}

fn respond(reply: AdminReply) -> Response<Body> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = json(status, reply.body.to_string());
    if let Some(location) = reply.location.and_then(|location| HeaderValue::try_from(location).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn problem(error: AdminError) -> Problem {
    match error {
        AdminError::NotFound(detail) => Problem::new(ProblemKind::NotFound).with_detail(detail),
        AdminError::MethodNotAllowed { allow } => Problem::method_not_allowed(allow),
        AdminError::InvalidDefinition(errors) => Problem::invalid_definition(
            errors.into_iter().map(|error| FieldError { field: error.field, message: error.message }),
        ),
        AdminError::Conflict(detail) => Problem::new(ProblemKind::Conflict).with_detail(detail),
        AdminError::Malformed(detail) => Problem::new(ProblemKind::MalformedRequest).with_detail(detail),
        AdminError::Unavailable => ProblemKind::Unavailable.into(),
        AdminError::Internal => ProblemKind::Internal.into(),
    }
}
