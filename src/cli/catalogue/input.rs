//! Definitions from files.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::CatalogueCliError;
use crate::catalogue::{read_json, read_toml};

/// Largest definition, in bytes. A thousand items with long descriptions fit.
const DEFINITION_MAX: u64 = 32 * 1024 * 1024;

/// Reads a definition: JSON or TOML by the file's extension, JSON from standard input for `-`.
pub(super) fn read(file: &Path) -> Result<Value, CatalogueCliError> {
    let unreadable = |cause| CatalogueCliError::Read { file: file.to_owned(), cause };
    if file == Path::new("-") {
        return Ok(read_json(&read_bounded(io::stdin().lock()).map_err(unreadable)?)?);
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let read_file = || fs::File::open(file).and_then(read_bounded).map_err(unreadable);
    match extension.as_deref() {
        Some("json") => Ok(read_json(&read_file()?)?),
        Some("toml") => {
            let text = String::from_utf8(read_file()?)
                .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            Ok(read_toml(&text)?)
        }
        _ => Err(CatalogueCliError::Extension(file.to_owned())),
    }
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(DEFINITION_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > DEFINITION_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a definition has at most 32 MiB"));
    }
    Ok(text)
}
