//! The user that PostgreSQL runs as: it refuses to run as root.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use super::ServersError;

/// Another user than ours, as whom a server runs.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    name: String,
    pub uid: u32,
    pub gid: u32,
}

impl ServerUser {
    /// The user for the cluster in `cluster_dir`: the owner of one that is there already, else
    /// as [`Self::for_new_cluster`].
    pub(super) fn for_cluster(cluster_dir: &Path) -> Result<Option<Self>, ServersError> {
        let Some(user) = Self::for_new_cluster()? else { return Ok(None) };
        let owner = std::fs::metadata(cluster_dir).ok().map(|found| found.uid()).filter(|uid| *uid != 0);
        let owner = owner.and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
        Ok(Some(owner.map_or(user, Self::from)))
    }

    /// None (ourselves) unless we are root; else `postgres`, else `nobody`.
    pub(super) fn for_new_cluster() -> Result<Option<Self>, ServersError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Some(Self::from(user)))
            .ok_or(ServersError::NoServerUser)
    }

    /// Makes this user the owner of one path.
    pub(super) fn own(&self, path: &Path) -> Result<(), ServersError> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(ServersError::io(format!(
            "give {} to the user {}",
            path.display(),
            self.name
        )))
    }

    /// Makes sure that this user can get to `dir`.
    ///
    /// # Errors
    /// [`ServersError::Unreachable`] with the first directory on the way that is closed.
    pub(super) fn check_reach(&self, dir: &Path) -> Result<(), ServersError> {
        match self.blocked_at(dir) {
            None => Ok(()),
            Some(blocked) => Err(ServersError::Unreachable { user: self.name.clone(), blocked }),
        }
    }

    /// The first directory on the way to `dir` that this user cannot enter, of those that exist.
    pub(super) fn blocked_at(&self, dir: &Path) -> Option<PathBuf> {
        if self.can_enter(dir) {
            return None;
        }
        let mut way: Vec<&Path> = dir.ancestors().filter(|part| part.exists()).collect();
        way.reverse();
        way.into_iter().find(|part| !self.can_enter(part)).map(Path::to_path_buf)
    }

    /// Asks the system instead of reading mode bits: ACLs and mounts count too.
    fn can_enter(&self, dir: &Path) -> bool {
        Command::new("/bin/sh")
            .args(["-c", r#"cd "$0""#])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .uid(self.uid)
            .gid(self.gid)
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl From<User> for ServerUser {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}
