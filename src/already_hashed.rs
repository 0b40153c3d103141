//! Tables whose keys are hashes already, and are not hashed once more.

use std::hash::{BuildHasherDefault, Hasher};

/// Takes a `u64` as it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsItIs(u64);

/// For a table of such keys.
pub(crate) type BuildAsItIs = BuildHasherDefault<AsItIs>;

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
