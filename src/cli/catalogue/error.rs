//! Errors for the terminal.

use std::io;
use std::path::PathBuf;

use crate::catalogue::{DocumentError, FieldError, StoreError};
use crate::postgres::PgError;

/// A command failed; its message is for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueCliError {
    /// The file cannot be read.
    #[error("{} cannot be read ({cause}): check the path", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file's form is not known.
    #[error("{} has neither the extension .json nor .toml: rename it, or give JSON by -", .0.display())]
    Extension(PathBuf),
    /// The file is not JSON or TOML.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The definition is wrong in some fields.
    #[error("the definition is not valid:\n{}", lines(.0))]
    Invalid(Vec<FieldError>),
    /// The catalogue refused.
    #[error(transparent)]
    Store(StoreError),
    /// Redis had fewer units than were to go.
    #[error("{units} units were not taken away: they are sold by now")]
    Sold {
        /// How many.
        units: i64,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written ({0}): the command itself was done")]
    Write(#[from] io::Error),
}

fn lines(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n")
}

impl From<StoreError> for CatalogueCliError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(errors) => Self::Invalid(errors),
            error => Self::Store(error),
        }
    }
}

impl From<PgError> for CatalogueCliError {
    fn from(error: PgError) -> Self {
        Self::Store(error.into())
    }
}

impl From<Vec<FieldError>> for CatalogueCliError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors)
    }
}

impl From<serde_json::Error> for CatalogueCliError {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}
