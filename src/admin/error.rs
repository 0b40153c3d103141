//! What an admin client may be told. Internal errors are logged, never formatted into an answer.

use crate::catalogue::{DocumentError, FieldError, StoreError};
use crate::postgres::PgError;
use crate::webhooks::WebhookError;

/// A request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405, with the header `Allow`.
    #[error("this address takes {allow}")]
    MethodNotAllowed {
        /// The methods that it takes.
        allow: &'static str,
    },
    /// 422: every field that is wrong.
    #[error("the definition is not valid: correct the fields that are named")]
    InvalidDefinition(Vec<FieldError>),
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 400: no JSON, or a query that cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// 503: try again.
    #[error("the catalogue is not available now: try again")]
    Unavailable,
    /// 500: the log says why.
    #[error("the request failed for a reason that is in the server's log")]
    Internal,
}

impl AdminError {
    pub(super) fn no_route() -> Self {
        Self::NotFound("there is nothing at this address".into())
    }

    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "an admin request failed");
        Self::Internal
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchSale(_) | StoreError::NoSuchProduct(_) | StoreError::NoSuchItem(..) => {
                Self::NotFound(error.to_string())
            }
            StoreError::Invalid(errors) => Self::InvalidDefinition(errors),
            StoreError::SaleDiffers { .. }
            | StoreError::Refused(_)
            | StoreError::Retired(_)
            | StoreError::TooFewUnits { .. }
            | StoreError::TooManyUnits(_)
            | StoreError::KeyReused(_) => Self::Conflict(error.to_string()),
            StoreError::Contended(_) | StoreError::NoPartitions => {
                tracing::warn!(%error, "an admin request has to be repeated");
                Self::Unavailable
            }
            StoreError::Postgres(error) => error.into(),
            StoreError::Unreadable(_) => Self::internal(error),
        }
    }
}

impl From<WebhookError> for AdminError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Endpoint(wrong) => Self::InvalidDefinition(vec![FieldError {
                field: wrong.field().into(),
                message: wrong.to_string(),
            }]),
            WebhookError::Exists(_) | WebhookError::TooMany => Self::Conflict(error.to_string()),
            WebhookError::NoSuchEndpoint(_) => Self::NotFound(error.to_string()),
            WebhookError::Postgres(error) => error.into(),
        }
    }
}

impl From<PgError> for AdminError {
    fn from(error: PgError) -> Self {
        if error.is_transient() {
            tracing::warn!(%error, "an admin request found no database");
            return Self::Unavailable;
        }
        Self::internal(error)
    }
}

impl From<DocumentError> for AdminError {
    fn from(error: DocumentError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<Vec<FieldError>> for AdminError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::InvalidDefinition(errors)
    }
}

impl From<serde_json::Error> for AdminError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}
