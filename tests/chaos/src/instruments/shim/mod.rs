//! A library put before a server's own (`LD_PRELOAD`) that makes storage and clock fail as real ones do.
//!
//! - **Loss of power.** `kill -9` alone proves nothing about fsync: the kernel still writes what the process
//!   wrote. The shim keeps, for each file below a root, the size its last successful sync covered, and the old
//!   content of whatever was changed below that size since. [`Shim::power_loss`] puts all of that back: the
//!   worst that a disk may do, every byte gone that was not synced. Not covered: renames, creations and removals
//!   that were not followed by a sync of their directory (they stay); a truncation by `O_TRUNC` (it stays);
//!   in-place overwrites through stdio, `mmap` or io_uring (they stay; neither server makes any by default).
//! - **Full disk.** While the switch is on, whatever would make a file longer ends with ENOSPC; what was
//!   allocated before can still be overwritten, as on a real disk. stdio is not covered. Where a small tmpfs can
//!   be mounted, [`SmallDisk`](super::SmallDisk) is closer to the truth.
//! - **Clock.** The wall clock is off by what is set, at once and in running processes; monotonic clocks are not.
//!
//! The C sources lie beside this file and are compiled into the run's directory (Linux with glibc).

mod control;
mod undo;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use control::ShimCounts;
pub use undo::PowerLoss;

use super::InstrumentError;
use control::Control;

const INSTRUMENT: &str = "the preloaded shim";
const SOURCES: [(&str, &str); 4] = [
    ("control.h", include_str!("control.h")),
    ("journal.c", include_str!("journal.c")),
    ("files.c", include_str!("files.c")),
    ("clock.c", include_str!("clock.c")),
];

/// One shim: a compiled library, and the switches, counters and journals of the processes started under it.
pub struct Shim {
    library: PathBuf,
    state: PathBuf,
    root: PathBuf,
    control: Control,
}

impl Shim {
    /// Compiles the shim into `dir`, which is made, for processes that keep files below `root`, a directory that the
    /// server may make itself. Only those are followed: Redis' `appendonlydir`, say, without its log file beside it.
    /// The server's user must be able to reach both.
    ///
    /// # Errors
    /// [`InstrumentError::Unavailable`] on another system than Linux with glibc, or without a C compiler;
    /// [`InstrumentError::Io`].
    pub fn install(dir: &Path, root: &Path) -> Result<Self, InstrumentError> {
        let (source, state) = (dir.join("source"), dir.join("state"));
        for path in [&source, &state] {
            std::fs::create_dir_all(path)
                .map_err(InstrumentError::io(format!("create {}", path.display())))?;
        }
        // The server's user makes its journals there.
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777))
            .map_err(InstrumentError::io(format!("open {} to the server's user", state.display())))?;
        let library = canonical(&compile(&source, &dir.join("fault-shim.so"))?)?;
        let state = canonical(&state)?;
        Ok(Self { library, control: Control::create(&state)?, state, root: future_path(root)? })
    }

    /// The environment under which a server is under this shim.
    #[must_use]
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("LD_PRELOAD".into(), self.library.clone().into()),
            ("FAULT_SHIM_DIR".into(), self.state.clone().into()),
            ("FAULT_SHIM_ROOT".into(), self.root.clone().into()),
        ]
    }

    /// What the processes did since this shim was installed or power was lost last.
    ///
    /// # Errors
    /// [`InstrumentError::LostCount`]; [`InstrumentError::Io`].
    pub fn counts(&self) -> Result<ShimCounts, InstrumentError> {
        self.control.counts()
    }

    /// Makes the disk full, or gives its space back.
    ///
    /// # Errors
    /// [`InstrumentError::Io`].
    pub fn set_disk_full(&self, full: bool) -> Result<(), InstrumentError> {
        self.control.set_disk_full(full)
    }

    /// Sets the wall clock of every process under the shim `offset_ms` from the true time; 0 puts it right.
    ///
    /// # Errors
    /// [`InstrumentError::Io`].
    pub fn set_clock_offset_ms(&self, offset_ms: i64) -> Result<(), InstrumentError> {
        self.control.set_clock_offset_ms(offset_ms)
    }

    /// Takes from every file below the root what was not synced. What is left counts as durable from then on.
    /// The processes must have been killed; the switches are kept.
    ///
    /// # Errors
    /// [`InstrumentError::StillRunning`]; [`InstrumentError::LostCount`]; [`InstrumentError::Io`].
    pub fn power_loss(&self) -> Result<PowerLoss, InstrumentError> {
        let pids = control::users_of(&self.library);
        if !pids.is_empty() {
            return Err(InstrumentError::StillRunning { pids, what: self.library.display().to_string() });
        }
        self.control.counts()?;
        let loss = undo::undo_unsynced(&self.control.files()?, &self.state, &self.root)?;
        self.control.forget_files(&self.state)?;
        Ok(loss)
    }
}

/// The shim compares with what /proc says, which knows no symlinks.
fn canonical(path: &Path) -> Result<PathBuf, InstrumentError> {
    path.canonicalize().map_err(InstrumentError::io(format!("find the path of {}", path.display())))
}

/// As [`canonical`], of what will be made in a directory that is made here.
fn future_path(path: &Path) -> Result<PathBuf, InstrumentError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            std::fs::create_dir_all(parent)
                .map_err(InstrumentError::io(format!("create {}", parent.display())))?;
            Ok(canonical(parent)?.join(name))
        }
        _ => canonical(path),
    }
}

fn compile(source: &Path, library: &Path) -> Result<PathBuf, InstrumentError> {
    let unavailable = |reason: String| InstrumentError::Unavailable { instrument: INSTRUMENT, reason };
    if !cfg!(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")) {
        return Err(unavailable("it needs 64-bit Linux with glibc".to_owned()));
    }
    for (name, text) in SOURCES {
        std::fs::write(source.join(name), text)
            .map_err(InstrumentError::io(format!("write {name} to {}", source.display())))?;
    }
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(library)
        .args(SOURCES.iter().map(|(name, _)| name).filter(|name| name.ends_with(".c")))
        .arg("-ldl")
        .current_dir(source)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unavailable(format!("cc does not start ({error}); install a C compiler")))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(InstrumentError::Command { doing: "compile the shim".to_owned(), output });
    }
    Ok(library.to_path_buf())
}
