use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

/// The body of a response: whole and in memory, or written as it comes (see [`event_stream`](super::event_stream)). No
/// handler names the type behind this alias.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// A body that is whole.
pub fn whole(body: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(body.into()))
}

/// Nothing here may be stored by a cache (RFC 9111 section 5.2.2.5): stock and orders change
/// at any moment, and a refusal must not outlive its cause.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON response that no cache keeps. `body` is JSON already.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    respond(status, APPLICATION_JSON, body.into())
}

/// A response without a body, for example 204 No Content.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

pub(super) fn respond(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    // One allocation: room for the two headers here, and Location or Retry-After and Date.
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
