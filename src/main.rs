//! The `doorbuster` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorbuster::cli::main()
}
