//! The peer that has Postgres alone, on the same hyper as the engine: every claim is decided by one function in one
//! round trip. `peer-postgres update` counts down one row; `peer-postgres skip-locked` takes a row for each unit.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use doorbuster::http::listen;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// Sessions: enough that commits share an fsync, few enough for two cores.
const SESSIONS: usize = 32;
const BODY_MAX_BYTES: usize = 16 * 1024;
const UPDATE: &str = include_str!("update.sql");
const SKIP_LOCKED: &str = include_str!("skip_locked.sql");
const CLAIM: &str = "SELECT outcome, order_id FROM claim($1, $2, $3, $4, $5, $6)";

#[derive(Deserialize)]
struct Claim {
    items: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: i32,
}

type Failure = Box<dyn Error + Send + Sync>;

fn answer(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The sale of `/v1/sales/{sale}/orders`.
fn sale_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/sales/")?.strip_suffix("/orders")
}

async fn claim(pool: &Pool, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(buyer), Some(key)) = (header("x-buyer-id"), header("idempotency-key")) else {
        return Ok(answer(StatusCode::BAD_REQUEST, "{}".into()));
    };
    let Some(sale) = sale_of(request.uri().path()).map(str::to_owned) else {
        return Ok(answer(StatusCode::NOT_FOUND, "{}".into()));
    };
    let body = Limited::new(request.into_body(), BODY_MAX_BYTES).collect().await?.to_bytes();
    let Ok(Claim { items }) = serde_json::from_slice(&body) else {
        return Ok(answer(StatusCode::BAD_REQUEST, "{}".into()));
    };
    let [line] = &items[..] else { return Ok(answer(StatusCode::BAD_REQUEST, "{}".into())) };
    let db = pool.get().await?;
    let statement = db.prepare_cached(CLAIM).await?;
    let id = Uuid::from_u128(u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..)));
    let row = db.query_one(&statement, &[&id, &sale, &buyer, &key, &line.sku, &line.quantity]).await?;
    let status = match row.get(0) {
        "new" => StatusCode::ACCEPTED,
        "known" => StatusCode::OK,
        _ => return Ok(answer(StatusCode::CONFLICT, r#"{"state":"sold-out"}"#.into())),
    };
    let id: Uuid = row.get(1);
    let mut response = answer(status, format!(r#"{{"id":"{id}","state":"confirmed"}}"#));
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&format!("/v1/orders/{id}"))?);
    Ok(response)
}

async fn handle(pool: Arc<Pool>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == "/healthz" {
        return Ok(answer(StatusCode::OK, "{}".into()));
    }
    Ok(claim(&pool, request).await.unwrap_or_else(|error| {
        eprintln!("{error}");
        answer(StatusCode::SERVICE_UNAVAILABLE, "{}".into())
    }))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let function = match std::env::args().nth(1).as_deref() {
        Some("update") => UPDATE,
        Some("skip-locked") => SKIP_LOCKED,
        _ => return Err("usage: peer-postgres update|skip-locked".into()),
    };
    let config = std::env::var("DATABASE_URL")?.parse()?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = Pool::builder(Manager::from_config(config, NoTls, recycling)).max_size(SESSIONS).build()?;
    pool.get().await?.batch_execute(function).await?;
    let pool = Arc::new(pool);
    let listener = listen(std::env::var("LISTEN")?.parse()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = pool.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(pool.clone(), request));
            // Errors here are clients that broke off, which is how each run of a load ends.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
