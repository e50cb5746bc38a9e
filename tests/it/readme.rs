//! The README's tour does what it says, line by line.

use std::process::Command;

use crate::support::TestApp;

#[test]
fn the_tour_works_when_pasted() {
    let readme = include_str!("../../README.md");
    let tour = readme.split_once("## The tour").unwrap().1.split_once("```sh\n").unwrap().1;
    let tour = tour.split_once("```").unwrap().0;
    let expected: Vec<&str> = tour
        .lines()
        .filter(|line| line.starts_with("status "))
        .map(|line| line.rsplit_once("# ").expect(line).1.split(' ').next().unwrap())
        .collect();
    assert!(expected.len() >= 10, "{expected:?}");

    let app = TestApp::start();
    let script = tour.replace("http://127.0.0.1:8080", &app.url);
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash").args(["-euc", &script]).current_dir(&folder).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed, expected);
}
