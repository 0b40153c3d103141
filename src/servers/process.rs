//! One server process: launched, signalled, waited for, never left behind.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ServersError;
use super::guard::Guard;
use super::user::ServerUser;

/// How often the state of a process or a lock is looked at.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How often a starting server is asked whether it is ready; each question leaves a line in its log.
pub(super) const READY_INTERVAL: Duration = Duration::from_millis(20);
/// Bound on the wait after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on the blocking wait in `drop`; past it the guard goes on.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes the shell's pid, which `exec` passes on to the server, to the guard; then becomes the
/// server, with both outputs in the log (`$0`).
const LAUNCH_SCRIPT: &str = r#"echo "$$"; exec "$@" >>"$0" 2>&1"#;

/// What to launch, and how it may be ended without asking.
pub(super) struct Launch<'a> {
    /// Name for messages.
    pub server: &'static str,
    /// The binary.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// More environment variables.
    pub env: &'a [(OsString, OsString)],
    /// Working directory.
    pub dir: &'a Path,
    /// File to which its output is appended.
    pub log: &'a Path,
    /// The locked lock file; the server inherits it as its standard input and so holds the lock.
    pub lock: File,
    /// User to run as, where it is not ours.
    pub run_as: Option<&'a ServerUser>,
    /// Signal for an end without ceremony, by `drop` and by the guard.
    pub abandon: Signal,
}

/// A running (or just ended) server process.
pub(super) struct ServerProcess {
    server: &'static str,
    child: Child,
    guard: Guard,
    abandon: Signal,
}

impl ServerProcess {
    /// Launches a server under a guard.
    pub(super) fn launch(launch: Launch<'_>) -> Result<Self, ServersError> {
        let abandon = launch.abandon;
        let guard = Guard::start(abandon.as_str().trim_start_matches("SIG"))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LAUNCH_SCRIPT])
            .arg(launch.log)
            .arg(launch.program)
            .args(launch.args)
            .current_dir(launch.dir)
            // Messages and numbers in logs do not depend on the operator's language.
            .env("LC_ALL", "C")
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdin(launch.lock)
            .stdout(guard.pid_channel()?)
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(user) = launch.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        let child = command.spawn().map_err(ServersError::io(format!("start {}", launch.server)))?;
        Ok(Self { server: launch.server, child, guard, abandon })
    }

    /// The server's process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the server ended, if it has. Reaps it, and releases the guard with it.
    pub(super) fn exit_status(&mut self) -> Result<Option<ExitStatus>, ServersError> {
        let status = self.child.try_wait().map_err(ServersError::io(format!("wait for {}", self.server)))?;
        if status.is_some() {
            self.guard.release();
        }
        Ok(status)
    }

    /// Sends a signal; an error where the server has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), ServersError> {
        // Looked at first: after the reaping the pid may belong to somebody else.
        if self.exit_status()?.is_some() {
            return Err(ServersError::NotRunning { server: self.server });
        }
        send(self.pid(), signal)
    }

    /// Goes down the ladder of (signal, grace) until the server ends; the last rung is SIGKILL.
    pub(super) async fn end(&mut self, ladder: &[(Signal, Duration)]) -> Result<(), ServersError> {
        for &(signal, grace) in ladder.iter().chain(&[(Signal::SIGKILL, KILL_TIMEOUT)]) {
            match self.signal(signal) {
                Err(ServersError::NotRunning { .. }) => return Ok(()),
                outcome => outcome?,
            }
            let deadline = Instant::now() + grace;
            while Instant::now() < deadline {
                if self.exit_status()?.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Err(ServersError::WillNotEnd { server: self.server, pid: self.pid() })
    }
}

impl Drop for ServerProcess {
    /// Ends the server. Blocks for at most 2 s, usually some milliseconds: without the wait a
    /// test's directory would be removed under a server that still writes.
    fn drop(&mut self) {
        let deadline = Instant::now() + DROP_TIMEOUT;
        if self.signal(self.abandon).is_ok() {
            let _ = self.signal(Signal::SIGCONT);
        }
        while matches!(self.exit_status(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Sends a signal to a process that is known to be alive or unreaped.
pub(super) fn send(pid: u32, signal: Signal) -> Result<(), ServersError> {
    kill(Pid::from_raw(pid.cast_signed()), signal)
        .map_err(|errno| ServersError::io(format!("send {signal} to process {pid}"))(errno.into()))
}

/// The direct children of a process: from /proc, or from `ps` where there is no /proc.
pub(super) fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc").and_then(Iterator::collect::<Result<Vec<_>, _>>) else {
        return children_by_ps(parent);
    };
    let pids = entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent_in_stat(&stat) == Some(parent)
    })
    .collect()
}

/// The fourth field of /proc/…/stat (proc(5)). The second is the command in parentheses and may
/// itself hold spaces and parentheses, hence the search from the right.
fn parent_in_stat(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn children_by_ps(parent: u32) -> Vec<u32> {
    let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u32>);
            let (pid, ppid) = (fields.next()?.ok()?, fields.next()?.ok()?);
            (ppid == parent).then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn parent_is_found_behind_an_odd_command_name() {
        assert_eq!(parent_in_stat("42 (a) b (c)) S 7 42 42 0"), Some(7));
        assert_eq!(parent_in_stat(""), None);
    }

    #[test]
    fn own_children_are_listed() {
        let mut child = Command::new("sleep").arg("5").spawn().unwrap();
        let listed = children_of(std::process::id()).contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed);
    }
}
