//! The one door to other people's servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::cloud_event;
use super::secret::WebhookSecret;

/// What is read of an answer: enough for the connection to be used again, and for an error to be shown.
const ANSWER_MAX: usize = 4 * 1024;
/// What is kept of an answer that is an error.
const ERROR_CHARACTERS: usize = 200;
const IDLE_MAX: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("doorbuster/", env!("CARGO_PKG_VERSION"));

/// Sends messages. It follows no redirect: nobody but the operator says where messages go. Cheap to clone.
#[derive(Clone)]
pub struct WebhookClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 2xx.
    Delivered,
    /// 410: the endpoint wants nothing more.
    Gone,
    /// Anything else.
    Failed {
        /// For the operator.
        error: String,
        /// When the endpoint wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    fn failed(error: impl ToString) -> Self {
        Self::Failed { error: error.to_string(), retry_after: None }
    }
}

impl WebhookClient {
    /// `timeout` bounds an attempt from connecting to the end of the answer.
    ///
    /// # Errors
    /// Where TLS cannot be set up at all.
    pub fn new(timeout: Duration) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout));
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
        Ok(Self { http, timeout })
    }

    /// One attempt to deliver `body` under `id`.
    pub async fn deliver(&self, url: &Uri, secret: &WebhookSecret, id: &str, body: String) -> Answer {
        let timestamp = jiff::Timestamp::now().as_second();
        let signature = secret.sign(id, timestamp, body.as_bytes());
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.clone())
            .header(CONTENT_TYPE, cloud_event::CONTENT_TYPE)
            .header(USER_AGENT, AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(body)));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::failed(error),
        };
        match tokio::time::timeout(self.timeout, self.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::failed(format!("no answer within {} ms", self.timeout.as_millis())),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::failed(chain(&error)),
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        match head.status {
            status if status.is_success() => Answer::Delivered,
            StatusCode::GONE => Answer::Gone,
            status => {
                let text = body.map(|body| body.to_bytes()).unwrap_or_default();
                Answer::Failed { error: describe(status, &text), retry_after: retry_after(&head.headers) }
            }
        }
    }
}

fn describe(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown: String = text.chars().filter(|c| !c.is_control()).take(ERROR_CHARACTERS).collect();
    format!("{status} {shown}").trim_end().to_owned()
}

/// In seconds; its other form, a date, is taken for none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
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
        tracing::warn!("no certificate authorities are installed: webhooks to https:// will fail");
    }
    roots
}
