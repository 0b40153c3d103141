//! The `doorbuster` binary.
fn main() {}
