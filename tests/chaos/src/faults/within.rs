//! What breaks while a storm or a sale that is paid for goes on.

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};

type Seen = Result<Evidence, ChaosError>;

/// A fault that breaks meanwhile. By default nothing does.
#[derive(Default)]
pub struct Within {
    fault: Option<Box<dyn Fault>>,
    /// It was seen to break.
    broke: bool,
}

impl Within {
    pub fn new(fault: impl Fault + 'static) -> Self {
        Self { fault: Some(Box::new(fault)), broke: false }
    }

    pub fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        self.fault.as_ref().map_or(300..=1200, |fault| fault.hold_ms())
    }

    pub async fn prepare(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<(), ChaosError> {
        match &mut self.fault {
            Some(fault) => fault.prepare(deployment, scene).await,
            None => Ok(()),
        }
    }

    /// Breaks it; `alone` is what is seen where there is nothing to break. Only [`Within::heal`] says whether it fired.
    pub async fn inject(&mut self, deployment: &mut Deployment, scene: &mut Scene, alone: &str) -> Seen {
        let broken = match &mut self.fault {
            Some(fault) => fault.inject(deployment, scene).await?,
            None => Evidence::seen(true, alone),
        };
        self.broke = broken.fired;
        Ok(Evidence { fired: false, what: broken.what })
    }

    /// Mends it, and says whether it was seen to break, then or now. What was seen comes before the rest of the evidence.
    pub async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Seen {
        let Some(fault) = &mut self.fault else { return Ok(Evidence::seen(self.broke, "")) };
        let healed = fault.heal(deployment, scene).await?;
        Ok(Evidence::seen(self.broke || healed.fired, healed.what + "; "))
    }
}
