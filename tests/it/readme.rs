//! The README's tour does what it says, line by line, and its production set-up starts.

use std::{path::Path, process::Command};

use crate::support::{Bucket, TestApp};

const README: &str = include_str!("../../README.md");

/// A shell with no more of the environment than it needs to find its tools.
fn bash(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(folder).env_clear();
    command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// The code of a language in a section.
fn blocks(section: &str, language: &str) -> Vec<&'static str> {
    let section = README.split_once(section).unwrap().1.split("\n## ").next().unwrap();
    let start = format!("```{language}\n");
    section.split(&start).skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

#[test]
fn the_tour_works_when_pasted() {
    let tour = blocks("## The tour", "sh")[0];
    let expected: Vec<&str> = tour
        .lines()
        .filter(|line| line.starts_with("status "))
        .map(|line| line.rsplit_once("# ").expect(line).1.split(' ').next().unwrap())
        .collect();
    assert!(expected.len() >= 10, "{expected:?}");

    let app = TestApp::start();
    let script = tour.replace("http://127.0.0.1:8080", &app.url);
    let folder = tempfile::tempdir().unwrap();
    let output = bash(&script, folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed, expected);
}

#[test]
fn production_starts_with_these_settings_and_secrets() {
    let &[settings] = &blocks("## In production", "toml")[..] else { panic!("one file of settings") };
    let &[secrets, start] = &blocks("## In production", "sh")[..] else { panic!("secrets and start") };
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("pinhole.toml"), settings).unwrap();
    assert!(bash(secrets, data.path()).status().unwrap().success());

    // Only the machine is another: its bucket, its ports, and a page that its bucket knows.
    let [set_up, check, serve] = start.lines().collect::<Vec<_>>()[..] else { panic!("{start}") };
    let binary = env!("CARGO_BIN_EXE_pinhole");
    let here = |line: &str| {
        let script = format!("{set_up}\nexec {}", line.replacen("pinhole", binary, 1));
        let mut command = bash(&script, data.path());
        command.envs([
            ("PINHOLE_BUCKET__ENDPOINT", &*bucket.endpoint),
            ("PINHOLE_BUCKET__ACCESS_KEY_ID", &bucket.access_key_id),
            ("PINHOLE_BUCKET__SECRET_ACCESS_KEY", &bucket.secret_access_key),
            ("PINHOLE_BUCKET__CORS_ORIGINS", &bucket.dev.as_ref().unwrap().url),
            ("PINHOLE_SERVER__LISTEN", "127.0.0.1:0"),
            ("PINHOLE_SERVER__OPS_LISTEN", "127.0.0.1:0"),
        ]);
        command
    };
    let checked = here(check).output().unwrap();
    let report = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{report}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(report.contains("https://img.example.org, role all"), "{report}");
    let app = TestApp::serve_by(here(serve), data, &bucket);
    assert!(app.data().join("pinhole.db").exists());
}
