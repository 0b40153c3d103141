//! The wall clock of a server is an hour wrong for a while.

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::power::shim_under;
use crate::faults::server::Server;
use crate::storage::Layout;

const HOUR_MS: i64 = 3_600_000;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An hour on, and back again at the end.
    Forward,
    /// An hour back, and on again at the end.
    Back,
}

/// The clock of a server is stepped while it runs.
pub struct ClockStepped {
    server: Server,
    step: Step,
}

impl ClockStepped {
    /// A fault for one event.
    pub fn new(server: Server, step: Step) -> Self {
        Self { server, step }
    }
}

#[async_trait]
impl Fault for ClockStepped {
    fn kind(&self) -> &'static str {
        match (self.server, self.step) {
            (Server::Redis, Step::Forward) => "redis_clock_forward",
            (Server::Redis, Step::Back) => "redis_clock_back",
            (Server::Postgres, Step::Forward) => "postgres_clock_forward",
            (Server::Postgres, Step::Back) => "postgres_clock_back",
        }
    }

    fn layout(&self) -> Layout {
        Layout::Shimmed
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let offset_ms = match self.step {
            Step::Forward => HOUR_MS,
            Step::Back => -HOUR_MS,
        };
        shim_under(deployment, self.server)?.set_clock_offset_ms(offset_ms)?;
        Ok(Evidence::not_yet())
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        500..=3000
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let server_ms = match self.server {
            Server::Redis => {
                let reply = deployment.redis_command("TIME", &[]).await?;
                let words: Vec<i64> = reply.convert().unwrap_or_default();
                words.first().map_or(0, |seconds| seconds * 1000)
            }
            Server::Postgres => {
                let query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                deployment.sql().await?.query_one(query, &[]).await?.get(0)
            }
        };
        shim_under(deployment, self.server)?.set_clock_offset_ms(0)?;
        let off_s = (server_ms - jiff::Timestamp::now().as_millisecond()) / 1000;
        let wanted_s = if self.step == Step::Forward { HOUR_MS } else { -HOUR_MS } / 1000;
        Ok(Evidence::seen((off_s - wanted_s).abs() < 60, format!("the server's clock was off by {off_s} s")))
    }
}
