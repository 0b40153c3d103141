//! What went wrong at Postgres, sorted by what the caller should do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// An error of Postgres, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The setting is wrong; no retry helps.
    #[error(
        "postgres_url is not a usable PostgreSQL URL ({0}): give postgres://user:password@host:port/database"
    )]
    Url(String),
    /// The URL asks for TLS, and this machine is not set up for it; no retry helps.
    #[error(
        "TLS to PostgreSQL cannot be set up ({0}): install the system's ca-certificates, or name a PEM file \
         of authorities in SSL_CERT_FILE"
    )]
    Tls(String),
    /// The server is away, restarting, out of resources, or too slow. Transient.
    #[error("PostgreSQL is not answering ({0}): check that it runs and that postgres_url is right")]
    Unreachable(PgFault),
    /// Another transaction was in the way (deadlock, serialization, lock timeout). Transient.
    #[error("PostgreSQL gave up a transaction in favour of another ({0}): try again")]
    Contention(PgFault),
    /// The data itself was refused: the same statement fails for ever. Permanent.
    #[error("PostgreSQL refused the data ({0}): correct it, a retry will not help")]
    Data(PgFault),
    /// Anything else: a missing right, a missing table, a bug. Permanent until someone acts.
    #[error("PostgreSQL reported an error ({0}): check the rights, the schema version and the server's log")]
    Other(PgFault),
}

/// The facts of one fault, with the whole chain of causes already rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgFault {
    /// The server's SQLSTATE, where the server said something.
    pub sqlstate: Option<SqlState>,
    /// The constraint that was violated.
    pub constraint: Option<String>,
    /// For people: every cause, outermost first.
    pub message: String,
}

impl fmt::Display for PgFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.sqlstate {
            Some(state) => write!(f, ", SQLSTATE {}", state.code()),
            None => Ok(()),
        }
    }
}

impl PgFault {
    fn plain(message: impl Into<String>) -> Self {
        Self { sqlstate: None, constraint: None, message: message.into() }
    }
}

impl PgError {
    /// True where the same work may succeed later, unchanged.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Contention(_))
    }

    /// True where this very data can never be stored: what bisection looks for.
    pub fn is_bad_data(&self) -> bool {
        matches!(self, Self::Data(_))
    }

    /// True where a row of this key is there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Data(fault) if fault.sqlstate == Some(SqlState::UNIQUE_VIOLATION))
    }

    /// The name of the violated constraint.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Url(_) | Self::Tls(_) => None,
            Self::Unreachable(fault) | Self::Contention(fault) | Self::Data(fault) | Self::Other(fault) => {
                fault.constraint.as_deref()
            }
        }
    }

    /// Nothing came back within `limit`; whether the work was done is unknown.
    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::Unreachable(PgFault::plain(format!("no answer within {} ms", limit.as_millis())))
    }
}

impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> Self {
        let fault = PgFault {
            sqlstate: error.code().cloned(),
            constraint: error.as_db_error().and_then(|db| db.constraint()).map(str::to_owned),
            message: error_chain(&error),
        };
        match error.code() {
            Some(state) => classify(state.code())(fault),
            None => classify_unanswered(&error)(fault),
        }
    }
}

impl From<PoolError> for PgError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Unreachable(PgFault::plain(format!(
                "{error}; every connection of the pool is busy, or the server hangs"
            ))),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::Other(PgFault::plain(error_chain(&error)))
            }
        }
    }
}

type Variant = fn(PgFault) -> PgError;

/// Sorts a SQLSTATE by its class (PostgreSQL manual, appendix A).
fn classify(sqlstate: &str) -> Variant {
    match sqlstate {
        // lock_not_available: our lock_timeout.
        "55P03" => PgError::Contention,
        // query_canceled (our statement_timeout), idle_in_transaction_session_timeout, and
        // read_only_sql_transaction: a failover left us on a standby.
        "57014" | "25P03" | "25006" => PgError::Unreachable,
        state => match state.get(..2) {
            // Connection, resources, operator intervention, system error.
            Some("08" | "53" | "57" | "58") => PgError::Unreachable,
            Some("40") => PgError::Contention,
            Some("22" | "23" | "0A") => PgError::Data,
            _ => PgError::Other,
        },
    }
}

/// Sorts an error that the server had no part in. The driver hides its kinds, but not their causes.
fn classify_unanswered(error: &tokio_postgres::Error) -> Variant {
    if error.is_closed() {
        return PgError::Unreachable;
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        // Of the same kinds as below, but about the wire: a certificate can be put right while we retry.
        Some(cause) if is_tls(cause) => PgError::Unreachable,
        // A value that no message can carry, not a broken wire.
        Some(cause) if matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            PgError::Data
        }
        Some(_) => PgError::Unreachable,
        None => PgError::Other,
    }
}

fn is_tls(cause: &io::Error) -> bool {
    cause.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.is::<rustls::pki_types::InvalidDnsNameError>()
    })
}

/// An error with all its causes, `outer: inner: innermost`; tokio-postgres displays the outermost only.
pub fn error_chain(error: &dyn Error) -> String {
    /// A chain that is longer is cut: some wrapper refers to itself.
    const CAUSES_MAX: usize = 8;
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(inner) = cause else { break };
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sqlstate: &str) -> PgError {
        classify(sqlstate)(PgFault::plain("x"))
    }

    #[test]
    fn only_what_may_pass_later_is_transient() {
        for state in
            ["08006", "53300", "57P01", "57P03", "57014", "25006", "58030", "40001", "40P01", "55P03"]
        {
            assert!(sorted(state).is_transient(), "{state}");
        }
        for state in ["22021", "22P05", "23505", "23514", "0A000", "42P01", "28P01", "3D000", "XX000"] {
            assert!(!sorted(state).is_transient(), "{state}");
        }
    }

    #[test]
    fn only_refused_values_are_bad_data() {
        for state in ["22021", "23514", "0A000"] {
            assert!(sorted(state).is_bad_data(), "{state}");
        }
        for state in ["42P01", "57P01", "40P01", "28P01", ""] {
            assert!(!sorted(state).is_bad_data(), "{state}");
        }
    }

    #[test]
    fn a_certificate_that_is_refused_is_not_bad_data() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(is_tls(&io::Error::new(io::ErrorKind::InvalidData, refused)));
        assert!(!is_tls(&io::Error::new(io::ErrorKind::InvalidData, "a NUL byte")));
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        assert_eq!(error_chain(&Outer(io::Error::other("inner"))), "outer: inner");
    }
}
