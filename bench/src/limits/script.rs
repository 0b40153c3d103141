//! The claim script alone, on a partition that the engine has opened and whose worker is frozen.

use std::time::{Duration, Instant};

use doorbuster::buyer::BuyerId;
use doorbuster::catalogue::{SaleId, Sku};
use doorbuster::claim::{Batch, Claim, Decision, IdempotencyKey};
use doorbuster::partition::Partition;
use doorbuster::redis::{Keys, Redis, Script, Stamp, StampedScripts};
use tokio::process::Command;

use super::LimitError;
use crate::cost::{Processor, spent};
use crate::drive::Sample;
use crate::load::buyer_and_key;
use crate::stage::{Engine, StageError};

const SALE: &str = "script";
const SKU: &str = "UNIT-0";
const STOCK: u64 = 1_000_000_000;
/// Claims in one call, and calls at once, of the batch script.
const BATCH: usize = 256;
const CALLS: usize = 4;
/// Connections of redis-benchmark.
const CONNECTIONS: u32 = 64;
/// Calls of redis-benchmark for each second that it may take: it knows no time, only a number.
const CALLS_PER_SECOND: f64 = 10_000.0;
/// Buyers that redis-benchmark draws from: as many as its int holds.
const RANDOM_BUYERS: &str = "2000000000";
const BACKLOG_MAX: u64 = 100_000_000;

/// An open partition with a sale, and the scripts under which it is open.
struct Open {
    keys: Keys,
    sale: SaleId,
    scripts: StampedScripts,
}

impl Open {
    /// Creates the sale where this is the first turn, freezes the worker, and reads the stamp.
    async fn prepare(engine: &Engine) -> Result<Self, LimitError> {
        engine.worker.thaw();
        engine.create_sale(SALE, &[SKU.to_owned()], STOCK).await?;
        engine.worker.freeze();
        let keys = Keys::new(Partition::new(0));
        let redis = engine.servers.client();
        let reply = redis.on_key("HGET", &keys.meta, vec!["stamp".into()]).await.map_err(StageError::from)?;
        let stamp: Stamp = reply
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| LimitError::Script("the partition has no stamp".to_owned()))?;
        let sale = SALE.parse().map_err(|_| LimitError::Script("its sale has no id".to_owned()))?;
        Ok(Self { keys, sale, scripts: StampedScripts::new(stamp) })
    }

    /// Orders that the log was given since the partition was opened: those of one call share an entry of the stream.
    async fn appended(&self, redis: &Redis) -> Result<u64, LimitError> {
        let field = vec!["appended".into()];
        let reply = redis.on_key("HGET", &self.keys.meta, field).await.map_err(StageError::from)?;
        reply.as_u64().ok_or_else(|| LimitError::Script("the partition counts no orders".to_owned()))
    }
}

/// Full batches, some of them in flight.
///
/// # Errors
/// [`LimitError`].
pub async fn batch_script(engine: &Engine, mut sample: Sample, seconds: f64) -> Result<Sample, LimitError> {
    let open = Open::prepare(engine).await?;
    let redis = engine.servers.client();
    let run = fastrand::u32(..);
    let processor = Processor::default().with("redis", engine.servers.redis.pid()).with_load();
    let appended_before = open.appended(redis).await?;
    let before = processor.usage();
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let caller = async |number: usize| -> Result<u64, LimitError> {
        let mut accepted = 0;
        let mut first = number * 1_000_000_000;
        while Instant::now() < end || accepted == 0 {
            let claims = claims(&open.sale, run, first)?;
            first += BATCH;
            let batch = Batch::new(claims.iter(), BACKLOG_MAX);
            let sale_keys = open.keys.sale(&open.sale);
            let refused = |error: doorbuster::claim::ClaimError| LimitError::Script(error.to_string());
            let mut decisions =
                batch.decide(redis, &open.scripts, &open.keys, &sale_keys).await.map_err(refused)?;
            for claim in &claims {
                accepted +=
                    u64::from(matches!(decisions.next(claim).map_err(refused)?, Decision::Accepted(_)));
            }
        }
        Ok(accepted)
    };
    let accepted: u64 = futures_util::future::try_join_all((0..CALLS).map(caller)).await?.iter().sum();
    let time = begin.elapsed();
    let logged = open.appended(redis).await? - appended_before;
    sample.set("claims_per_s", accepted as f64 / time.as_secs_f64());
    sample.processor(&spent(&before, &processor.usage()), "claim", accepted);
    let fault = format!("{accepted} claims accepted, {logged} logged");
    Ok(sample.judged(if accepted == logged && accepted > 0 { Vec::new() } else { vec![fault] }))
}

fn claims(sale: &SaleId, run: u32, first: usize) -> Result<Vec<Claim>, LimitError> {
    let wrong = |_| LimitError::Script("a claim of the benchmark is not valid".to_owned());
    let sku: Sku = SKU.parse().map_err(|_| LimitError::Script("its SKU is not valid".to_owned()))?;
    (first..first + BATCH)
        .map(|number| {
            let (buyer, key) = buyer_and_key(run, number as u64);
            let buyer = BuyerId::parse(buyer.as_bytes()).map_err(|_| wrong(()))?;
            let key = IdempotencyKey::parse(key.as_bytes()).map_err(|_| wrong(()))?;
            Ok(Claim::new(sale.clone(), buyer, key, vec![(sku.clone(), 1)]))
        })
        .collect()
}

/// One claim in each call, by `redis-benchmark`.
///
/// # Errors
/// [`LimitError`].
pub async fn redis_benchmark(
    engine: &Engine,
    mut sample: Sample,
    seconds: f64,
) -> Result<Sample, LimitError> {
    let open = Open::prepare(engine).await?;
    let redis = engine.servers.client();
    let calls = (CALLS_PER_SECOND * seconds).max(1000.0) as u64;
    let before = open.appended(redis).await?;
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &engine.servers.redis.port().to_string(), "--csv", "-r", RANDOM_BUYERS]);
    command.args(["-n", &calls.to_string(), "-c", &CONNECTIONS.to_string()]);
    command.args(evalsha(&open));
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| LimitError::Io { doing: "start redis-benchmark", source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let logged = open.appended(redis).await? - before;
    let Some(per_second) = requests_per_second(&text) else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(sample.judged(vec![format!("redis-benchmark said {text} {said}")]));
    };
    sample.set("claims_per_s", per_second);
    // Two of its random buyers may be the same one.
    let fault = format!("{calls} calls, {logged} orders logged");
    Ok(sample.judged(if logged >= calls * 99 / 100 { Vec::new() } else { vec![fault] }))
}

/// The call of `lua/claim.lua`, by its header: what `redis-benchmark` puts for `__rand_int__` are twelve digits.
fn evalsha(open: &Open) -> Vec<String> {
    let sale = open.keys.sale(&open.sale);
    // Digest of the key (11), fingerprint of the body (11), mark (8); the twelve digits fill the first and one more.
    let head = "__rand_int__0000000000ABCDEFGH".to_owned();
    let entry = format!("ABCDEFGH 0123456789abcdef {SALE} b__rand_int__ k__rand_int__ {SKU}:1");
    vec![
        "EVALSHA".into(),
        open.scripts.digest(Script::Claim).to_owned(),
        "4".into(),
        open.keys.meta.as_str_lossy().into_owned(),
        sale.sale.as_str_lossy().into_owned(),
        sale.buyers.as_str_lossy().into_owned(),
        open.keys.log.as_str_lossy().into_owned(),
        BACKLOG_MAX.to_string(),
        "1".into(),
        "1".into(),
        SKU.into(),
        "b__rand_int__".into(),
        head,
        entry,
        "1".into(),
        "1".into(),
        "1".into(),
    ]
}

/// The second column of the line behind the head of `--csv`: `"EVALSHA …","25000.00","1.9", …`.
fn requests_per_second(csv: &str) -> Option<f64> {
    let line = csv.lines().rev().find(|line| line.starts_with("\"EVALSHA"))?;
    line.split("\",\"").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_table() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"EVALSHA abc 4 k\",\"25316.46\",\"1.9\"\n";
        assert_eq!(requests_per_second(csv), Some(25_316.46));
        assert_eq!(requests_per_second("Could not connect"), None);
    }
}
