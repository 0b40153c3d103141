//! The threads of a command that waits for servers.

use std::future::Future;
use std::time::Duration;

use super::CliError;

/// How long the end of a command waits for work on the blocking pool, such as a name that is being resolved.
const BLOCKING_WORK_MAX: Duration = Duration::from_secs(1);

/// Runs a command's work on a multi-threaded runtime, one thread for each core.
///
/// # Errors
/// [`CliError::Runtime`] where the system refuses the threads.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(BLOCKING_WORK_MAX);
    Ok(outcome)
}
