//! `doorbuster run`.

use super::CliError;
use super::runtime::block_on;
use super::stop_signals::StopSignals;
use crate::config::Settings;
use crate::http::raise_open_files;
use crate::node::Node;
use crate::telemetry;

/// Runs a node until a signal. What it does is told in the log.
pub(super) fn run(settings: &Settings) -> Result<(), CliError> {
    telemetry::init(settings)?;
    make_room(settings);
    block_on(run_node(settings))?
}

/// Files that are open beside connections of buyers: to the servers, and of whoever looks on.
const OTHER_FILES: u64 = 200;

/// Room for a crowd. Not worth dying for where there is none: a small sale needs few connections.
pub(super) fn make_room(settings: &Settings) {
    let connections = settings.http_connections_max as u64;
    match raise_open_files() {
        Ok(files) if settings.role.runs_api() && files < connections + OTHER_FILES => tracing::warn!(
            files,
            connections,
            "too few files may be open for these connections: raise the hard limit of open files (LimitNOFILE, ulimit -Hn), or \
             lower http_connections_max"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

async fn run_node(settings: &Settings) -> Result<(), CliError> {
    let mut signals = StopSignals::listen()?;
    let Some(started) = signals.unless_signalled(Node::start(settings)).await else {
        tracing::info!("told to stop before it had started");
        return Ok(());
    };
    let node = started?;
    if let Some(api) = node.api {
        tracing::info!(%api, "the API listens");
    }
    if let Some(admin) = node.admin {
        tracing::info!(%admin, "the admin API listens");
    }
    if let Some(metrics) = node.metrics {
        tracing::info!(%metrics, "the metrics are served");
    }
    tracing::info!(role = %settings.role, partitions = settings.partitions, "the node runs");
    let signal = signals.next().await;
    let deadline_ms = settings.shutdown_deadline_ms.get();
    tracing::info!(
        signal,
        deadline_ms,
        "stopping: requests in flight are finished; a second signal ends at once"
    );
    let stopped = signals.unless_signalled(node.stop()).await.ok_or(CliError::EndedAtOnce)?;
    tracing::info!(
        requests_finished = stopped.requests_finished,
        requests_cut = stopped.requests_cut,
        "the node has stopped"
    );
    Ok(())
}
