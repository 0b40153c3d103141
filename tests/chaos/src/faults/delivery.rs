//! Entries that are delivered to two workers.

use std::time::Duration;

use async_trait::async_trait;
use doorbuster::redis::GROUP;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::persisting::Block;

/// Gives every pending entry to another consumer.
/// KEYS: log.  ARGV: group.  Reply: how many.
const SWAP: &str = r"
local consumers = {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for i = 1, #consumer, 2 do info[consumer[i]] = consumer[i + 1] end
  if info['idle'] < 3000 then consumers[#consumers + 1] = info['name'] end
end
local swapped = 0
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)) do
  for i, name in ipairs(consumers) do
    if name ~= pending[2] and i % 2 == swapped % 2 then
      redis.call('XCLAIM', KEYS[1], ARGV[1], name, 0, pending[1])
      swapped = swapped + 1
      break
    end
  end
end
return swapped";

/// While workers hold entries that Postgres does not take yet, each entry is claimed for another worker, and all
/// connections are cut: whoever begins anew asks for its own entries first.
pub struct DeliveredTwice;

#[async_trait]
impl Fault for DeliveredTwice {
    fn kind(&self) -> &'static str {
        "delivered_twice"
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let block = Block::writing(deployment, "orders").await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let swapped = deployment.redis_command("EVAL", &[SWAP, "1", "{p0}:log", GROUP]).await?;
        deployment.redis_command("CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]).await?;
        block.release().await?;
        let swapped = swapped.as_i64().unwrap_or(0);
        Ok(Evidence::seen(swapped > 0, format!("{swapped} entries were given to another worker")))
    }

    async fn heal(&mut self, _: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        Ok(Evidence::not_yet())
    }
}
