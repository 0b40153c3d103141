//! What instruments leave in the system (namespaces, mounts) carries the id of its process, so that a run can take
//! away what a run that was killed has left, and nothing of a run beside it.

use std::process::{Command, Stdio};

use super::InstrumentError;

/// Begins the name of everything that outlives its process.
const MARK: &str = "dbchaos";

/// A name for the `number`th thing of this process.
pub(super) fn own_name(number: u32) -> String {
    format!("{MARK}-{}-{number}", std::process::id())
}

/// Whether a name was given by a process that is gone.
pub(super) fn is_abandoned(name: &str) -> bool {
    let pid =
        name.strip_prefix(MARK).and_then(|rest| rest.strip_prefix('-')?.split('-').next()?.parse().ok());
    pid.is_some_and(|pid: u32| !std::path::Path::new("/proc").join(pid.to_string()).exists())
}

/// Runs a system command to its end.
///
/// # Errors
/// [`InstrumentError::Unavailable`] where the program is missing; [`InstrumentError::Command`] with what it printed.
pub(super) fn run(instrument: &'static str, program: &str, args: &[&str]) -> Result<String, InstrumentError> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(|error| {
        InstrumentError::Unavailable { instrument, reason: format!("{program} does not start: {error}") }
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(InstrumentError::Command { doing: format!("run \"{program} {}\"", args.join(" ")), output: said })
}

/// As [`run`], for the first command of an instrument: a refusal means that this user may not use it.
pub(super) fn probe(
    instrument: &'static str,
    program: &str,
    args: &[&str],
) -> Result<String, InstrumentError> {
    run(instrument, program, args).map_err(|error| match error {
        InstrumentError::Command { doing, output } => {
            InstrumentError::Unavailable { instrument, reason: format!("cannot {doing}: {output}") }
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_things_of_dead_processes_are_abandoned() {
        assert!(!is_abandoned(&own_name(1)));
        // Above the largest process id that Linux gives (proc(5), pid_max).
        assert!(is_abandoned("dbchaos-4194305-1"));
        assert!(!is_abandoned("somebody-4194305-1") && !is_abandoned("dbchaos"));
    }
}
