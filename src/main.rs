//! The `doorbuster` binary.

use std::process::ExitCode;

/// Many small, short-lived allocations in two threads: measured against glibc's, see docs/PERFORMANCE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    doorbuster::cli::main()
}
