//! Other people's programs from npm, as their lock files pin them.

use std::{
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// A copy of a folder of `tests` with what it depends on.
pub fn install(folder: &str, files: &[&str]) -> TempDir {
    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    for file in ["package.json", "package-lock.json"].iter().chain(files) {
        std::fs::copy(source.join(file), copy.path().join(file)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(copy.path());
    let installed = run(&mut npm);
    assert!(installed.status.success(), "npm ci: {}", String::from_utf8_lossy(&installed.stderr));
    copy
}

/// Runs Node.js, or npm.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("Node.js and npm are needed: tests/run installs them")
}
