//! Where events are sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::event_type::{EventType, UnknownEventType};
use super::secret::{SecretError, WebhookSecret};

const URL_MAX: usize = 2_000;
const ID_MAX: usize = 40;

/// What an operator gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Its name; one is made where there is none.
    pub id: Option<String>,
    /// `https://` or `http://`.
    pub url: String,
    /// What it wants to know.
    pub event_types: Vec<String>,
    /// `whsec_…`; one is made where there is none.
    pub secret: Option<String>,
}

/// Checked, and complete.
#[derive(Debug, Clone)]
pub(super) struct CheckedEndpoint {
    pub id: String,
    pub url: String,
    pub event_types: Vec<String>,
    pub secret: WebhookSecret,
}

/// An endpoint as it is shown: without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its name.
    pub id: String,
    /// Where.
    pub url: String,
    /// What it wants to know.
    pub event_types: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// It answered 410 Gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Deliveries that are to be made.
    pub waiting: i64,
    /// Deliveries that were given up.
    pub dead: i64,
}

/// It cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The id.
    #[error("an id has 1 to 40 small letters, digits and hyphens, and begins with no hyphen")]
    Id,
    /// The URL.
    #[error("give an http:// or https:// URL of at most 2000 characters, without a user or a fragment")]
    Url,
    /// No types.
    #[error("give at least one event type")]
    NoTypes,
    /// A type.
    #[error(transparent)]
    Type(#[from] UnknownEventType),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl EndpointError {
    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Url => "url",
            Self::NoTypes | Self::Type(_) => "event_types",
            Self::Secret(_) => "secret",
        }
    }
}

impl NewEndpoint {
    pub(super) fn check(self) -> Result<CheckedEndpoint, EndpointError> {
        let url = Url::parse(&self.url).map_err(|_| EndpointError::Url)?;
        let fits = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.as_str().len() <= URL_MAX;
        if !fits {
            return Err(EndpointError::Url);
        }
        let mut event_types = Vec::new();
        for word in &self.event_types {
            let known = word.parse::<EventType>()?.to_string();
            if !event_types.contains(&known) {
                event_types.push(known);
            }
        }
        if event_types.is_empty() {
            return Err(EndpointError::NoTypes);
        }
        let secret = match &self.secret {
            Some(secret) => secret.parse()?,
            None => WebhookSecret::generate()?,
        };
        let id = match self.id {
            Some(id) if is_id(&id) => id,
            Some(_) => return Err(EndpointError::Id),
            None => format!("{:012x}", fastrand::u64(..1 << 48)),
        };
        Ok(CheckedEndpoint { id, url: url.into(), event_types, secret })
    }
}

fn is_id(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=ID_MAX).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: Option<&str>, url: &str, types: &[&str]) -> Result<CheckedEndpoint, EndpointError> {
        NewEndpoint {
            id: id.map(str::to_owned),
            url: url.to_owned(),
            event_types: types.iter().map(|word| (*word).to_owned()).collect(),
            secret: None,
        }
        .check()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = check(None, "https://shop.example/hooks?x=1", &["order.confirmed", "order.confirmed"]);
        assert_eq!(good.unwrap().event_types, ["order.confirmed"]);
        for (id, url, types, field) in [
            (Some("Shop"), "https://shop.example", &["order.confirmed"][..], "id"),
            (None, "ftp://shop.example", &["order.confirmed"], "url"),
            (None, "https://user@shop.example", &["order.confirmed"], "url"),
            (None, "shop.example", &["order.confirmed"], "url"),
            (None, "https://shop.example", &[], "event_types"),
            (None, "https://shop.example", &["order.*"], "event_types"),
        ] {
            assert_eq!(check(id, url, types).unwrap_err().field(), field, "{url} {types:?}");
        }
    }
}
