//! Embedded migrations are read at compile time, and cargo would not notice a new file among them.
fn main() {
    println!("cargo::rerun-if-changed=sql/migrations");
}
