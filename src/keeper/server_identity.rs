//! Which Redis this is.

use crate::redis::{Keys, Redis, RedisError};

/// The process (`run_id`) and the line of replication (`master_replid`) of a Redis.
/// <https://redis.io/docs/latest/commands/info/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// New with every start.
    pub run_id: String,
    /// New with every promotion.
    pub master_replid: String,
}

impl ServerIdentity {
    /// Asks the server, which must be a primary.
    pub async fn of(redis: &Redis, keys: &Keys) -> Result<Self, RedisError> {
        let server =
            redis.command("INFO", &keys.meta, vec!["server".into()]).await?.as_string().unwrap_or_default();
        let replication = redis
            .command("INFO", &keys.meta, vec!["replication".into()])
            .await?
            .as_string()
            .unwrap_or_default();
        if info_field(&replication, "role").as_deref() != Some("master") {
            // Before anything is done: each try would raise the epoch, and every write be refused.
            return Err(RedisError::Disconnected("this server is a replica".into()));
        }
        let identity = (info_field(&server, "run_id"), info_field(&replication, "master_replid"));
        match identity {
            (Some(run_id), Some(master_replid)) => Ok(Self { run_id, master_replid }),
            _ => Err(RedisError::Unexpected("INFO without run_id or master_replid".into())),
        }
    }
}

fn info_field(info: &str, name: &str) -> Option<String> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_field_of_that_very_name() {
        let info = "# Server\r\nrun_id_old:x\r\nrun_id:abc\r\n";
        assert_eq!(info_field(info, "run_id").as_deref(), Some("abc"));
        assert_eq!(info_field(info, "master_replid"), None);
    }
}
