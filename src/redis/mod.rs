//! The one door to Redis: every key, every script and every reply passes here.

mod client;
mod clock;
mod error;
mod keys;
mod scripts;
mod session;
mod session_pool;
mod stamp;
mod subscriber;

pub use client::{Redis, RedisOptions, Reply};
pub use clock::{RedisClock, server_time};
pub use error::RedisError;
pub use keys::{GROUP, Keys, LAYOUT, PAYMENT_GROUP, SaleKeys};
pub use scripts::{KeeperScript, Script, ScriptTexts, StampedScripts};
pub use session::{Held, ReplicaWait, Session};
pub use session_pool::SessionPool;
pub use stamp::Stamp;
pub use subscriber::{Heard, Subscriber};
