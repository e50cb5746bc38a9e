//! What runs at Amazon, Cloudflare and Fastly, held to the vectors that `src/link.rs` is held to.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    edge::{self, Edge},
    support::TestApp,
};

/// What the vectors say of links.
struct Links {
    now: u64,
    /// As `links.keys` has them.
    keys: String,
    /// Name, URL, and how it is judged.
    vectors: Vec<(String, String, String)>,
}

fn links() -> Links {
    let file: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut keys: Vec<String> = file["keys"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(kid, secret)| format!("{kid}:{}", secret.as_str().unwrap()))
        .collect();
    keys.sort_by_key(|key| !key.starts_with(file["newest"].as_str().unwrap()));
    let vectors = file["vectors"].as_array().unwrap().iter();
    Links {
        now: file["now"].as_u64().unwrap(),
        keys: keys.join(","),
        vectors: vectors.map(|v| (text(&v["name"]), text(&v["url"]), text(&v["result"]))).collect(),
    }
}

/// What clients accept, and their classes.
fn accepts() -> Vec<(String, String)> {
    let file: Value = serde_json::from_str(include_str!("../vectors/accepts.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    file["vectors"].as_array().unwrap().iter().map(|v| (text(&v["accept"]), text(&v["class"]))).collect()
}

/// The one spelling in which the origin is asked for a class.
fn accept_of(class: &str) -> &str {
    match class {
        "" => "*/*",
        "avif" => "image/avif",
        "webp" => "image/webp",
        _ => "image/avif,image/webp",
    }
}

/// The function's answers to cases, on the runtime of a name.
fn cloudfront(runtime: &str, cases: &Value) -> Vec<Value> {
    let Links { now, keys, .. } = links();
    let function = edge::printed(edge::command("cloudfront", &keys, "https://img.example.org"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("function.cjs");
    let harness = include_str!("../edge/cloudfront.js");
    std::fs::write(&file, format!("{function}\nconst NOW = {now};\nconst CASES = {cases};\n{harness}"))
        .unwrap();
    let output = Command::new(runtime).arg(&file).output().unwrap_or_else(|error| {
        panic!("{runtime}: {error}; tests/run installs it");
    });
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{runtime}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let answer =
        |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{runtime}: {error}: {line}"));
    said.lines().map(answer).collect()
}

/// Where CloudFront's function runs in tests: njs is what CloudFront's own runtime is made of.
const RUNTIMES: [&str; 2] = ["njs", "node"];

#[test]
fn cloudfront_judges_links_as_the_origin_does() {
    let Links { vectors, .. } = links();
    let cases: Vec<Value> = vectors.iter().map(|(_, url, _)| json!({"url": url})).collect();
    for runtime in RUNTIMES {
        let answers = cloudfront(runtime, &json!(cases));
        assert_eq!(answers.len(), vectors.len());
        for ((name, url, result), answer) in vectors.iter().zip(&answers) {
            // Elsewhere than under /i/ there are no links; the origin says what is there.
            let is_elsewhere = !url.starts_with("/i/");
            match result.as_str() {
                "valid" => {
                    let (path, query) = url.split_once('?').unwrap();
                    assert_eq!(
                        (&answer["uri"], &answer["querystring"]),
                        (&json!(path), &json!(query)),
                        "{name}"
                    );
                }
                "unsigned" => assert_eq!(answer["uri"], json!(url), "{name}"),
                _ if is_elsewhere => assert_eq!(answer["statusCode"], Value::Null, "{name}"),
                code => {
                    assert_eq!(answer["statusCode"], 403, "{runtime} {name}: {answer}");
                    let headers = &answer["headers"];
                    assert_eq!(headers["content-type"]["value"], "application/problem+json");
                    assert_eq!(headers["cache-control"]["value"], "no-store");
                    let problem: Value =
                        serde_json::from_str(answer["body"]["data"].as_str().unwrap()).unwrap();
                    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(403)), "{name}");
                }
            }
        }
    }
}

#[test]
fn cloudfront_keys_copies_by_the_class_of_accept() {
    let url = "/i/01890a5d-ac96-774b-bcce-b302099a8057/width=400,format=auto";
    let accepts = accepts();
    let mut cases: Vec<Value> = accepts
        .iter()
        .map(|(accept, _)| json!({"url": url, "headers": {"accept": {"value": accept}}}))
        .collect();
    // Several lines, and none at all.
    let lines = json!([{"value": "image/png"}, {"value": "image/webp;q=0.5"}]);
    cases.push(json!({"url": url, "headers": {"accept": {"value": "image/png", "multiValue": lines}}}));
    cases.push(json!({"url": url}));
    let classes = accepts.iter().map(|(_, class)| class.as_str()).chain(["webp", ""]);
    for runtime in RUNTIMES {
        for (class, answer) in classes.clone().zip(cloudfront(runtime, &json!(cases))) {
            assert_eq!(answer["headers"]["accept"]["value"], accept_of(class), "{runtime}: {answer}");
        }
    }
}

#[test]
fn cloudfront_lets_links_speak_for_themselves() {
    let Links { vectors, .. } = links();
    let (_, link, _) = vectors.iter().find(|(_, _, result)| result == "valid").unwrap();
    let cookies = json!({"pinhole_session": {"value": "token"}});
    let unsigned = "/i/01890a5d-ac96-774b-bcce-b302099a8057/width=400";
    let elsewhere = "/v1/profile?x=1";
    let cases = json!([link, unsigned, elsewhere].map(|url| json!({"url": url, "cookies": cookies})));
    for runtime in RUNTIMES {
        let answers = cloudfront(runtime, &cases);
        assert_eq!(answers[0]["cookies"], json!({}), "viewers with a cookie share the copy");
        assert_eq!(answers[1]["cookies"], cookies, "who signs in is asked for");
        assert_eq!((&answers[2]["cookies"], &answers[2]["statusCode"]), (&cookies, &Value::Null));
        // The origin calls each request as CloudFront does, in one word.
        let id = |answer: &Value| answer["headers"]["x-request-id"]["value"] == "EXAMPLE_ntjQp-1ug";
        assert!(answers.iter().all(id), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_judges_links_as_the_origin_does() {
    let app = TestApp::start();
    let Links { now, keys, vectors } = links();
    let text = edge::printed(edge::command("cloudflare", &keys, &app.url));
    let worker = Edge::worker_of(&text, Some(now));
    for (name, url, result) in &vectors {
        let answer = worker.get(&app, url).send().await;
        match result.as_str() {
            // The origin has neither that image nor those keys, and judges by its own clock.
            "valid" => {
                let problem = answer.expect_problem(403, "link_invalid").json();
                assert!(
                    problem["detail"].as_str().unwrap().contains("(kid)"),
                    "{name}: the origin: {problem}"
                );
            }
            "unsigned" => drop(answer.expect_problem(404, "not_found")),
            _ if !url.starts_with("/i/") => drop(answer.expect_problem(404, "not_found")),
            code => {
                let problem = answer.expect_problem(403, code).json();
                let detail = problem["detail"].as_str().unwrap();
                assert!(
                    detail.ends_with("ask for a new one."),
                    "{name}: it was the Worker who judged: {detail}"
                );
            }
        }
    }
}

#[test]
fn each_edge_is_told_what_is_wrong_with_the_settings() {
    let wrong = |kind: &str, keys: &str, url: &str, args: &[&str]| {
        let output = edge::command(kind, keys, url).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{kind} {args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let url = "https://img.example.org";
    let Links { keys, .. } = links();
    // The first key of the vectors begins with a zero byte.
    assert!(wrong("fastly", &keys, url, &[]).contains("link key 2026-a has a zero byte"));
    assert!(wrong("varnish", &keys, url, &["--origin", "https://10.0.0.1"]).contains("host:port"));
    assert!(wrong("varnish", &keys, "", &["--origin", "10.0.0.1:80"]).contains("server.public_url"));
    let two = [("A", "first"), ("B", "second")].map(|(name, token)| {
        let target = |setting: &str, value: &str| {
            (format!("PINHOLE_EDGE__TARGETS__{name}__{setting}"), value.to_owned())
        };
        [target("KIND", "varnish"), target("URLS", "http://127.0.0.1:6081"), target("TOKEN", token)]
    });
    let output =
        edge::command("varnish", &keys, url).args(["--origin", "10.0.0.1:80"]).envs(two.concat()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("takes one token"));
    assert!(wrong("cloudflare", &keys, "", &[]).contains("--origin"));
    assert!(wrong("cloudflare", &keys, url, &["--origin", "https://a/b"]).contains("without a path"));
    assert!(wrong("cloudfront", "a:short", url, &[]).contains("43 characters"));
}
