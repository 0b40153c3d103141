//! One process that is measured: started, frozen, ended, never left behind.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::StageError;

/// Grace after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);
/// How much of a log's end goes into an error.
const TAIL_BYTES: usize = 2048;

/// Ends the process group `$1` when the pipe ends without a word: when this program is gone, however it went.
const GUARD: &str = r#"trap '' HUP INT TERM; read -r released && exit 0; kill -KILL -"$1""#;

/// A running process, the leader of a group of its own. Dropping it ends the group.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    guard: (Child, Option<ChildStdin>),
    log: PathBuf,
}

/// What to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// For messages.
    pub name: &'static str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment, beside what this program has itself.
    pub environment: Vec<(String, String)>,
    /// Working directory.
    pub dir: &'a Path,
    /// File for what it prints.
    pub log: PathBuf,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// [`StageError::Io`].
    pub fn start(launch: Launch<'_>) -> Result<Self, StageError> {
        let open = || File::options().create(true).append(true).open(&launch.log);
        let io = |source| StageError::io("start a process", source);
        let child = Command::new(launch.program)
            .args(launch.arguments)
            .envs(launch.environment)
            .current_dir(launch.dir)
            .stdin(Stdio::null())
            .stdout(open().map_err(io)?)
            .stderr(open().map_err(io)?)
            .process_group(0)
            .spawn()
            .map_err(io)?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "doorbuster-bench-guard"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(io)?;
        let pipe = guard.stdin.take();
        Ok(Self { name: launch.name, child, guard: (guard, pipe), log: launch.log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error where it has ended.
    ///
    /// # Errors
    /// [`StageError::Ended`].
    pub fn check(&mut self) -> Result<(), StageError> {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                Err(StageError::Ended { name: self.name, status: status.to_string(), tail: self.tail() })
            }
            Ok(None) => Ok(()),
            Err(source) => Err(StageError::io("look at a process", source)),
        }
    }

    /// The end of what it printed.
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL_BYTES)..]).trim_end().to_owned()
    }

    /// Freezes it: it keeps its connections and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended is found by `check`.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Ends it: SIGTERM, and SIGKILL after 15 s.
    pub async fn stop(mut self) {
        self.thaw();
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOP_MAX;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        // What is left is ended by the drop.
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group outlives its leader where children are left; while it has a member its number is not used anew.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
        if let Some(mut pipe) = self.guard.1.take() {
            let _ = pipe.write_all(b"released\n");
        }
        let _ = self.guard.0.wait();
    }
}
