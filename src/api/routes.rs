//! Which request is whose.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{Api, cancel, claims, events, orders, payment_webhook, sales};
use crate::http::{Body, PathSegments, Problem, ProblemKind, json};

/// Answers a request.
pub async fn handle(api: std::sync::Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    match route(&api, request).await {
        Ok(response) => response,
        Err(problem) => {
            api.metrics.http.problem(problem.kind());
            problem.into_response()
        }
    }
}

// hyper moves the future of each request: what is rare is boxed, so that a claim does not carry the state of queries.
async fn route(api: &Api, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let path = PathSegments::split(parts.uri.path()).ok_or(ProblemKind::NotFound)?;
    let only = |allowed: Method, allow: &'static str| {
        if parts.method == allowed { Ok(()) } else { Err(Problem::method_not_allowed(allow)) }
    };
    match path.as_slice() {
        ["v1", "sales", sale, "orders"] => {
            only(Method::POST, "POST")?;
            claims::place(api, sale, &parts.headers, body).await
        }
        ["v1", "orders", order] => {
            only(Method::GET, "GET")?;
            Box::pin(orders::show(api, order, &parts.headers)).await
        }
        ["v1", "orders", order, "cancel"] => {
            only(Method::POST, "POST")?;
            Box::pin(cancel::cancel(api, order, &parts.headers)).await
        }
        ["v1", "sales", sale, "events"] => {
            only(Method::GET, "GET")?;
            Box::pin(events::of_sale(api, sale, &parts.headers)).await
        }
        ["v1", "orders", order, "events"] => {
            only(Method::GET, "GET")?;
            Box::pin(events::of_order(api, order, &parts.headers)).await
        }
        ["v1", "payments", "webhook"] => {
            only(Method::POST, "POST")?;
            Box::pin(payment_webhook::take(api, &parts.headers, body)).await
        }
        ["v1", "sales"] => {
            only(Method::GET, "GET")?;
            Box::pin(sales::list(api)).await
        }
        ["v1", "sales", sale] => {
            only(Method::GET, "GET")?;
            Box::pin(sales::show(api, sale)).await
        }
        ["v1", "buyers", "me", "orders"] => {
            only(Method::GET, "GET")?;
            Box::pin(orders::list(api, parts.uri.query().unwrap_or_default(), &parts.headers)).await
        }
        ["healthz"] => {
            only(Method::GET, "GET")?;
            Ok(json(StatusCode::OK, r#"{"status":"alive"}"#))
        }
        ["readyz"] => {
            only(Method::GET, "GET")?;
            if api.is_ready() {
                Ok(json(StatusCode::OK, r#"{"status":"ready"}"#))
            } else {
                Err(ProblemKind::Unavailable.into())
            }
        }
        _ => Err(ProblemKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn size_of_future<F: Future>(_: impl Fn(Arc<Api>, Request<Incoming>) -> F) -> usize {
        size_of::<F>()
    }

    /// It was 16 kB once, and copying it was a tenth of the processor time of a claim.
    #[test]
    fn the_future_of_a_request_stays_small() {
        assert!(size_of_future(handle) <= 2048, "{} bytes: box what is rare", size_of_future(handle));
    }
}
