//! What `pinhole generate` has for Prometheus and Grafana: rules that promtool takes, and that fire when they should;
//! not one metric, label or value in rules or dashboard that a server does not have; and how it tells its metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    stand_in::{Answers, Edge},
    support::{PATIENCE, TestApp, jpeg},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The promtool of `tests/promtool`.
fn promtool_path() -> String {
    let found = Command::new(format!("{ROOT}/tests/promtool")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8(found.stdout).unwrap().trim_end().to_owned()
}

fn promtool(args: &[&str], folder: &Path) {
    let output = Command::new(promtool_path()).args(args).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn metrics_are_text_that_promtool_takes_and_open_metrics_for_who_asks_for_them() {
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let app = TestApp::start();
    app.upload("alice", jpeg(64, 48, 1)).await;
    // What Prometheus 2 asks for, what curl does, and nothing.
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let (counts, end) = ("pinhole_http_requests_total{", "# EOF\n");
    for (accept, kind) in [(prometheus, OPEN), ("*/*", TEXT), ("text/plain;version=0.0.4", TEXT), ("", TEXT)]
    {
        let request = app.get(&format!("{}/metrics", app.ops_url));
        let request = if accept.is_empty() { request } else { request.header("accept", accept) };
        let reply = request.send().await.expect(200);
        assert_eq!((reply.header("content-type"), reply.header("vary")), (kind, "Accept"), "{accept}");
        let text = reply.text();
        assert_eq!((text.contains(counts), text.ends_with(end)), (true, kind == OPEN), "{accept}");
        let family = if kind == OPEN { "" } else { "_total" };
        assert!(text.contains(&format!("# TYPE pinhole_http_requests{family} counter\n")), "{accept}");
    }
    let text = app.get(&format!("{}/metrics", app.ops_url)).send().await.text();
    let mut check = Command::new(promtool_path());
    let mut check =
        check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn generated(what: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pinhole")).args(["generate", what]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Every expression of the dashboard, with its variables put in.
fn panel_expressions() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(text)) = fields.get("expr") {
                    into.push(text.clone());
                }
                fields.values().for_each(|value| collect(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&generated("dashboard")).unwrap();
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    found.iter().map(|text| text.replace("$__rate_interval", "5m").replace("$instance", ".+")).collect()
}

#[test]
fn every_alert_fires_when_it_should_and_at_no_other_time() {
    let tests = Path::new(ROOT).join("tests/prometheus");
    promtool(&["test", "rules", "pinhole.test.yml"], &tests);
    // None was forgotten there.
    let tests = std::fs::read_to_string(tests.join("pinhole.test.yml")).unwrap();
    let rules = generated("alerts");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 15, "{alerts:?}");
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname=\"{alert}\", severity=")),
            "{alert} is never seen to fire"
        );
    }
}

#[test]
fn promtool_takes_rules_and_panels() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("alerts.yml"), generated("alerts")).unwrap();
    promtool(&["check", "rules", "alerts.yml"], folder.path());
    // A panel's query is checked as the rule that would record it; JSON is YAML.
    let panels = panel_expressions();
    assert!(panels.len() > 40, "{panels:?}");
    let named = panels.iter().enumerate();
    let rules: Vec<_> =
        named.map(|(n, expr)| json!({"record": format!("panel:{n}"), "expr": expr})).collect();
    let rules = json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(folder.path().join("panels.yml"), rules.to_string()).unwrap();
    promtool(&["check", "rules", "panels.yml"], folder.path());
}

/// What a text asks for: metrics, each with the labels and values that it is selected by; and labels that are grouped by.
#[derive(Default)]
struct Asked {
    metrics: BTreeMap<String, BTreeSet<(String, String)>>,
    grouped: BTreeSet<String>,
}

impl Asked {
    fn read(&mut self, text: &str) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut from = 0;
        while let Some(at) = text[from..].find(|c: char| is_name(c) || c == ':') {
            let start = from + at;
            let rest = &text[start..];
            let word = &rest[..rest.find(|c: char| !is_name(c) && c != ':').unwrap_or(rest.len())];
            from = start + word.len();
            let after = text[from..].trim_start();
            if word == "by" && after.starts_with('(') {
                let labels = after[1..].split(')').next().unwrap();
                self.grouped.extend(labels.split(',').map(|label| label.trim().to_owned()));
            }
            if !word.starts_with("pinhole_") && !word.starts_with("process_") {
                continue;
            }
            let selected = self.metrics.entry(word.to_owned()).or_default();
            let Some(labels) = text[from..].strip_prefix('{') else { continue };
            for matcher in labels.split('}').next().unwrap().split(',') {
                let end = matcher.find(['=', '!']).expect(matcher);
                let values = matcher[end..].split('"').nth(1).expect(matcher);
                for value in values.split('|') {
                    selected.insert((matcher[..end].trim().to_owned(), value.to_owned()));
                }
            }
        }
    }
}

/// Labels that Prometheus adds, or that are no series' own.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// Where the values of labels are written that no server shows that does well.
const WORDS: &str = concat!(
    include_str!("../../src/metrics.rs"),
    include_str!("../../src/metrics/calls.rs"),
    include_str!("../../src/db/outbox.rs"),
    include_str!("../../src/error.rs"),
    include_str!("../../src/link.rs"),
);

/// A server that has done some of everything; what it shows then.
async fn metrics_after_traffic() -> String {
    let (purged, probed) = (Edge::start().await, Edge::start().await);
    let app = TestApp::start_with(&[
        ("PINHOLE_EDGE__TARGETS__FRONT__KIND", "nginx"),
        ("PINHOLE_EDGE__TARGETS__FRONT__URLS", &purged.url),
        ("PINHOLE_EDGE__TARGETS__FRONT__TOKEN", "purge-token"),
        ("PINHOLE_EDGE__PROBE__URL", &probed.url),
    ]);
    let image = app.upload("alice", jpeg(640, 480, 1)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let auto = app.get(&format!("/i/{image}/w=100,f=auto")).header("accept", "image/avif,image/webp");
    auto.send().await.expect(200);
    let link = app.link("alice", &image, "w=100").await;
    for path in [&*link, &*link, &format!("{link}x"), &format!("/i/{image}/original"), "/i/0/original"] {
        app.get(path).send().await;
    }
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    app.get(&format!("/i/{image}/w=100")).send().await.expect(404);
    probed.until_seen(1).await;
    probed.answers(Answers::With(404, ""));
    let began = Instant::now();
    loop {
        let text = app.get(&format!("{}/metrics", app.ops_url)).send().await.expect(200).text();
        let has = |name: &str| text.lines().any(|line| line.starts_with(name));
        if has("pinhole_purge_lag_seconds_bucket")
            && has("pinhole_background_renders_total{")
            && has("pinhole_variants_written_total{")
        {
            return text;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_has_every_metric_label_and_value_that_is_asked_for() {
    let live = metrics_after_traffic().await;
    let mut shown: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for line in live.lines() {
        let described = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
        // Texts name a histogram or counter by its family.
        if let Some(family) = described {
            shown.entry(family).or_default();
        } else if !line.starts_with('#') {
            let (name, labels) = line.split_once(['{', ' ']).unwrap();
            let labels = labels.split('}').next().unwrap();
            let pairs = labels.split("\",").filter_map(|pair| pair.trim_end_matches('"').split_once("=\""));
            shown.entry(name).or_default().extend(pairs);
        }
    }
    assert!(shown["pinhole_image_seconds_bucket"].contains(&("tier", "memory")), "{live}");
    assert!(shown.contains_key("process_resident_memory_bytes"), "{live}");

    let mut asked = Asked::default();
    asked.read(&generated("alerts"));
    for text in panel_expressions() {
        asked.read(&text);
    }
    assert!(asked.metrics.len() > 25, "{:?}", asked.metrics);
    for (name, selected) in &asked.metrics {
        let shown = shown.get(&**name).unwrap_or_else(|| panic!("no server has {name}: {live}"));
        for (label, value) in selected {
            if label == "le" || !ADDED.contains(&&**label) {
                assert!(shown.iter().any(|(has, _)| has == label), "{name} has no label {label}: {shown:?}");
                let is_known = shown.contains(&(label, value))
                    || WORDS.contains(&format!("\"{value}\""))
                    || (label == "status" && value == "5..");
                assert!(is_known, "{name} never has {label}={value}: {shown:?}");
            }
        }
    }
    let all: BTreeSet<&str> = shown.values().flatten().map(|(label, _)| *label).collect();
    for label in &asked.grouped {
        assert!(all.contains(&**label) || ADDED.contains(&&**label), "no metric has the label {label}");
    }
}
