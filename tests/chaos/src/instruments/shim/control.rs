//! The shim's control file, from outside: switches, counters, and the table of followed files (`control.h`).

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use super::super::InstrumentError;

const FILES_AT: u64 = 4096;
const FILES_MAX: usize = 65536;
const WORD: usize = 8;
const WORDS_PER_FILE: usize = 10;
/// `FOLLOWED` of `control.h`.
const FOLLOWED: u64 = 1;

/// Where the words of `struct control` lie, counted in words.
#[derive(Clone, Copy)]
enum Word {
    DiskFull = 1,
    ClockOffsetNs = 2,
    Writes = 3,
    Syncs = 4,
    Saves = 5,
    Refusals = 6,
    SteppedReads = 7,
    Overflow = 8,
}

/// What happened under the shim: the evidence that it was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShimCounts {
    /// Changes of files below the root.
    pub writes: u64,
    /// Successful syncs of them.
    pub syncs: u64,
    /// Times that old content was set aside before it was overwritten.
    pub saves: u64,
    /// Writes that ended with ENOSPC.
    pub refusals: u64,
    /// Reads of a wall clock that was off.
    pub stepped_reads: u64,
}

/// One file that the shim follows: see `struct file` of `control.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FollowedFile {
    pub dev: u64,
    pub ino: u64,
    /// Size in bytes that its last sync covered.
    pub durable: u64,
    /// Where in its journal the records that count begin and end.
    pub live: (u64, u64),
}

pub(super) struct Control {
    file: File,
}

impl Control {
    pub(super) fn create(dir: &Path) -> Result<Self, InstrumentError> {
        let path = dir.join("control");
        let doing = || InstrumentError::io(format!("create {}", path.display()));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).map_err(doing())?;
        file.set_len(FILES_AT + (FILES_MAX * WORDS_PER_FILE * WORD) as u64).map_err(doing())?;
        file.set_permissions(std::fs::Permissions::from_mode(0o666)).map_err(doing())?;
        Ok(Self { file })
    }

    pub(super) fn counts(&self) -> Result<ShimCounts, InstrumentError> {
        if self.read(Word::Overflow)? != 0 {
            return Err(InstrumentError::LostCount);
        }
        Ok(ShimCounts {
            writes: self.read(Word::Writes)?,
            syncs: self.read(Word::Syncs)?,
            saves: self.read(Word::Saves)?,
            refusals: self.read(Word::Refusals)?,
            stepped_reads: self.read(Word::SteppedReads)?,
        })
    }

    pub(super) fn set_disk_full(&self, full: bool) -> Result<(), InstrumentError> {
        self.write(Word::DiskFull, u64::from(full))
    }

    pub(super) fn set_clock_offset_ms(&self, offset_ms: i64) -> Result<(), InstrumentError> {
        self.write(Word::ClockOffsetNs, offset_ms.saturating_mul(1_000_000).cast_unsigned())
    }

    pub(super) fn files(&self) -> Result<Vec<FollowedFile>, InstrumentError> {
        let mut bytes = vec![0u8; FILES_MAX * WORDS_PER_FILE * WORD];
        self.file
            .read_exact_at(&mut bytes, FILES_AT)
            .map_err(InstrumentError::io("read the shim's table"))?;
        let words: Vec<u64> =
            bytes.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let files = words.as_chunks::<WORDS_PER_FILE>().0.iter();
        Ok(files.filter(|words| words[0] == FOLLOWED).map(FollowedFile::from_words).collect())
    }

    /// Begins anew with no file followed; the switches stay.
    pub(super) fn forget_files(&self, dir: &Path) -> Result<(), InstrumentError> {
        let doing = || InstrumentError::io("empty the shim's table");
        for word in [Word::Writes, Word::Syncs, Word::Saves, Word::Refusals, Word::SteppedReads] {
            self.write(word, 0)?;
        }
        let full_len = self.file.metadata().map_err(doing())?.len();
        // A hole reads as zeroes: every slot is free.
        self.file.set_len(FILES_AT).and_then(|()| self.file.set_len(full_len)).map_err(doing())?;
        for entry in std::fs::read_dir(dir).map_err(doing())? {
            let entry = entry.map_err(doing())?;
            if entry.file_name() != "control" {
                std::fs::remove_file(entry.path()).map_err(doing())?;
            }
        }
        Ok(())
    }

    fn read(&self, word: Word) -> Result<u64, InstrumentError> {
        let mut bytes = [0u8; WORD];
        self.file
            .read_exact_at(&mut bytes, (word as usize * WORD) as u64)
            .map_err(InstrumentError::io("read the shim's control file"))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(&self, word: Word, value: u64) -> Result<(), InstrumentError> {
        self.file
            .write_all_at(&value.to_ne_bytes(), (word as usize * WORD) as u64)
            .map_err(InstrumentError::io("write the shim's control file"))
    }
}

impl FollowedFile {
    /// The words of `struct file`, in its order.
    fn from_words(words: &[u64; WORDS_PER_FILE]) -> Self {
        let [_, dev, ino, durable, _, base, first, end, ..] = *words;
        Self { dev, ino, durable, live: (first - base, end - base) }
    }
}

/// The processes that have a library mapped.
pub(super) fn users_of(library: &Path) -> Vec<u32> {
    let library = library.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process that ends meanwhile, or is a zombie, has no maps.
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(&library))
    })
    .collect()
}
