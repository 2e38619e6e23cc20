//! Nothing is built here. A build script is what makes Cargo take `[build-dependencies]` into account.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
