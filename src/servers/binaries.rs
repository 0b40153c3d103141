//! Where the server binaries are, and whether they are new enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServersError;

const POSTGRES_MAJOR_MIN: u32 = 15;
/// (major, minor) from which on a server has what the scripts use.
const REDIS_MIN: (u32, u32) = (7, 0);
const VALKEY_MIN: (u32, u32) = (8, 0);
/// Bound on the directories looked at.
const DIRS_MAX: usize = 128;

/// Places outside PATH where packages put servers: (parent, prefix of the entry, rest).
const POSTGRES_PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // PostgreSQL's own RPMs
    ("/usr/lib", "postgresql", "bin"),           // openSUSE
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
];

/// The binaries of one PostgreSQL installation.
#[derive(Debug, Clone)]
pub(super) struct PostgresBinaries {
    pub postgres: PathBuf,
    pub initdb: PathBuf,
    major: u32,
}

/// Finds PostgreSQL: of the major version `wanted` where data exists already, else the newest.
///
/// # Errors
/// [`ServersError::PostgresNotFound`]; [`ServersError::PostgresMajorMissing`] for `wanted` in `dir`.
pub(super) fn find_postgres(wanted: Option<u32>, dir: &Path) -> Result<PostgresBinaries, ServersError> {
    let found: Vec<PostgresBinaries> =
        postgres_dirs().into_iter().take(DIRS_MAX).filter_map(|dir| postgres_in(&dir)).collect();
    match wanted {
        Some(wanted) => found
            .into_iter()
            .find(|binaries| binaries.major == wanted)
            .ok_or_else(|| ServersError::PostgresMajorMissing { dir: dir.to_path_buf(), wanted }),
        None => found
            .into_iter()
            .filter(|binaries| binaries.major >= POSTGRES_MAJOR_MIN)
            .max_by_key(|binaries| binaries.major)
            .ok_or(ServersError::PostgresNotFound),
    }
}

/// Finds `redis-server` 7.0 or later, else `valkey-server` 8 or later.
///
/// # Errors
/// [`ServersError::RedisTooOld`] where only older ones are found, [`ServersError::RedisNotFound`]
/// where none is.
pub(super) fn find_redis() -> Result<PathBuf, ServersError> {
    let mut too_old = None;
    for name in ["redis-server", "valkey-server"] {
        let Some(path) = path_dirs().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file()) else {
            continue;
        };
        let found = version_line(&path).unwrap_or_default();
        if redis_is_supported(&found) {
            return Ok(path);
        }
        too_old.get_or_insert(ServersError::RedisTooOld { path, found });
    }
    Err(too_old.unwrap_or(ServersError::RedisNotFound))
}

fn path_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian leaves the sbin directories out of a user's PATH; some packages put servers there.
    let more = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];
    std::env::split_paths(&path).take(DIRS_MAX).chain(more.map(PathBuf::from)).collect()
}

fn postgres_dirs() -> Vec<PathBuf> {
    let mut dirs = path_dirs();
    for (parent, prefix, rest) in POSTGRES_PLACES {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let matching =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| {
                // join("") would append a separator only; harmless.
                entry.path().join(rest)
            });
        dirs.extend(matching.filter(|dir| dir.join("postgres").is_file()));
    }
    dirs
}

fn postgres_in(dir: &Path) -> Option<PostgresBinaries> {
    let (postgres, initdb) = (dir.join("postgres"), dir.join("initdb"));
    if !postgres.is_file() || !initdb.is_file() {
        return None;
    }
    let major = postgres_major(&version_line(&postgres)?)?;
    Some(PostgresBinaries { postgres, initdb, major })
}

fn version_line(binary: &Path) -> Option<String> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Of `postgres (PostgreSQL) 15.18 (Debian …)` or `… 18beta1`.
fn postgres_major(line: &str) -> Option<u32> {
    leading_number(line.split_once("(PostgreSQL) ")?.1)
}

/// Of `Redis server v=7.0.15 …` or `Valkey server v=8.0.1 …`. A `redis-server` that is Valkey
/// (Fedora's compatibility package) is judged as Valkey.
fn redis_is_supported(line: &str) -> bool {
    let min = if line.starts_with("Valkey") { VALKEY_MIN } else { REDIS_MIN };
    line.split_once("v=").is_some_and(|(_, version)| {
        let mut parts = version.split('.').map(leading_number);
        parts.next().flatten().zip(parts.next().flatten()).is_some_and(|found| found >= min)
    })
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn versions_are_read_as_the_servers_print_them() {
        assert_eq!(postgres_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(postgres_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(postgres_major("mysqld 8"), None);
        assert!(redis_is_supported("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"));
        assert!(redis_is_supported("Valkey server v=8.0.1 sha=00000000:0"));
        assert!(!redis_is_supported("Valkey server v=7.2.5 sha=00000000:0"));
        assert!(!redis_is_supported("Redis server v=6.2.14 sha=00000000:0"));
        assert!(!redis_is_supported(""));
    }

    #[test]
    fn data_of_a_version_that_is_missing_is_refused_by_name() {
        let error = find_postgres(Some(9), Path::new("/data")).unwrap_err();
        assert!(matches!(error, ServersError::PostgresMajorMissing { wanted: 9, .. }));
        assert!(find_postgres(None, Path::new("/data")).unwrap().major >= POSTGRES_MAJOR_MIN);
    }
}
