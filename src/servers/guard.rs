//! The guard: a tiny shell that ends the server when our process is gone.
//!
//! The guard reads a pipe whose write end only we hold, so the kernel tells it of our death
//! however we die. The first line on the pipe is the server's pid, and the server's launch
//! shell writes it *before* it becomes the server (see `process`), so there is no moment in which a server
//! runs that no guard knows of.

use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ServersError;
use super::process::POLL_INTERVAL;

/// `$1` is the signal to begin with. CONT follows it because a paused server would not see it.
/// A second line on the pipe means that the server has ended in an orderly way.
/// The wait (10 s) is longer than the 5 s after which a postmaster that got QUIT kills the
/// children that did not follow.
const GUARD_SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
read -r pid || exit 0
read -r released && exit 0
kill -"$1" "$pid"
kill -CONT "$pid"
polls=0
while kill -0 "$pid" && [ "$polls" -lt 100 ]; do
    sleep 0.1
    polls=$((polls + 1))
done
kill -KILL "$pid"
"#;

/// Bound on the wait for a released guard to exit; it has one line to read.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running guard. Dropping it unreleased makes it end the server.
pub(super) struct Guard {
    child: Child,
    pipe: Option<PipeWriter>,
}

impl Guard {
    /// Starts a guard that will begin with `signal` (a name for `kill -…`, without `SIG`).
    pub(super) fn start(signal: &str) -> Result<Self, ServersError> {
        let (reader, writer) = std::io::pipe().map_err(ServersError::io("open a pipe"))?;
        let child = Command::new("/bin/sh")
            .args(["-c", GUARD_SCRIPT, "doorbuster-guard", signal])
            .current_dir("/")
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(ServersError::io("start /bin/sh"))?;
        Ok(Self { child, pipe: Some(writer) })
    }

    /// The end on which the server's launch shell writes its pid.
    pub(super) fn pid_channel(&self) -> Result<Stdio, ServersError> {
        match &self.pipe {
            Some(pipe) => {
                pipe.try_clone().map(Stdio::from).map_err(ServersError::io("copy the guard's pipe"))
            }
            None => Ok(Stdio::null()),
        }
    }

    /// Tells the guard that the server has ended, so that it never signals a pid used anew.
    pub(super) fn release(&mut self) {
        let Some(mut pipe) = self.pipe.take() else { return };
        // A failed write means that the guard is gone already, which is what is wanted.
        let _ = pipe.write_all(b"released\n");
        drop(pipe);
        let deadline = std::time::Instant::now() + RELEASE_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}
