//! Looks at what the servers hold, for the checker.

mod payments;
mod read;
mod watch;

use std::time::{Duration, Instant};

use doorbuster::partition::Partition;
use doorbuster::redis::{Keys, Redis};

use crate::ChaosError;
use crate::deployment::{Deployment, PATIENCE};

pub use read::read_at_rest;
pub use watch::{OversoldWatch, deadlocks};

const POLL: Duration = Duration::from_millis(20);
/// Each look costs both servers some queries.
const REST_POLL: Duration = Duration::from_millis(60);

/// How far a partition is with what it has accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether it says that it is open.
    pub is_open: bool,
    /// Of the opening that counts.
    pub stamp: String,
    /// Entries accepted since that opening.
    pub appended: u64,
    /// Entries persisted since.
    pub settled: u64,
}

/// Asks one partition.
///
/// # Errors
/// [`ChaosError::Redis`].
pub async fn progress(redis: &Redis, partition: Partition) -> Result<Progress, ChaosError> {
    let args = ["state", "stamp", "appended", "settled"].map(Into::into).to_vec();
    let reply = redis.on_key("HMGET", &Keys::new(partition).meta, args).await?;
    let words: [Option<String>; 4] = reply
        .convert::<Vec<Option<String>>>()
        .ok()
        .and_then(|words| words.try_into().ok())
        .unwrap_or_default();
    let [state, stamp, appended, settled] = words;
    let number = |word: Option<String>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Progress {
        is_open: state.as_deref() == Some("open"),
        stamp: stamp.unwrap_or_default(),
        appended: number(appended),
        settled: number(settled),
    })
}

/// Waits until all that was accepted by now is persisted; how long that took, `None` past the patience.
pub async fn drained_by(deployment: &Deployment) -> Option<Duration> {
    let began = Instant::now();
    for partition in deployment.partitions() {
        let mut target: Option<Progress> = None;
        loop {
            // Where Redis is away or closed the wait begins with its next opening, which drains the log itself.
            if let Some(now) = look(deployment, partition).await.filter(|now| now.is_open) {
                match &target {
                    Some(target) if target.stamp == now.stamp && now.settled >= target.appended => break,
                    Some(target) if target.stamp == now.stamp => {}
                    _ => target = Some(now),
                }
            }
            if began.elapsed() > PATIENCE {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Some(began.elapsed())
}

async fn look(deployment: &Deployment, partition: Partition) -> Option<Progress> {
    let redis = deployment.connect_redis().await.ok()?;
    let now = progress(&redis, partition).await.ok();
    redis.close().await;
    now
}

/// What is still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Entries not settled, changes of stock not come back.
    pub unsettled: u64,
    /// Orders that wait for a payment although their hold is over, or is over in a moment.
    pub overdue: u64,
    /// Payments that are not decided, and charges that the gateway has not decided or told.
    pub unpaid: u64,
    /// Partitions that are not open.
    pub closed: u64,
}

/// Waits until all is at rest, or the patience is over; what is under way then.
async fn wait_settled(deployment: &Deployment) -> Result<UnderWay, ChaosError> {
    const INTENTS: &str = "SELECT count(*) FROM stock_intents WHERE applied_at IS NULL";
    // Holds last a second, or as good as for ever.
    const OVERDUE: &str = "SELECT count(*) FROM orders WHERE state = 'pending' AND expires_at < clock_timestamp() + interval '1 minute'";
    let end = Instant::now() + PATIENCE;
    let db = deployment.sql().await?;
    let redis = deployment.connect_redis().await?;
    let mut was_at_rest = false;
    loop {
        let unpaid = payments::open(deployment, &db).await?;
        // Holds first: each that ends makes a change of stock.
        let overdue = db.query_one(OVERDUE, &[]).await?.get::<_, i64>(0).unsigned_abs();
        let intents = db.query_one(INTENTS, &[]).await?.get::<_, i64>(0).unsigned_abs();
        let mut now = UnderWay { unsettled: intents, overdue, unpaid, closed: 0 };
        for partition in deployment.partitions() {
            let progress = progress(&redis, partition).await?;
            now.unsettled += progress.appended.saturating_sub(progress.settled);
            now.closed += u64::from(!progress.is_open);
        }
        // One look after another: what came out of the log between them, into a place that was looked at, is seen next time.
        let is_at_rest = now == UnderWay::default();
        if is_at_rest && was_at_rest || Instant::now() > end {
            redis.close().await;
            return Ok(now);
        }
        was_at_rest = is_at_rest;
        tokio::time::sleep(REST_POLL).await;
    }
}
