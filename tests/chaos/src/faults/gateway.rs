//! A payment gateway that is away, slow, silent or a liar.

use async_trait::async_trait;
use doorbuster::payment::Rates;
use tokio::time::{Duration, Instant};

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::occasion::Occasion;

/// Past gateway_timeout_ms of these deployments.
const SLOW_MS: std::ops::Range<u64> = 600..1_500;
/// How long after its end a fault may first be counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// What is wrong with the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// kill -9; it comes back with its books.
    Down,
    /// SIGSTOP: it takes requests, and carries them out when nobody waits any more.
    Frozen,
    /// It does what it is asked for, and answers too late.
    Slow,
    /// It fails, hangs up on whom it has charged, and leaves undecided what it likes.
    LosingAnswers,
    /// It says that it has declined, and has taken the money.
    Lying,
}

impl Ailment {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Down, Self::Frozen, Self::Slow, Self::LosingAnswers, Self::Lying];

    fn rates(self, random: &mut fastrand::Rng) -> Rates {
        let sound = Occasion::PaidSale.rates();
        match self {
            Self::Down | Self::Frozen => sound,
            Self::Slow => Rates { delay_ms: random.u64(SLOW_MS), ..sound },
            Self::LosingAnswers => {
                let mut share = || 0.2 + random.f64() / 3.0;
                Rates { error_rate: share(), unknown_rate: share(), undecided_rate: share(), ..sound }
            }
            Self::Lying => Rates { lie_rate: 0.5, ..sound },
        }
    }
}

/// The gateway ails.
pub struct GatewayFault {
    ailment: Ailment,
    before: i64,
}

impl GatewayFault {
    /// A fault for one event.
    pub fn new(ailment: Ailment) -> Self {
        Self { ailment, before: 0 }
    }

    /// Lies in its books; else payments that were parked, since nobody could say whether they were made.
    async fn seen(&self, deployment: &mut Deployment) -> Result<i64, ChaosError> {
        if self.ailment == Ailment::Lying {
            let charges = deployment.gateway()?.charges().await?;
            return Ok(charges.iter().filter(|charge| charge.is_lie).count() as i64);
        }
        let query = "SELECT count(*) FROM order_events WHERE reason LIKE 'whether it is paid is not known%'";
        Ok(deployment.sql().await?.query_one(query, &[]).await?.get(0))
    }
}

#[async_trait]
impl Fault for GatewayFault {
    fn kind(&self) -> &'static str {
        match self.ailment {
            Ailment::Down => "gateway_down",
            Ailment::Frozen => "gateway_frozen",
            Ailment::Slow => "gateway_slow",
            Ailment::LosingAnswers => "gateway_losing_answers",
            Ailment::Lying => "gateway_lying",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.before = self.seen(deployment).await?;
        let rates = self.ailment.rates(&mut scene.random);
        let gateway = deployment.gateway()?;
        match self.ailment {
            Ailment::Down => Ok(Evidence::seen(gateway.process.kill()?, "the gateway is gone")),
            Ailment::Frozen => {
                gateway.process.freeze()?;
                tokio::time::sleep(POLL).await;
                Ok(Evidence::seen(gateway.process.is_stopped(), "the gateway is stopped"))
            }
            Ailment::Slow | Ailment::LosingAnswers | Ailment::Lying => {
                gateway.set(rates).await?;
                Ok(Evidence { fired: false, what: format!("{rates:?}") })
            }
        }
    }

    /// At times past a hold.
    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        500..=3500
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let gateway = deployment.gateway()?;
        match self.ailment {
            Ailment::Down => gateway.start().await?,
            Ailment::Frozen => gateway.process.thaw()?,
            Ailment::Slow | Ailment::LosingAnswers | Ailment::Lying => {
                let end = Instant::now() + COUNTED_WITHIN;
                while self.seen(deployment).await? == self.before && Instant::now() < end {
                    tokio::time::sleep(POLL).await;
                }
                let seen = self.seen(deployment).await? - self.before;
                deployment.gateway()?.set(Occasion::PaidSale.rates()).await?;
                return Ok(Evidence::seen(seen > 0, format!("{seen} times")));
            }
        }
        Ok(Evidence::not_yet())
    }
}
