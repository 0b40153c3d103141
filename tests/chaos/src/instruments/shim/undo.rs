//! The loss of power itself: files are put back to what their last sync covered.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::InstrumentError;
use super::control::FollowedFile;

const HEAD_BYTES: usize = 16;
/// Bound on the depth of directories below the root; PostgreSQL has four.
const DEPTH_MAX: usize = 16;

/// What a loss of power took: the evidence that it happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PowerLoss {
    /// Files that were changed, and how.
    pub files: Vec<LostBytes>,
}

/// What one file lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostBytes {
    /// The file.
    pub path: PathBuf,
    /// Bytes cut from its end.
    pub cut: u64,
    /// Bytes put back to what they were before, counted for each change that was undone.
    pub restored: u64,
}

impl PowerLoss {
    /// Bytes of all files that were cut or put back.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.cut + file.restored).sum()
    }
}

/// One record of a journal: what lay at `offset` before a change.
#[derive(Debug, PartialEq, Eq)]
struct OldContent<'a> {
    offset: u64,
    bytes: &'a [u8],
}

pub(super) fn undo_unsynced(
    followed: &[FollowedFile],
    journals: &Path,
    root: &Path,
) -> Result<PowerLoss, InstrumentError> {
    let mut by_inode = HashMap::new();
    paths_by_inode(root, DEPTH_MAX, &mut by_inode)?;
    let mut loss = PowerLoss::default();
    for file in followed {
        // Without a name below the root any more there is nobody who could read it after the loss.
        if let Some(path) = by_inode.get(&(file.dev, file.ino)) {
            let lost = undo_file(file, path, journals)
                .map_err(InstrumentError::io(format!("take power from {}", path.display())))?;
            loss.files.extend(lost);
        }
    }
    Ok(loss)
}

fn undo_file(file: &FollowedFile, path: &Path, journals: &Path) -> std::io::Result<Option<LostBytes>> {
    let (from, to) = file.live;
    let journal = match from < to {
        true => std::fs::read(journals.join(format!("{:x}-{:x}", file.dev, file.ino)))?,
        false => Vec::new(),
    };
    let records = match from < to {
        true => {
            parse_records(journal.get(from as usize..to as usize).ok_or(std::io::ErrorKind::UnexpectedEof)?)
                .ok_or(std::io::ErrorKind::InvalidData)?
        }
        false => Vec::new(),
    };
    let target = File::options().write(true).open(path)?;
    let len = target.metadata()?.len();
    if records.is_empty() && len == file.durable {
        return Ok(None);
    }
    for record in records.iter().rev() {
        target.write_all_at(record.bytes, record.offset)?;
    }
    target.set_len(file.durable)?;
    let restored = records.iter().map(|record| record.bytes.len() as u64).sum();
    Ok(Some(LostBytes { path: path.to_path_buf(), cut: len.saturating_sub(file.durable), restored }))
}

/// The records in the order in which they were written; none where the bytes are not whole records.
fn parse_records(mut bytes: &[u8]) -> Option<Vec<OldContent<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (offset, length) = head.split_at(HEAD_BYTES / 2);
        let length = u64::from_ne_bytes(length.try_into().ok()?);
        let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        records.push(OldContent { offset: u64::from_ne_bytes(offset.try_into().ok()?), bytes: content });
        bytes = rest;
    }
    Some(records)
}

fn paths_by_inode(
    dir: &Path,
    depth_left: usize,
    found: &mut HashMap<(u64, u64), PathBuf>,
) -> Result<(), InstrumentError> {
    let doing = || InstrumentError::io(format!("list {}", dir.display()));
    for entry in std::fs::read_dir(dir).map_err(doing())? {
        let entry = entry.map_err(doing())?;
        let metadata = entry.metadata().map_err(doing())?;
        if metadata.is_dir() && depth_left > 0 {
            paths_by_inode(&entry.path(), depth_left - 1, found)?;
        } else if metadata.is_file() {
            found.insert((metadata.dev(), metadata.ino()), entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_in_whole_records_only() {
        let mut bytes = Vec::new();
        for (offset, content) in [(5u64, "old"), (0, "older")] {
            bytes.extend(offset.to_ne_bytes());
            bytes.extend((content.len() as u64).to_ne_bytes());
            bytes.extend(content.as_bytes());
        }
        let records = parse_records(&bytes).unwrap();
        assert_eq!(records[0], OldContent { offset: 5, bytes: b"old" });
        assert_eq!(records[1], OldContent { offset: 0, bytes: b"older" });
        assert_eq!(parse_records(&bytes[..bytes.len() - 1]), None);
    }
}
