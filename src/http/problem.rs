use crate::claim::IdempotencyKeyError;
use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{ACCEPT, ALLOW, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::{Map, Value};

use super::body::BodyError;
use super::path::PathError;
use super::problem_kind::ProblemKind;
use super::response::{Body, respond};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Where a kind promises Retry-After and nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Member names of RFC 9457 section 3.1, which an extension may not take.
const RESERVED_MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// A failure as a client is told it: problem details (RFC 9457) and the headers that belong to it.
///
/// One without detail or extension is answered from a static body.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    kind: ProblemKind,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    extensions: Map<String, Value>,
}

/// One field of a definition that does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as a path into the definition: `items[0].price_minor`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

#[derive(Serialize)]
struct Members<'a> {
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    extensions: &'a Map<String, Value>,
}

impl Problem {
    /// A problem that says no more than its kind.
    pub fn new(kind: ProblemKind) -> Self {
        Self { kind, detail: None, retry_after: None, allow: None, extensions: Map::new() }
    }

    /// 405, with the methods that the resource has, as the Allow header wants (RFC 9110 section
    /// 15.5.6): `"GET, POST"`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(ProblemKind::MethodNotAllowed);
        problem.allow = Some(allow);
        problem
    }

    /// 422 with an `errors` member that names each bad field.
    pub fn invalid_definition(errors: impl IntoIterator<Item = FieldError>) -> Self {
        let errors = errors
            .into_iter()
            .map(|error| serde_json::json!({ "field": error.field, "message": error.message }))
            .collect();
        Self::new(ProblemKind::InvalidDefinition).with_extension("errors", Value::Array(errors))
    }

    /// Adds what is particular to this occurrence, written for the client.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Tells when to come back. Rounded up to whole seconds, at least 1.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Adds a member. A name that RFC 9457 reserves is ignored: it would make two meanings of one.
    #[must_use]
    pub fn with_extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!RESERVED_MEMBERS.contains(&name), "{name} is a member of RFC 9457");
        if !RESERVED_MEMBERS.contains(&name) {
            self.extensions.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The kind, for metrics and logs.
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The response: `application/problem+json`, not to be stored, with the headers that its
    /// status asks for.
    pub fn into_response(self) -> Response<Body> {
        let mut response = respond(self.kind.status(), PROBLEM_JSON, self.body());
        self.insert_headers(response.headers_mut());
        response
    }

    fn body(&self) -> Bytes {
        if self.detail.is_none() && self.extensions.is_empty() {
            return self.kind.plain_body();
        }
        let members = Members {
            type_uri: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.as_deref(),
            extensions: &self.extensions,
        };
        // Strings and JSON values always serialise; the kind alone is still a true answer.
        serde_json::to_vec(&members).map_or_else(|_| self.kind.plain_body(), Bytes::from)
    }

    fn insert_headers(&self, headers: &mut HeaderMap) {
        let retry_after = match self.retry_after {
            None if self.kind.has_retry_after() => Some(RETRY_AFTER_DEFAULT),
            chosen => chosen,
        };
        if let Some(retry_after) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds(retry_after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        match self.kind {
            // A challenge must come with 401 (RFC 9110 section 15.5.2).
            ProblemKind::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::UnsupportedMediaType => {
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            }
            // The rest of that body is unread, so the connection cannot be used again.
            ProblemKind::RequestTimeout | ProblemKind::BodyTooLarge => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

/// Whole seconds for Retry-After (RFC 9110 section 10.2.3), rounded up: a client that comes back
/// too early has waited for nothing.
fn retry_after_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}

impl From<Problem> for Response<Body> {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { max_bytes } => Self::new(ProblemKind::BodyTooLarge)
                .with_detail(format!("The body may have at most {max_bytes} bytes.")),
            BodyError::Timeout { .. } => Self::new(ProblemKind::RequestTimeout),
            BodyError::Broken(_) => Self::new(ProblemKind::MalformedRequest)
                .with_detail("The body ended early or is badly framed."),
        }
    }
}

impl From<IdempotencyKeyError> for Problem {
    fn from(error: IdempotencyKeyError) -> Self {
        match error {
            IdempotencyKeyError::Missing => Self::new(ProblemKind::MissingIdempotencyKey),
            // This error's text is written for the client.
            other => Self::new(ProblemKind::MalformedRequest).with_detail(other.to_string()),
        }
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::new(ProblemKind::MalformedRequest).with_detail(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::json;

    async fn body_of(problem: Problem) -> Value {
        let body = problem.into_response().into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    fn header(problem: Problem, name: &str) -> Option<String> {
        let response = problem.into_response();
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_kind_is_problem_json_that_no_cache_keeps() {
        for &kind in ProblemKind::ALL {
            let response = Problem::new(kind).into_response();
            assert_eq!(response.status(), kind.status());
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers().contains_key("retry-after"), kind.has_retry_after(), "{kind:?}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_at_least_one_second() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(retry_after_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(retry_after_seconds(Duration::MAX), u64::MAX);
        let problem = Problem::new(ProblemKind::NotYetOpen).with_retry_after(Duration::from_millis(90_500));
        assert_eq!(header(problem, "retry-after").as_deref(), Some("91"));
    }

    #[tokio::test]
    async fn detail_and_extensions_join_the_members() {
        let problem = Problem::new(ProblemKind::InsufficientStock)
            .with_detail("2 \"VIP\" units are left.")
            .with_extension("available", 2);
        let expected = json!({
            "type": "/problems/insufficient-stock",
            "title": "Fewer units are left than were asked for",
            "status": 409,
            "detail": "2 \"VIP\" units are left.",
            "available": 2,
        });
        assert_eq!(body_of(problem).await, expected);
    }

    #[tokio::test]
    async fn a_bad_definition_names_its_fields() {
        let error = FieldError { field: "items[0].allotment".into(), message: "must be at least 0".into() };
        let body = body_of(Problem::invalid_definition([error])).await;
        assert_eq!(
            body["errors"],
            json!([{ "field": "items[0].allotment", "message": "must be at least 0" }])
        );
    }

    #[test]
    fn statuses_bring_the_headers_that_their_rfc_asks_for() {
        assert_eq!(header(Problem::method_not_allowed("GET, POST"), "allow").as_deref(), Some("GET, POST"));
        let of = |kind, name| header(Problem::new(kind), name);
        assert_eq!(of(ProblemKind::Unauthenticated, "www-authenticate").as_deref(), Some("Bearer"));
        assert_eq!(of(ProblemKind::RequestTimeout, "connection").as_deref(), Some("close"));
        assert_eq!(of(ProblemKind::SoldOut, "connection"), None);
    }
}
