//! A word before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

/// The answer was not yes.
#[derive(Debug, thiserror::Error)]
pub enum NotConfirmed {
    /// Nobody can be asked.
    #[error("{0}. Add --yes to do it: there is no terminal to ask on")]
    NoTerminal(String),
    /// Someone was asked.
    #[error("nothing was done")]
    Declined,
    /// The terminal is gone.
    #[error("the answer cannot be read ({0}): nothing was done")]
    Unreadable(#[from] io::Error),
}

/// Asks on the terminal whether to do `what`, a sentence without its full stop; `yes` answers beforehand.
///
/// # Errors
/// [`NotConfirmed`]: nothing may be done.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), NotConfirmed> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(NotConfirmed::NoTerminal(what.to_owned()));
    }
    let mut terminal = io::stderr();
    write!(terminal, "{what}. Go on? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(NotConfirmed::Declined),
    }
}
