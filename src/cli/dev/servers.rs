//! The servers of `dev`: private ones, or those of the settings.

use std::env;
use std::path::{Path, PathBuf};

use super::DevError;
use crate::config::{PostgresUrl, RedisUrl, Settings};
use crate::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, dev_data_dir};

/// The database of a private PostgreSQL.
const DATABASE: &str = "doorbuster";

/// Where orders go: to private servers, which end with us, or to someone else's.
pub(super) struct Servers(Option<Private>);

struct Private {
    /// Both servers' data, each in a directory of its own.
    dir: PathBuf,
    redis: PrivateRedis,
    postgres: PrivatePostgres,
}

impl Servers {
    /// Starts the private servers, unless the external ones are to be used.
    ///
    /// # Errors
    /// [`DevError::Servers`], [`DevError::NoHome`].
    pub(super) async fn start(external: bool, data_dir: Option<PathBuf>) -> Result<Self, DevError> {
        if external {
            return Ok(Self(None));
        }
        let dir = match data_dir {
            // A directory that was named is never exchanged for another.
            Some(dir) => dir,
            None => dev_data_dir(&user_data_dir(env::var_os("XDG_DATA_HOME"), env::home_dir())?)?,
        };
        // A server that was killed recovers first, and that may take a while.
        eprintln!("Starting Redis and PostgreSQL in {} ...", dir.display());
        let redis = RedisOptions { data_dir: dir.join("redis"), ..RedisOptions::default() };
        let postgres = PostgresOptions { data_dir: dir.join("postgres"), ..PostgresOptions::default() };
        let (redis, postgres) =
            tokio::try_join!(PrivateRedis::start(redis), PrivatePostgres::start(postgres))?;
        postgres.create_database(DATABASE).await?;
        Ok(Self(Some(Private { dir, redis, postgres })))
    }

    /// Leads the settings to the private servers.
    pub(super) fn set_urls(&self, settings: &mut Settings) -> Result<(), DevError> {
        if let Some(Private { redis, postgres, .. }) = &self.0 {
            settings.redis_url = RedisUrl::new(&redis.url()).ok_or(DevError::Address("of Redis"))?;
            settings.postgres_url =
                PostgresUrl::new(&postgres.url(DATABASE)).ok_or(DevError::Address("of PostgreSQL"))?;
        }
        Ok(())
    }

    /// Where the data is, of private servers.
    pub(super) fn data_dir(&self) -> Option<&Path> {
        self.0.as_ref().map(|private| private.dir.as_path())
    }

    /// Stops what was started; lines that say so.
    ///
    /// # Errors
    /// [`DevError::Servers`] where one will not end.
    pub(super) async fn stop(self) -> Result<String, DevError> {
        let Some(Private { dir, mut redis, mut postgres }) = self.0 else {
            return Ok("  The external servers go on running.\n".to_owned());
        };
        let redis_stopped = redis.stop().await;
        postgres.stop().await?;
        redis_stopped?;
        Ok(format!(
            "  Redis      stopped\n  Postgres   stopped\nThe data is in {}: the next start finds it.\n",
            dir.display()
        ))
    }
}

/// `$XDG_DATA_HOME/doorbuster`, else `~/.local/share/doorbuster`. A value that is not absolute is ignored
/// (XDG Base Directory Specification 0.8, "Basics").
fn user_data_dir(xdg: Option<std::ffi::OsString>, home: Option<PathBuf>) -> Result<PathBuf, DevError> {
    let data_home = xdg.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let data_home =
        data_home.or_else(|| home.filter(|dir| dir.is_absolute()).map(|dir| dir.join(".local/share")));
    Ok(data_home.ok_or(DevError::NoHome)?.join("doorbuster"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn data_lies_where_the_xdg_specification_wants_it() {
        let home = || Some(PathBuf::from("/home/me"));
        let dir = |xdg: Option<&str>, home| user_data_dir(xdg.map(Into::into), home).ok();
        assert_eq!(dir(Some("/data"), home()).unwrap(), Path::new("/data/doorbuster"));
        assert_eq!(dir(Some("data"), home()).unwrap(), Path::new("/home/me/.local/share/doorbuster"));
        assert_eq!(dir(None, home()).unwrap(), Path::new("/home/me/.local/share/doorbuster"));
        assert_eq!(dir(None, None), None);
    }
}
