//! How answers for scripts look.

use std::io::Write;

use serde_json::Value;

use super::CliError;

/// Writes an answer, indented.
pub(super) fn write_json(out: &mut impl Write, answer: &Value) -> Result<(), CliError> {
    Ok(writeln!(out, "{answer:#}")?)
}
