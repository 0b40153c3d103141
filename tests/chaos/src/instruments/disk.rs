//! A small disk of its own for a server's data, filled and freed at run time.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::InstrumentError;
use super::leftovers::{is_abandoned, own_name, probe, run};

const INSTRUMENT: &str = "a small tmpfs";
/// File that takes the room.
const BALLAST: &str = ".ballast";
/// The last gaps are filled by writes of one page.
const PIECES_BYTES: [usize; 2] = [64 * 1024, 4 * 1024];

/// A mounted tmpfs of a fixed size. Dropping it unmounts it; what lies on it is gone.
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of `size_bytes` on `dir`, which is made.
    ///
    /// # Errors
    /// [`InstrumentError::Unavailable`] where this user may not mount; [`InstrumentError::Io`].
    pub fn mount(dir: &Path, size_bytes: u64) -> Result<Self, InstrumentError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let doing = || InstrumentError::io(format!("create {}", dir.display()));
        std::fs::create_dir_all(dir).map_err(doing())?;
        let dir = dir.canonicalize().map_err(doing())?;
        unmount_abandoned();
        let source = own_name(NEXT.fetch_add(1, Ordering::Relaxed));
        let options = format!("size={size_bytes},mode=0755");
        probe(INSTRUMENT, "mount", &["-t", "tmpfs", "-o", &options, &source, &dir.to_string_lossy()])?;
        Ok(Self { dir })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Fills what room is left. Returns the number of bytes that took.
    ///
    /// # Errors
    /// [`InstrumentError::Io`] for any error but the one that is wanted.
    pub fn fill(&self) -> Result<u64, InstrumentError> {
        let path = self.dir.join(BALLAST);
        let doing = || InstrumentError::io(format!("fill {}", path.display()));
        let mut file = File::options().create(true).append(true).open(&path).map_err(doing())?;
        let before = file.metadata().map_err(doing())?.len();
        for piece_bytes in PIECES_BYTES {
            // Bounded by the disk itself: it has a fixed size.
            loop {
                match file.write(&vec![0x5a; piece_bytes]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(doing()(error)),
                }
            }
        }
        Ok(file.metadata().map_err(doing())?.len() - before)
    }

    /// Gives the room back; does nothing where it was not taken.
    ///
    /// # Errors
    /// [`InstrumentError::Io`].
    pub fn free(&self) -> Result<(), InstrumentError> {
        let path = self.dir.join(BALLAST);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(InstrumentError::io(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is just ending may still have files open.
        let _ = run(INSTRUMENT, "umount", &["-l", &self.dir.to_string_lossy()]);
    }
}

fn unmount_abandoned() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        if let (Some(source), Some(dir)) = (words.next(), words.next())
            && is_abandoned(source)
        {
            // Another run may be faster; then there is nothing left to do.
            let _ = run(INSTRUMENT, "umount", &["-l", dir]);
        }
    }
}
