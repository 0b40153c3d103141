//! One process of the engine: started, armed, frozen, killed, and its log kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ChaosError;

/// The engine with its faults, built beside the chaos tests.
const BINARY: &str = "faulty_doorbuster";
/// Ends the process when ours is gone: the kernel closes the pipe however we die.
const GUARD: &str = r#"trap '' HUP INT TERM; read -r _; kill -KILL "$0""#;
const POLL: Duration = Duration::from_millis(10);
/// How long a command of an operator may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes claims.
    Api,
    /// Persists, and stands for keeper.
    Worker,
    /// Asks the payment gateway.
    Payment,
    /// The payment gateway: no node of the engine.
    Gateway,
}

impl Role {
    /// The setting `role`, where it has one.
    fn setting(self) -> Option<&'static str> {
        match self {
            Self::Api => Some("api"),
            Self::Worker => Some("worker"),
            Self::Payment => Some("payment"),
            Self::Gateway => None,
        }
    }
}

/// How to start a node. May be changed between a stop and a start.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `api-0`, `worker-1`: the name of its log, and its application name in Postgres.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The command of the program that it is, with its arguments.
    pub command: Vec<String>,
    /// Where its API listens; the same through every restart.
    pub listen: SocketAddr,
    /// Where its admin API listens.
    pub admin: SocketAddr,
    /// Settings by name, as in docs/settings.md.
    pub settings: BTreeMap<String, String>,
    /// For `FAILPOINTS` (the crate `fail`).
    pub failpoints: String,
    /// More variables, such as `LD_PRELOAD`.
    pub variables: BTreeMap<String, String>,
    /// A command to run it under, such as `ip netns exec NAME`.
    pub under: Vec<String>,
}

/// A node, running or not. Dropping it kills the process.
pub struct NodeProcess {
    /// For its next start.
    pub options: NodeOptions,
    log: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    guard: Child,
}

impl NodeProcess {
    /// Starts it; its log goes to `NAME.log` in `dir`, behind what is there.
    ///
    /// # Errors
    /// [`ChaosError::Io`].
    pub fn start(options: NodeOptions, dir: &Path) -> Result<Self, ChaosError> {
        let mut node = Self::new(options, dir);
        node.start_again()?;
        Ok(node)
    }

    /// One that does not run yet.
    pub fn new(options: NodeOptions, dir: &Path) -> Self {
        let log = dir.join(format!("{}.log", options.name));
        Self { options, log, running: None }
    }

    /// Starts it where it does not run.
    ///
    /// # Errors
    /// [`ChaosError::Io`].
    pub fn start_again(&mut self) -> Result<(), ChaosError> {
        if self.is_running() {
            return Ok(());
        }
        self.running = None;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(ChaosError::io(format!("open {}", self.log.display())))?;
        let also = log.try_clone().map_err(ChaosError::io("copy the handle of a log"))?;
        let mut command = self.command()?;
        let child = command
            .args(&self.options.command)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .spawn()
            .map_err(ChaosError::io(format!("start {}", self.options.name)))?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(ChaosError::io("start /bin/sh"))?;
        self.running = Some(Running { child, guard });
        Ok(())
    }

    /// Runs one command of an operator with this node's settings, to its end.
    ///
    /// # Errors
    /// [`ChaosError::Setup`] with what it said, where it failed.
    pub async fn operate(&self, words: &[&str]) -> Result<String, ChaosError> {
        let mut command = tokio::process::Command::from(self.command()?);
        let output = command.args(words).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.map_err(ChaosError::io(format!("run doorbuster {}", words.join(" "))))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(ChaosError::Setup(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    fn command(&self) -> Result<Command, ChaosError> {
        let binary = binary()?;
        let mut command = match self.options.under.split_first() {
            None => Command::new(binary),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DOORBUSTER_") {
                command.env_remove(name);
            }
        }
        if let Some(role) = self.options.role.setting() {
            command.env("DOORBUSTER_ROLE", role);
        }
        command
            .env("DOORBUSTER_LISTEN", self.options.listen.to_string())
            .env("DOORBUSTER_ADMIN_LISTEN", self.options.admin.to_string())
            .env("FAILPOINTS", &self.options.failpoints)
            .envs(&self.options.variables);
        for (name, value) in &self.options.settings {
            command.env(format!("DOORBUSTER_{}", name.to_uppercase()), value);
        }
        Ok(command)
    }

    /// Runs a command of the same program with the same settings, to its end; what it printed.
    ///
    /// # Errors
    /// [`ChaosError::Io`]; [`ChaosError::Setup`] with what it printed where it fails or takes a minute.
    pub async fn command_line(&self, args: &[&str]) -> Result<String, ChaosError> {
        let mut command = tokio::process::Command::from(self.command()?);
        let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(COMMAND_TIMEOUT, output).await;
        let output = output.map_err(|_| ChaosError::NotInTime(format!("doorbuster {args:?} ends")))?;
        let output = output.map_err(ChaosError::io(format!("run doorbuster {args:?}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(ChaosError::Setup(format!("doorbuster {args:?}: {}", text(&output.stderr)))),
        }
    }

    /// Runs a command with a crash point armed; whether it died there.
    ///
    /// # Errors
    /// [`ChaosError::Io`]; [`ChaosError::NotInTime`] where it takes a minute.
    pub async fn dies_at(&self, point: &str, args: &[&str]) -> Result<bool, ChaosError> {
        let mut command = tokio::process::Command::from(self.command()?);
        command.env("FAILPOINTS", format!("{point}=return"));
        let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(COMMAND_TIMEOUT, output).await;
        let output = output.map_err(|_| ChaosError::NotInTime(format!("doorbuster {args:?} ends")))?;
        let output = output.map_err(ChaosError::io(format!("run doorbuster {args:?}")))?;
        let said = String::from_utf8_lossy(&output.stderr).contains(&crash_line(point));
        Ok(said && !output.status.success())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Whether it runs; reaps it where it has ended.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none() && self.running.is_some()
    }

    /// How it ended, where it was started and has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.child.try_wait().ok().flatten()
    }

    /// kill -9, and waits for its end. `false` where it had ended before.
    ///
    /// # Errors
    /// [`ChaosError::Io`].
    pub fn kill(&mut self) -> Result<bool, ChaosError> {
        let was_running = self.is_running();
        if let Some(running) = &mut self.running {
            if was_running {
                running.child.kill().map_err(ChaosError::io("kill a node"))?;
            }
            running.child.wait().map_err(ChaosError::io("wait for a node"))?;
        }
        self.release_guard();
        Ok(was_running)
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// [`ChaosError::Io`] where it does not run.
    pub fn freeze(&mut self) -> Result<(), ChaosError> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`ChaosError::Io`] where it does not run.
    pub fn thaw(&mut self) -> Result<(), ChaosError> {
        self.signal(Signal::SIGCONT)
    }

    /// Whether SIGSTOP has reached it: proc(5) calls that T.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid().unwrap_or(0)));
        stat.unwrap_or_default().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    fn signal(&mut self, signal: Signal) -> Result<(), ChaosError> {
        if !self.is_running() {
            return Err(ChaosError::Setup(format!("{} does not run", self.options.name)));
        }
        let pid = self.pid().map_or(0, u32::cast_signed);
        kill(Pid::from_raw(pid), signal)
            .map_err(|errno| ChaosError::io(format!("send {signal}"))(errno.into()))
    }

    /// Waits until it ends by itself, at most `limit`.
    pub async fn wait_end(&mut self, limit: Duration) -> bool {
        let end = tokio::time::Instant::now() + limit;
        while self.is_running() {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// What it has logged so far.
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    fn release_guard(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.guard.kill();
            let _ = running.guard.wait();
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// What a process says as it ends at a point.
pub fn crash_line(point: &str) -> String {
    format!("crash point {point}: ends here")
}

/// Beside this executable, or one directory up (where cargo runs tests from).
fn binary() -> Result<PathBuf, ChaosError> {
    let exe = std::env::current_exe().map_err(ChaosError::io("find this executable"))?;
    let found = exe.ancestors().skip(1).take(2).map(|dir| dir.join(BINARY)).find(|path| path.is_file());
    found.ok_or_else(|| ChaosError::Setup(format!("{BINARY} is not built: cargo build -p chaos")))
}
