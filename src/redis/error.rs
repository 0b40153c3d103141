//! What can go wrong between a node and Redis.

use crate::redis::LAYOUT;
use fred::error::{Error as FredError, ErrorKind};

/// A call to Redis failed. Only `Timeout` and `Disconnected` leave open whether it took effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// The script's stamp is not the partition's, its lease ran out, or the server does not know the script.
    #[error("fenced ({0}): wait for the keeper to open the partition")]
    Fenced(String),
    /// A keeper found that another one has gone further.
    #[error("superseded ({0}): another keeper has this partition")]
    Superseded(String),
    /// The keys were laid out by another version of Doorbuster.
    #[error(
        "redis holds keys of layout {0}, this version knows {LAYOUT}: run the version that wrote them, or empty redis and let it be rebuilt"
    )]
    Layout(String),
    /// No reply in time.
    #[error("redis did not answer in time: is it stopped, or overloaded?")]
    Timeout,
    /// The connection was lost, or never made.
    #[error("no connection to redis: {0}")]
    Disconnected(String),
    /// Redis refused the command.
    #[error("redis refused: {0}")]
    Refused(String),
    /// A reply of a shape that this version does not know.
    #[error("unexpected reply from redis: {0}")]
    Unexpected(String),
    /// The client cannot be set up.
    #[error("redis client: {0}: check redis_url")]
    Config(String),
}

impl From<FredError> for RedisError {
    fn from(error: FredError) -> Self {
        let details = error.details().to_owned();
        match details.split_once(' ').map_or(details.as_str(), |(code, _)| code) {
            // Without its group a log is not what the keeper opened.
            "FENCED" | "NOSCRIPT" | "NOGROUP" => return Self::Fenced(details),
            "LAYOUT" => return Self::Layout(details.split(' ').nth(1).unwrap_or_default().to_owned()),
            "SUPERSEDED" => return Self::Superseded(details),
            _ => {}
        }
        match error.kind() {
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Backpressure => {
                Self::Disconnected(details)
            }
            ErrorKind::Config | ErrorKind::Url | ErrorKind::Auth => Self::Config(details),
            ErrorKind::Parse | ErrorKind::Protocol | ErrorKind::NotFound => Self::Unexpected(details),
            _ => Self::Refused(details),
        }
    }
}
