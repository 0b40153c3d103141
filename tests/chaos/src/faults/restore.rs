//! The past comes back: an older Postgres, and the log played once more.

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::instruments::BaseBackup;

const ORDERS: &str = "SELECT count(*) FROM orders WHERE sale_id = $1";

/// Postgres as it was before the first order.
#[derive(Default)]
pub(super) struct OlderPostgres(Option<BaseBackup>);

impl OlderPostgres {
    /// Takes the backup. Beside the cluster: both on one disk, and open to the server's user.
    pub async fn take(&mut self, deployment: &Deployment, scene: &Scene) -> Result<(), ChaosError> {
        let dir = deployment.postgres.pgdata().with_file_name(format!("backup-{}", scene.sales[0]));
        self.0 = Some(BaseBackup::take(&deployment.postgres, &dir).await?);
        Ok(())
    }

    /// Puts it in the place of the one that runs. Answers with the orders that are gone from there.
    pub async fn restore(&mut self, deployment: &mut Deployment, sale: &str) -> Result<i64, ChaosError> {
        let before = stored_orders(deployment, sale).await?;
        self.put_back(deployment).await?;
        Ok(before)
    }

    /// As [`Self::restore`], without a look at what is there.
    pub async fn put_back(&mut self, deployment: &mut Deployment) -> Result<(), ChaosError> {
        if let Some(backup) = self.0.take() {
            backup.restore(&mut deployment.postgres).await?;
        }
        Ok(())
    }
}

/// Orders of a sale that are in Postgres.
pub(super) async fn stored_orders(deployment: &Deployment, sale: &str) -> Result<i64, ChaosError> {
    Ok(deployment.sql().await?.query_one(ORDERS, &[&sale]).await?.get(0))
}

/// Postgres comes back from a base backup that was taken before the first order, while the nodes run on.
#[derive(Default)]
pub struct PostgresRestored {
    older: OlderPostgres,
}

#[async_trait]
impl Fault for PostgresRestored {
    fn kind(&self) -> &'static str {
        "postgres_restored"
    }

    async fn prepare(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<(), ChaosError> {
        self.older.take(deployment, scene).await
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let before = self.older.restore(deployment, &scene.sales[0]).await?;
        Ok(Evidence::seen(before > 0, format!("{before} orders were gone from Postgres")))
    }

    async fn heal(&mut self, _: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        Ok(Evidence::not_yet())
    }
}

/// An operator replays the whole log while orders are taken, and again.
pub struct ReplayedTwice;

#[async_trait]
impl Fault for ReplayedTwice {
    fn kind(&self) -> &'static str {
        "replayed_twice"
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let node = &deployment.nodes[0];
        let (first, second) = tokio::join!(node.command_line(&["replay"]), node.command_line(&["replay"]));
        let (_, first) = (first?, second?);
        let report = first.lines().rfind(|line| line.chars().any(|letter| letter.is_ascii_digit()));
        Ok(Evidence::seen(true, format!("both at once: {}", report.unwrap_or_default().trim())))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.nodes[0].command_line(&["replay"]).await?;
        Ok(Evidence { fired: false, what: "and a third time".into() })
    }
}
