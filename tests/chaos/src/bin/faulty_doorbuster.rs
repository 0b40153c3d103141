//! `doorbuster`, with the crash points and weakened protections that `FAILPOINTS` names.

use std::process::ExitCode;

/// As in the binary that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    doorbuster::faults::arm();
    doorbuster::cli::main()
}
