//! The binary as a child process, and the shell that talks to it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The binary, with nothing of this process's configuration.
pub fn doorbuster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOORBUSTER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a command wrote to stdout; it must succeed.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that must fail wrote to stderr, and its exit code.
pub fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs a line as a terminal would.
pub fn shell(line: &str) -> String {
    said(Command::new("sh").args(["-c", line]).stdin(Stdio::null()))
}

/// What a claim is answered, by the line that is printed for a newcomer to paste. As a client does, it repeats the same
/// request with the same key while the node says that it does not know: on a busy machine it may be right.
pub fn claim(line: &str) -> String {
    const NEW_KEY: &str = "$(date +%s%N)";
    assert!(line.contains(NEW_KEY), "{line}");
    let line = line.replace(NEW_KEY, shell(&format!("echo {NEW_KEY}")).trim()) + " 2>/dev/null";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = shell(&line);
        let is_open = answer.starts_with("HTTP/1.1 503") || answer.is_empty();
        if !is_open || Instant::now() > deadline {
            return answer;
        }
        eprintln!("{answer}\nagain, with the same key");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Claims; the answer, which must tell of an order.
pub fn buy(line: &str) -> String {
    let answer = claim(line);
    // 200 where an earlier attempt with the key had made it, and was answered that nobody knows.
    let is_order = ["HTTP/1.1 202", "HTTP/1.1 200"].iter().any(|status| answer.starts_with(status));
    assert!(is_order, "{answer}");
    answer
}

/// A directory that the user PostgreSQL runs as can pass through.
pub fn tempdir() -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// Whether a process works in `dir` or below it, as the private servers do.
pub fn is_used(dir: &Path) -> bool {
    let dir = dir.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .into_iter()
        .any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir)))
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A node that runs; killed when a test fails.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it wrote until it ran.
    pub block: Vec<String>,
}

impl Running {
    /// Starts the binary and reads its stdout, or its log, until a line contains `last`.
    pub fn start(command: &mut Command, from_log: bool, last: &str) -> Self {
        let (out, log) =
            if from_log { (Stdio::null(), Stdio::piped()) } else { (Stdio::piped(), Stdio::inherit()) };
        let mut child = command.stdout(out).stderr(log).spawn().unwrap();
        let output: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Box::new(stdout),
            (None, Some(stderr)) => Box::new(stderr),
            (None, None) => unreachable!(),
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut running = Self { child, lines, block: Vec::new() };
        let deadline = Instant::now() + PATIENCE;
        while !running.block.last().is_some_and(|line| line.contains(last)) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = running.lines.recv_timeout(left);
            running.block.push(line.unwrap_or_else(|_| panic!("no {last:?} in {:#?}", running.block)));
        }
        running
    }

    /// `doorbuster dev` on ports and servers of its own.
    pub fn dev(dir: &Path) -> Self {
        let anywhere =
            ["--listen", "--admin-listen", "--metrics-listen"].map(|flag| format!("{flag}=127.0.0.1:0"));
        Self::dev_as(doorbuster().args(anywhere), dir)
    }

    pub fn dev_as(command: &mut Command, dir: &Path) -> Self {
        Self::start(command.arg("dev").arg("--data-dir").arg(dir), false, "Ctrl-C stops everything")
    }

    /// What stands beside a label of the block.
    pub fn address(&self, label: &str) -> &str {
        let found =
            self.block.iter().find_map(|line| line.trim().strip_prefix(label)?.split_whitespace().next());
        found.unwrap_or_else(|| panic!("no {label} in {:#?}", self.block))
    }

    /// The line to paste below a title that begins so.
    pub fn line(&self, title: &str) -> &str {
        let at = self.block.iter().position(|line| line.trim().starts_with(title));
        self.block[at.unwrap_or_else(|| panic!("no {title} in {:#?}", self.block)) + 1].trim()
    }

    /// Sends a signal and waits for the end; how it ended, and what it wrote meanwhile.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let status = self.child.wait().unwrap();
        let rest: Vec<String> = self.lines.iter().collect();
        (status, rest.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing where it has ended; its guards end the servers.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
