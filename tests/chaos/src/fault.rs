//! One way to break things, and the proof that it was broken.

use async_trait::async_trait;
use fastrand::Rng;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::occasion::Occasion;
use crate::storage::Layout;
use crate::stored::Injected;

/// Whether a fault was seen to have happened: a fault that did not fire proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// It was seen.
    pub fired: bool,
    /// What was seen.
    pub what: String,
}

impl Evidence {
    /// Something was seen, or was not.
    pub fn seen(fired: bool, what: impl Into<String>) -> Self {
        Self { fired, what: what.into() }
    }

    /// To be looked for later.
    pub fn not_yet() -> Self {
        Self::default()
    }
}

/// What a fault may need to know of the event that it happens in, and tells about itself.
pub struct Scene {
    /// Everything random of this event follows from its seed.
    pub random: Rng,
    /// The sales whose promises are checked; a fault may add its own.
    pub sales: Vec<String>,
    /// What is not to be held against the engine.
    pub injected: Injected,
}

/// One kind of fault. A value of it serves one event.
#[async_trait]
pub trait Fault: Send {
    /// Its name in the table, in `snake_case`.
    fn kind(&self) -> &'static str;

    /// The servers that it needs.
    fn layout(&self) -> Layout {
        Layout::Single
    }

    /// The sale that it needs.
    fn occasion(&self) -> Occasion {
        Occasion::Ordinary
    }

    /// Sets up what must stand before the traffic begins.
    async fn prepare(&mut self, _deployment: &mut Deployment, _scene: &mut Scene) -> Result<(), ChaosError> {
        Ok(())
    }

    /// Breaks it.
    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError>;

    /// For how long it stays broken (ms).
    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        300..=1200
    }

    /// Mends what does not mend itself. Time to the first order is counted from its return.
    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError>;
}
