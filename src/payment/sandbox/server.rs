//! The sandbox's listener. Not that of Doorbuster's own APIs: this one must be able to hang up without an answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::routes::answer;

const CONNECTIONS_MAX: usize = 1_024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, which cuts every connection.
pub(super) fn start(listener: TcpListener, desk: Arc<Desk>, tasks: &TaskTracker, stop: &CancellationToken) {
    let (connections, stopped) = (tasks.clone(), stop.clone());
    let accepting = {
        let stop = stop.clone();
        async move {
            let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            while let Ok(slot) = slots.clone().acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (desk, stop) = (desk.clone(), stop.clone());
                        connections.spawn(async move {
                            stop.run_until_cancelled(serve(stream, desk)).await;
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    };
    tasks.spawn(async move { stopped.run_until_cancelled(accepting).await });
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { answer(&desk, request).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // An error is a client that left, or one that was hung up on.
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
