//! Who runs a command.

use clap::Args;
use nix::unistd::{User, getuid};

use super::CliError;
use crate::dead_letters::Operator;

/// The name of the user who runs this process; empty where the system knows none.
pub(super) fn login_name() -> String {
    User::from_uid(getuid()).ok().flatten().map(|user| user.name).unwrap_or_default()
}

/// Who answers for what a command changes.
#[derive(Debug, Args)]
pub(super) struct By {
    /// Who you are
    #[arg(id = "by", long = "by", value_name = "NAME", default_value_t = login_name())]
    name: String,
}

impl By {
    /// The operator of this name.
    pub(super) fn operator(&self) -> Result<Operator, CliError> {
        Operator::new(&self.name).ok_or_else(|| {
            CliError::Usage(clap::Error::raw(
                clap::error::ErrorKind::InvalidValue,
                "--by needs a name: the one of this user is not known\n",
            ))
        })
    }
}
