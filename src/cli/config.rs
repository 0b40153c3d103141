//! `doorbuster config`.

use std::io::{self, Write};

use clap::Args;

use super::CliError;
use crate::config::{Effective, settings_markdown};

/// Arguments of `doorbuster config`.
#[derive(Debug, Args)]
#[command(long_about = "Show the settings in effect and where each comes from, secrets masked.\n\n\
    A flag beats a variable, a variable beats the file, the file beats the default. The setting\n\
    lease_ms is the flag --lease-ms, the variable DOORBUSTER_LEASE_MS and the TOML key lease_ms.")]
pub(super) struct ConfigCommand {
    /// As JSON instead of TOML
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As a Markdown table of every setting, its default and what it does
    #[arg(long)]
    markdown: bool,
}

impl ConfigCommand {
    pub(super) fn run(&self, effective: &Effective) -> Result<(), CliError> {
        let text = if self.json {
            serde_json::to_string_pretty(effective).map_err(io::Error::from)? + "\n"
        } else if self.markdown {
            settings_markdown()
        } else {
            effective.to_toml()
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}
