//! TLS to Postgres, where the URL asks for it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PgError;

/// The connector for a mode: only `sslmode=require` encrypts, and then the server has to show a
/// certificate for its host name that an authority of this system has signed. That is libpq's
/// `verify-full`: encryption to a server that nobody has checked would stop no one in between.
///
/// # Errors
/// [`PgError::Tls`] where this system knows no authority at all.
pub(super) fn connector(mode: SslMode) -> Result<MakeRustlsConnect, PgError> {
    let roots = if mode == SslMode::Require { system_authorities()? } else { RootCertStore::empty() };
    // Named, not the process's default: that one depends on which crates are compiled in.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PgError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The certificate authorities that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
fn system_authorities() -> Result<RootCertStore, PgError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added > 0 {
        return Ok(roots);
    }
    let cause = loaded.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
    Err(PgError::Tls(format!("no certificate authorities: {cause}")))
}
