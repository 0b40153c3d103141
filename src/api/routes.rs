//! Which request is whose.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{Api, claims, orders, sales};
use crate::http::{Body, PathSegments, Problem, ProblemKind, json};

/// Answers a request.
pub async fn handle(api: std::sync::Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    match route(&api, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

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
            orders::show(api, order, &parts.headers).await
        }
        ["v1", "sales"] => {
            only(Method::GET, "GET")?;
            sales::list(api).await
        }
        ["v1", "sales", sale] => {
            only(Method::GET, "GET")?;
            sales::show(api, sale).await
        }
        ["v1", "buyers", "me", "orders"] => {
            only(Method::GET, "GET")?;
            orders::list(api, parts.uri.query().unwrap_or_default(), &parts.headers).await
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
