//! System calls of a process while it works, counted by `strace -c` where that is installed.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// How long after its signal strace may take for its table.
const TABLE_MAX: Duration = Duration::from_secs(10);

/// A count that runs. It slows the process down several times, so no other figure is taken beside it.
#[derive(Debug)]
pub struct Syscalls {
    strace: Child,
}

impl Syscalls {
    /// Begins to count; `None` where strace is missing or may not trace.
    pub fn count(pid: u32) -> Option<Self> {
        let strace = Command::new("strace")
            .args(["-c", "-f", "-q", "-p"])
            .arg(pid.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        Some(Self { strace })
    }

    /// Ends the count: the calls that were made.
    pub async fn finish(mut self) -> Option<u64> {
        let pid = nix::unistd::Pid::from_raw(self.strace.id()?.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).ok()?;
        let mut table = String::new();
        let mut said = self.strace.stderr.take()?;
        tokio::time::timeout(TABLE_MAX, said.read_to_string(&mut table)).await.ok()?.ok()?;
        total(&table)
    }
}

/// The calls in the last line, `100.00    0.123456          12     10123       502 total`.
fn total(table: &str) -> Option<u64> {
    let line = table.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_the_table() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.123456          12     10123       502 total\n";
        assert_eq!(total(table), Some(10_123));
        assert_eq!(total("strace: attach: ptrace: Operation not permitted"), None);
    }
}
