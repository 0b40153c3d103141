//! What lies between the engine and its servers delays, loses and cuts.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::server::Server;
use crate::instruments::{Behaviour, Proxy, ProxyCounts};

/// Between two cuts.
const CUT_PAUSE: Duration = Duration::from_millis(150);
/// How long after its end a fault may first be counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server does as it is told, and nobody hears of it.
    RepliesLost,
    /// Requests and replies are late, perhaps past every timeout.
    Delayed,
    /// Nothing passes, and nobody is told.
    Unreachable,
    /// Every connection is closed, some times over.
    ConnectionsCut,
    /// Connections break before or after a request, all the time.
    Unreliable,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::RepliesLost, Self::Delayed, Self::Unreachable, Self::ConnectionsCut, Self::Unreliable];
}

/// The network between all nodes and one server.
pub struct NetworkFault {
    server: Server,
    trouble: Trouble,
    before: ProxyCounts,
}

impl NetworkFault {
    /// A fault for one event.
    pub fn new(server: Server, trouble: Trouble) -> Self {
        Self { server, trouble, before: ProxyCounts::default() }
    }

    fn proxy<'a>(&self, deployment: &'a Deployment) -> Result<&'a Proxy, ChaosError> {
        let proxy = match self.server {
            Server::Redis => deployment.instruments.redis_proxy.as_ref(),
            Server::Postgres => Some(&deployment.instruments.postgres_proxy),
        };
        proxy.ok_or_else(|| ChaosError::Setup("there is no proxy before this server".to_owned()))
    }

    /// A part of the requests whose replies are lost: scripts, or the ends of transactions.
    fn decisive(&self) -> &'static [u8] {
        match self.server {
            Server::Redis => b"EVALSHA",
            Server::Postgres => b"COMMIT",
        }
    }

    fn happened(&self, now: ProxyCounts) -> u64 {
        let since = |count: fn(&ProxyCounts) -> u64| count(&now) - count(&self.before);
        match self.trouble {
            Trouble::RepliesLost => since(|counts| counts.replies_lost),
            Trouble::Delayed => since(|counts| counts.late),
            Trouble::Unreachable => since(|counts| counts.late + counts.cut),
            Trouble::ConnectionsCut => since(|counts| counts.cut),
            Trouble::Unreliable => since(|counts| counts.replies_lost + counts.requests_lost),
        }
    }
}

#[async_trait]
impl Fault for NetworkFault {
    fn kind(&self) -> &'static str {
        match (self.server, self.trouble) {
            (Server::Redis, Trouble::RepliesLost) => "redis_replies_lost",
            (Server::Redis, Trouble::Delayed) => "redis_delayed",
            (Server::Redis, Trouble::Unreachable) => "redis_unreachable",
            (Server::Redis, Trouble::ConnectionsCut) => "redis_connections_cut",
            (Server::Redis, Trouble::Unreliable) => "redis_unreliable",
            (Server::Postgres, Trouble::RepliesLost) => "postgres_replies_lost",
            (Server::Postgres, Trouble::Delayed) => "postgres_delayed",
            (Server::Postgres, Trouble::Unreachable) => "postgres_unreachable",
            (Server::Postgres, Trouble::ConnectionsCut) => "postgres_connections_cut",
            (Server::Postgres, Trouble::Unreliable) => "postgres_unreliable",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let proxy = self.proxy(deployment)?;
        self.before = proxy.counts();
        let random = &mut scene.random;
        match self.trouble {
            Trouble::RepliesLost => proxy.lose_replies(random.u32(3..30), self.decisive()),
            Trouble::Delayed => {
                let mut ms = |below| Duration::from_millis(random.u64(5..below));
                proxy.set(Behaviour::Delay { requests: ms(200), replies: ms(1500) }).await;
            }
            Trouble::Unreachable => proxy.set(Behaviour::Blackhole).await,
            Trouble::ConnectionsCut => {
                for _ in 0..random.u32(1..4) {
                    proxy.cut();
                    tokio::time::sleep(CUT_PAUSE).await;
                }
            }
            Trouble::Unreliable => {
                let (fraction, seed) = (0.02 + random.f64() / 5.0, random.u64(..));
                proxy.set(Behaviour::Unreliable { fraction, seed }).await;
            }
        }
        Ok(Evidence::not_yet())
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        // Past the timeout of a command, at times past a lease.
        300..=4000
    }

    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError> {
        let proxy = self.proxy(deployment)?;
        // What lay in the way is delivered late, or never.
        if self.trouble == Trouble::Unreachable && scene.random.bool() {
            proxy.cut();
        }
        proxy.lose_replies(0, b"");
        proxy.set(Behaviour::Pass).await;
        // What a hole held back counts once it is delivered, or its connections are closed.
        let end = tokio::time::Instant::now() + COUNTED_WITHIN;
        let mut happened = self.happened(proxy.counts());
        while happened == 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
            happened = self.happened(proxy.counts());
        }
        Ok(Evidence::seen(happened > 0, format!("{:?}, {happened} times", self.trouble)))
    }
}
