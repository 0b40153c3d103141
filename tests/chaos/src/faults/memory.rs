//! Redis reaches its maxmemory.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};

/// Room that is left above what is used (bytes).
const ROOM: u64 = 16 * 1024;

/// maxmemory is set just above what is used: claims must be refused before they change anything, and what is settled must
/// get through.
#[derive(Default)]
pub struct MemoryFull {
    errors: u64,
}

#[async_trait]
impl Fault for MemoryFull {
    fn kind(&self) -> &'static str {
        "redis_memory_full"
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        self.errors = out_of_memory_errors(deployment).await?;
        let memory = info(deployment, "memory").await?;
        let used = field(&memory, "used_memory:").and_then(|used| used.parse::<u64>().ok()).unwrap_or(0);
        let bound = (used + ROOM).to_string();
        deployment.redis_command("CONFIG", &["SET", "maxmemory", &bound]).await?;
        Ok(Evidence { fired: false, what: format!("maxmemory {bound}") })
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        800..=2000
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        // A plain write is refused too, so the claims' own refusals are waited for.
        let mut refused = 0;
        for _ in 0..100 {
            refused = out_of_memory_errors(deployment).await? - self.errors;
            if refused > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        deployment.redis_command("CONFIG", &["SET", "maxmemory", "0"]).await?;
        Ok(Evidence::seen(refused > 0, format!("{refused} calls were refused")))
    }
}

async fn out_of_memory_errors(deployment: &Deployment) -> Result<u64, ChaosError> {
    let errors = info(deployment, "errorstats").await?;
    let counted = field(&errors, "errorstat_OOM:count=").and_then(|count| count.parse().ok());
    Ok(counted.unwrap_or(0))
}

async fn info(deployment: &Deployment, section: &str) -> Result<String, ChaosError> {
    Ok(deployment.redis_command("INFO", &[section]).await?.as_string().unwrap_or_default())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
