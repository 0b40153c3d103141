//! Logs: lines on stderr, for people or as JSON.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, Settings};

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log_filter cannot be used ({0}); give a level, or directives such as info,doorbuster=debug")]
    Filter(#[from] ParseError),
    /// Logging was set up before, in this process.
    #[error("logging is set up already ({0}); set it up once in a process")]
    AlreadySet(#[from] TryInitError),
}

/// Sends the log of this process to stderr, in the format and through the filter of the settings.
/// Colours only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
///
/// # Errors
/// [`TelemetryError`] where this process has a log already.
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(settings.log_filter.as_str())?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match settings.log_format {
        LogFormat::Human => log.compact().with_ansi(colours()).finish().try_init()?,
        LogFormat::Json => log.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn colours() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
