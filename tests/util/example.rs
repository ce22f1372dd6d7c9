//! Programs of `examples/`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the path of an example. `cargo test` builds the examples beside the tests, in `target/debug/examples`.
/// `cargo test --test NAME` does not; the first test that needs an example builds it then.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let folder = profile.file_name().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--example", name, "--manifest-path"]);
        cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        cargo.arg("--profile").arg(if folder == "debug" { "test".as_ref() } else { folder });
        assert!(cargo.status().unwrap().success());
    }
    program
}
