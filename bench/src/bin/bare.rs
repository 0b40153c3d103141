//! The limit beside which figures are printed: a bare hyper server that reads a whole claim and
//! answers one fixed refusal, with no limits, no routing, no JSON and no Redis.
//!
//! Usage: `bare [ADDRESS]`, by default `127.0.0.1:8090`.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use doorbuster::http::listen;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

/// Byte for byte what the engine answers to a claim on an item that is sold out.
const SOLD_OUT: Bytes =
    Bytes::from_static(br#"{"type":"/problems/sold-out","title":"Sold out","status":409}"#);

async fn refuse(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that breaks off belongs to a client that is gone, so there is nobody to tell.
    let _claim = request.into_body().collect().await;
    let mut response = Response::new(Full::new(SOLD_OUT));
    *response.status_mut() = StatusCode::CONFLICT;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let listener = listen(address.parse().map_err(io::Error::other)?)?;
    println!("bare hyper on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // Errors here are clients that broke off, which is how each run of a load ends.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(refuse)).await;
        });
    }
}
