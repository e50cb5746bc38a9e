//! What other people's programs do with links: the signing examples, and the module for pages.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{NEVER_THERE, TestApp, jpeg};

fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", name.display()));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output
}

#[test]
fn the_signing_examples_sign_as_the_vectors_do() {
    let file: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
    let valid: Vec<&Value> =
        file["vectors"].as_array().unwrap().iter().filter(|vector| vector["result"] == "valid").collect();
    assert!(valid.len() > 5);
    for (interpreter, example) in
        [("node", "sign.mjs"), ("/usr/bin/python3", "sign.py"), ("php", "sign.php"), ("bash", "sign.sh")]
    {
        for vector in &valid {
            let text = |name: &str| match &vector[name] {
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            let secret = file["keys"][text("kid")].as_str().unwrap();
            let mut signer = Command::new(interpreter);
            signer.arg(in_project("tests/signing").join(example));
            signer.args([text("path"), text("exp"), text("kid"), text("ep"), secret.to_owned()]);
            let url = String::from_utf8(run(&mut signer).stdout).unwrap();
            assert_eq!(url.trim_end(), vector["url"], "{example}: {}", vector["name"]);
        }
    }
}

#[test]
fn the_module_for_pages_keeps_its_promises() {
    let test = in_project("tests/page/pinhole.test.mjs");
    run(Command::new("node").arg("--test").arg(test));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_module_shows_what_the_server_links() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(200, 100, 1)).await;
    let wanted = json!([
        {"id": image, "options": "format=webp", "widths": [32, 64]},
        {"id": image, "options": "original"},
        {"id": NEVER_THERE, "options": "original"},
    ]);
    let mut node = Command::new("node");
    node.arg(in_project("tests/page/show.mjs"));
    node.args([&format!("{}/v1/links", app.url), &app.token("alice").await, &wanted.to_string()]);
    let output = tokio::task::spawn_blocking(move || run(&mut node)).await.unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["errors"], json!([[NEVER_THERE, "not_found"]]));
    let pictures = shown["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 2, "{shown}");
    for picture in pictures {
        app.get(picture["src"].as_str().unwrap()).send().await.expect(200);
    }
    let srcset = pictures.iter().find_map(|picture| picture["srcset"].as_str().filter(|set| !set.is_empty()));
    for (candidate, width) in srcset.unwrap().split(", ").zip([32, 64]) {
        let (url, descriptor) = candidate.split_once(' ').unwrap();
        assert_eq!(descriptor, format!("{width}w"));
        assert_eq!(app.get(url).send().await.expect(200).image().width(), width);
    }
}
