//! One attempt to deliver an event.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode, Uri};

use super::cloud_event;
use super::secret::WebhookSecret;
use crate::http::HttpClient;

/// What is read of an answer: enough for the connection to be used again, and for an error to be shown.
const ANSWER_MAX: usize = 4 * 1024;

/// Sends messages. Cheap to clone.
#[derive(Clone)]
pub struct WebhookClient(HttpClient);

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
        HttpClient::new(timeout, timeout, ANSWER_MAX).map(Self)
    }

    /// One attempt to deliver `body` under `id`.
    pub async fn deliver(&self, url: &Uri, secret: &WebhookSecret, id: &str, body: String) -> Answer {
        let timestamp = jiff::Timestamp::now().as_second();
        let signature = secret.sign(id, timestamp, body.as_bytes());
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.clone())
            .header(CONTENT_TYPE, cloud_event::CONTENT_TYPE)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(body)));
        let reply = match request {
            Ok(request) => self.0.send(request).await,
            Err(error) => return Answer::failed(error),
        };
        match reply {
            Err(error) => Answer::failed(error),
            Ok(reply) if reply.status.is_success() => Answer::Delivered,
            Ok(reply) if reply.status == StatusCode::GONE => Answer::Gone,
            Ok(reply) => Answer::Failed { error: reply.describe(), retry_after: reply.retry_after() },
        }
    }
}
