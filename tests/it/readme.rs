//! The README's tour does what it says, line by line, and its production set-up starts.

use crate::{
    pasted::{bash, blocks_of, expected, page, paste, section},
    support::{Bucket, TestApp},
};

#[test]
fn the_tour_works_when_pasted() {
    let tour = blocks_of(section(page("README.md"), "## The tour"), "sh")[0];
    let expected = expected(tour);
    assert!(expected.len() >= 10, "{expected:?}");

    let app = TestApp::start();
    let script = tour.replace("http://127.0.0.1:8080", &app.url);
    let folder = tempfile::tempdir().unwrap();
    let printed = paste(&script, folder.path());
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed, expected);
}

#[test]
fn production_starts_with_these_settings_and_secrets() {
    let production = section(page("README.md"), "## In production");
    let &[settings] = &blocks_of(production, "toml")[..] else { panic!("one file of settings") };
    let &[secrets, start] = &blocks_of(production, "sh")[..] else { panic!("secrets and start") };
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("pinhole.toml"), settings).unwrap();
    assert!(bash(secrets, data.path()).status().unwrap().success());

    // Only the machine is another: its bucket, its ports, and a page that its bucket knows.
    let [set_up, check, serve] = start.lines().collect::<Vec<_>>()[..] else { panic!("{start}") };
    let here = |line: &str| {
        let script = format!("{set_up}\nexec {line}");
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
