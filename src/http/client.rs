//! The one door to other people's servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// What is shown of an answer that is an error.
const SHOWN_CHARACTERS: usize = 200;
const IDLE_MAX: Duration = Duration::from_secs(30);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("doorbuster/", env!("CARGO_PKG_VERSION")));

/// Sends requests to `http://` and `https://`. It follows no redirect: nobody but the operator says where they go. Cheap
/// to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    reply_max: usize,
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body; or why there is none that was whole and short enough.
    pub body: Result<Bytes, String>,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There was no connection: nothing was sent.
    #[error("{0}")]
    NotConnected(String),
    /// The request may have arrived.
    #[error("{0}")]
    Unanswered(String),
}

impl HttpClient {
    /// `timeout` bounds a request from connecting to the end of its answer, `connect` the first part of it; of an answer
    /// at most `reply_max` bytes are read.
    ///
    /// # Errors
    /// Where TLS cannot be set up at all.
    pub fn new(timeout: Duration, connect: Duration, reply_max: usize) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect));
        // Named, not the process's default: that one depends on which crates are compiled in.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(system_authorities())
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(https);
        Ok(Self { http, timeout, reply_max })
    }

    /// Sends a request once, and reads what is answered.
    ///
    /// # Errors
    /// [`ClientError`]. A time-out is [`ClientError::Unanswered`], but for one of connecting.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        request.headers_mut().insert(USER_AGENT, AGENT);
        let exchange = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        exchange.unwrap_or_else(|_| {
            Err(ClientError::Unanswered(format!("no answer within {} ms", self.timeout.as_millis())))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(ClientError::NotConnected(chain(&error))),
            Err(error) => return Err(ClientError::Unanswered(chain(&error))),
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.reply_max).collect().await;
        let body = body.map(|body| body.to_bytes()).map_err(|error| chain(error.as_ref()));
        Ok(Reply { status: head.status, headers: head.headers, body })
    }
}

impl Reply {
    /// When the server wants to be asked again: in seconds; the other form, a date, is taken for none.
    pub fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }

    /// Status and the beginning of the body, for an operator.
    pub fn describe(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(body);
        let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS).collect();
        format!("{} {shown}", self.status).trim_end().to_owned()
    }
}

/// An error with its causes, which `Display` alone leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The certificate authorities that the system trusts. Where there are none, only http:// can be reached.
fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        tracing::warn!("no certificate authorities are installed: https:// addresses cannot be reached");
    }
    roots
}
