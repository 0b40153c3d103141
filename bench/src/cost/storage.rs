//! Bytes: the memory and the append-only file of Redis, the write-ahead log of Postgres.

use crate::stage::{Servers, StageError};

/// A reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `used_memory` of Redis.
    pub redis_bytes: u64,
    /// Size of the append-only file.
    pub aof_bytes: u64,
    /// Rewrites of that file so far: across one, its size says nothing.
    pub aof_rewrites: u64,
    /// Position in the write-ahead log.
    pub wal_bytes: u64,
}

impl Storage {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn read(servers: &Servers) -> Result<Self, StageError> {
        let memory = servers.redis_info("memory").await?;
        let persistence = servers.redis_info("persistence").await?;
        let row = servers
            .db()
            .await?
            .query_one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint", &[])
            .await?;
        Ok(Self {
            redis_bytes: info_number(&memory, "used_memory"),
            aof_bytes: info_number(&persistence, "aof_current_size"),
            aof_rewrites: info_number(&persistence, "aof_rewrites"),
            wal_bytes: row.get::<_, i64>(0).unsigned_abs(),
        })
    }

    /// Bytes an order since `before`: of Redis memory, of the append-only file where it was not rewritten, of WAL.
    pub fn per_order(&self, before: &Self, orders: u64) -> Vec<(&'static str, f64)> {
        if orders == 0 {
            return Vec::new();
        }
        let each = |after: u64, before: u64| (after as f64 - before as f64) / orders as f64;
        let mut figures = vec![
            ("redis_bytes_per_order", each(self.redis_bytes, before.redis_bytes)),
            ("wal_bytes_per_order", each(self.wal_bytes, before.wal_bytes)),
        ];
        if self.aof_rewrites == before.aof_rewrites {
            figures.push(("aof_bytes_per_order", each(self.aof_bytes, before.aof_bytes)));
        }
        figures
    }
}

/// The number of `name:` in an answer of INFO; 0 where there is none.
fn info_number(info: &str, name: &str) -> u64 {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nused_memory_rss:9\r\nused_memory:1234\r\nused_memory_human:1K\r\n";
        assert_eq!(info_number(info, "used_memory"), 1234);
        assert_eq!(info_number(info, "used"), 0);
    }

    #[test]
    fn a_rewritten_file_gives_no_figure() {
        let before = Storage { redis_bytes: 100, aof_bytes: 100, aof_rewrites: 0, wal_bytes: 0 };
        let after = Storage { redis_bytes: 300, aof_bytes: 50, aof_rewrites: 1, wal_bytes: 400 };
        assert_eq!(
            after.per_order(&before, 2),
            [("redis_bytes_per_order", 100.0), ("wal_bytes_per_order", 200.0)]
        );
        assert!(after.per_order(&before, 0).is_empty());
    }
}
