//! The guides say what is so: what can be pasted of them works, and what they name is there.

use std::{fs, path::Path};

use crate::{
    pasted::{blocks, paste_page},
    support::{TestApp, jpeg},
};

/// Every guide, by its name; and the README, which is held to the same.
const PAGES: [(&str, &str); 8] = [
    ("README.md", include_str!("../../README.md")),
    ("src/guide/api.md", include_str!("../../src/guide/api.md")),
    ("src/guide/backup.md", include_str!("../../src/guide/backup.md")),
    ("src/guide/edge.md", include_str!("../../src/guide/edge.md")),
    ("src/guide/integrate.md", INTEGRATE),
    ("src/guide/rules.md", include_str!("../../src/guide/rules.md")),
    ("src/guide/settings.md", include_str!("../../src/guide/settings.md")),
    ("src/guide/sizing.md", include_str!("../../src/guide/sizing.md")),
];
const INTEGRATE: &str = include_str!("../../src/guide/integrate.md");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Settings that a guide begins with: a file, and the secrets beside it.
fn with_secrets(app: &TestApp) {
    let secrets = format!(
        "PINHOLE_AUTH__JWT_SECRET='{}'\nPINHOLE_LINKS__KEYS={}\n",
        app.secret("jwt_secret"),
        app.secret("link_key")
    );
    fs::write(app.data().join("pinhole.env"), secrets).unwrap();
}

#[test]
fn an_app_is_integrated_as_the_guide_says() {
    let app = TestApp::serve();
    with_secrets(&app);
    fs::write(app.data().join("photo.jpg"), jpeg(640, 480, 1)).unwrap();
    paste_page(INTEGRATE, &app.data(), &[("http://127.0.0.1:8080", &app.url)]);
}

#[test]
fn every_guide_is_listed_and_a_page_of_the_documentation() {
    let module = fs::read_to_string(project().join("src/guide.rs")).unwrap();
    for entry in fs::read_dir(project().join("src/guide")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("src/guide/{name}");
        if name.ends_with(".md") {
            assert!(PAGES.iter().any(|(page, _)| *page == path), "{name} is not looked at");
            assert!(PAGES[0].1.contains(&path), "the README does not name {name}");
            assert!(module.contains(&format!("guide/{name}")), "src/guide.rs does not name {name}");
        }
    }
}

#[test]
fn whatever_a_page_links_to_or_names_is_there() {
    for (page, text) in PAGES {
        let folder = project().join(page).parent().unwrap().to_owned();
        // `[text](target)`, and definitions: `[name]: target`.
        let inline =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let defined =
            text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, to)| to);
        for target in inline.chain(defined) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if path.contains("://") {
                continue;
            }
            let file = if path.is_empty() { project().join(page) } else { folder.join(path) };
            assert!(file.exists(), "{page}: {target} is not there");
            if !anchor.is_empty() {
                let headings = fs::read_to_string(file).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                let slug = |line: &str| {
                    line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-").replace(',', "")
                };
                assert!(headings.any(|line| slug(line) == anchor), "{page}: no heading for {target}");
            }
        }
        // `tests/it/…`, `src/…` in code, as far as they are a path and no pattern.
        for named in text.split('`').skip(1).step_by(2) {
            let is_of_ours =
                ["tests/", "src/", "nginx/", "benches/"].iter().any(|folder| named.starts_with(folder));
            let path = named.split([' ', ':']).next().unwrap_or_default();
            if is_of_ours && !path.contains(['*', '…']) {
                assert!(project().join(path).exists(), "{page}: {path} is not there");
            }
        }
    }
}

#[test]
fn whatever_test_a_page_names_is_there() {
    let mut named = 0;
    for (page, text) in PAGES {
        for (file, test) in text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")) {
            if !file.starts_with("tests/it/") {
                continue;
            }
            let source = fs::read_to_string(project().join(file)).unwrap();
            let is_there = source.contains(&format!("fn {test}()"));
            assert!(
                is_there && source.contains("#[test]") | source.contains("#[tokio::test"),
                "{page}: {file}::{test}"
            );
            named += 1;
        }
    }
    assert!(named > 0, "no page names any test");
}

#[test]
fn documents_of_machines_can_be_read_by_them() {
    for (page, text) in PAGES {
        for block in blocks(text) {
            let read = match block.info.split(',').next().unwrap() {
                "json" => {
                    serde_json::from_str::<serde_json::Value>(block.text).map(drop).map_err(|e| e.to_string())
                }
                "toml" => {
                    let file = config::File::from_str(block.text, config::FileFormat::Toml);
                    let read = config::Config::builder().add_source(file).build();
                    read.map(drop).map_err(|error| error.to_string())
                }
                _ => Ok(()),
            };
            assert_eq!(read, Ok(()), "{page}: {}", block.text);
        }
    }
}
