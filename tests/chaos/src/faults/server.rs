//! Servers that die, restart or stand still.

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Decides.
    Redis,
    /// Keeps.
    Postgres,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// kill -9.
    Killed,
    /// An orderly stop.
    Restarted,
    /// SIGSTOP.
    Frozen,
}

/// A server is treated so.
pub struct ServerFault {
    server: Server,
    treatment: Treatment,
    pid: Option<u32>,
}

impl ServerFault {
    /// A fault for one event.
    pub fn new(server: Server, treatment: Treatment) -> Self {
        Self { server, treatment, pid: None }
    }

    fn pid_of(&self, deployment: &Deployment) -> Option<u32> {
        match self.server {
            Server::Redis => deployment.redis.servers[0].pid(),
            Server::Postgres => deployment.postgres.pid(),
        }
    }
}

#[async_trait]
impl Fault for ServerFault {
    fn kind(&self) -> &'static str {
        match (self.server, self.treatment) {
            (Server::Redis, Treatment::Killed) => "redis_killed",
            (Server::Redis, Treatment::Restarted) => "redis_restarted",
            (Server::Redis, Treatment::Frozen) => "redis_frozen",
            (Server::Postgres, Treatment::Killed) => "postgres_killed",
            (Server::Postgres, Treatment::Restarted) => "postgres_restarted",
            (Server::Postgres, Treatment::Frozen) => "postgres_frozen",
        }
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        self.pid = self.pid_of(deployment);
        match (self.server, self.treatment) {
            (Server::Redis, Treatment::Killed) => deployment.redis.servers[0].kill().await?,
            (Server::Redis, Treatment::Restarted) => deployment.redis.servers[0].stop().await?,
            (Server::Redis, Treatment::Frozen) => deployment.redis.servers[0].pause()?,
            (Server::Postgres, Treatment::Killed) => deployment.postgres.kill().await?,
            (Server::Postgres, Treatment::Restarted) => deployment.postgres.stop().await?,
            (Server::Postgres, Treatment::Frozen) => deployment.postgres.pause()?,
        }
        Ok(match self.treatment {
            Treatment::Frozen => Evidence::seen(self.pid.is_some(), format!("{:?} is stopped", self.pid)),
            _ => Evidence::seen(self.pid_of(deployment).is_none(), format!("{:?} is gone", self.pid)),
        })
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        match self.treatment {
            // Past the timeout of a command.
            Treatment::Frozen => 300..=2500,
            _ => 50..=1500,
        }
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        match (self.server, self.treatment) {
            (Server::Redis, Treatment::Frozen) => deployment.redis.servers[0].resume()?,
            (Server::Postgres, Treatment::Frozen) => deployment.postgres.resume()?,
            (Server::Redis, _) => deployment.redis.servers[0].restart().await?,
            (Server::Postgres, _) => deployment.postgres.restart().await?,
        }
        Ok(Evidence::not_yet())
    }
}
