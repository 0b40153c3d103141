//! Waiting until the partitions take orders, so that the first line that is pasted buys.

use std::time::{Duration, Instant};

use super::DevError;
use crate::cli::migrate::bring_up_to_date;
use crate::cli::{CliError, dev::servers::Servers};
use crate::config::Settings;
use crate::node::Node;
use crate::postgres::{PgError, connect_pool};

/// How long the partitions may take to open: the lease of a node that was killed is waited out first.
const OPEN_WAIT: Duration = Duration::from_secs(60);
/// How long to wait for an opening of our own, where another node may be keeper and keep them open.
const OWN_OPENING_WAIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);

/// The epochs before this node's start. What an earlier run left in Redis still says "open", under scripts that
/// a restarted Redis no longer has: it would be believed until the first claim.
pub(super) struct EarlierEpochs(Vec<i64>);

impl EarlierEpochs {
    /// Reads them; migrates first, since a new database has none.
    ///
    /// # Errors
    /// Those of `doorbuster migrate`.
    pub(super) async fn read(settings: &Settings) -> Result<Self, CliError> {
        bring_up_to_date(settings).await?;
        let pool = connect_pool(settings.postgres_url.expose(), 1, settings.postgres_timeout_ms.duration())?;
        let client = pool.get().await.map_err(PgError::from)?;
        let rows = client.query("SELECT epoch FROM partitions ORDER BY partition", &[]).await;
        let rows = rows.map_err(PgError::from)?;
        Ok(Self(rows.iter().map(|row| row.get(0)).collect()))
    }

    /// Waits until every partition is open under a later epoch.
    ///
    /// # Errors
    /// [`DevError::NotOpen`].
    pub(super) async fn wait_past(&self, node: &Node, servers: &Servers) -> Result<(), DevError> {
        let began = Instant::now();
        let may_have_other_keeper = servers.data_dir().is_none();
        while began.elapsed() < OPEN_WAIT {
            let epochs = node.epochs();
            let is_later = self.0.iter().zip(&epochs).all(|(earlier, now)| *now > Some(*earlier));
            let is_open = epochs.iter().all(Option::is_some);
            if is_later || (may_have_other_keeper && is_open && began.elapsed() > OWN_OPENING_WAIT) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(DevError::NotOpen { waited_s: OPEN_WAIT.as_secs() })
    }
}
