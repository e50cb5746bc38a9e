//! The description of the API, and the server held to it: by schemathesis, and by every answer that any test of this
//! binary gets.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{LazyLock, Once},
};

use http::{Method, StatusCode};
use pinhole::openapi::{Document, Facts};
use serde_json::{Value, json};

use crate::support::{Reply, SERVICE_KEY, TestApp};

/// The description, but for what settings decide.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let facts = Facts {
        public_url: "",
        max_file_bytes: 1 << 50,
        presets: &[],
        watermarks: &[],
        max_link_secs: 1 << 50,
    };
    serde_json::from_slice(&Document::new(facts).unwrap().bytes).unwrap()
});

/// Whether a segment of a path is where something changing stands.
fn is_changing(segment: &str) -> bool {
    segment.starts_with('{')
}

/// The described path that a request's path is one of; of several the one with the fewest changing parts.
fn described(path: &str) -> Option<&'static Value> {
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, asked)| is_changing(part) || part == asked)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, item)| item)
}

/// What a `$ref` leads to.
fn follow(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(to) => follow(DOCUMENT.pointer(&to[1..]).unwrap()),
        None => value,
    }
}

/// Insists that an answer is one of those that the description has for the request.
#[track_caller]
pub fn check(method: &Method, path: &str, reply: &Reply) {
    let status = reply.status.as_u16();
    // What every path may be: not there for a process of this role, or asked for under another host.
    if [404, 421].contains(&status) && reply.header("content-type") == "application/problem+json" {
        return;
    }
    let what = format!("{method} {path} was answered {status}");
    let Some(item) = described(path) else {
        let only_in_dev = ["/", "/docs", "/dev/session"].contains(&path) || path.starts_with("/demo/");
        assert!(only_in_dev, "{what}, and no such path is described");
        return;
    };
    let is_get = *method == Method::HEAD && item["head"].is_null();
    let name = if is_get { "get".to_owned() } else { method.as_str().to_ascii_lowercase() };
    let Some(operation) = item.get(&name) else {
        assert_eq!(status, 405, "{what}, and no such operation is described");
        return;
    };
    let response = operation["responses"].get(status.to_string()).map(follow);
    let response = response.unwrap_or_else(|| panic!("{what}, which is not described: {}", reply.text()));
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let is_there = reply.headers.contains_key(name.as_str());
        // Of a copy, an edge says it in its own way.
        let is_copy = reply.headers.contains_key("cache-status");
        assert!(is_there || is_copy || follow(header)["required"] != true, "{what}, without {name}");
    }
    if *method == Method::HEAD || reply.status == StatusCode::NOT_MODIFIED {
        return;
    }
    let Some(contents) = response.get("content").and_then(Value::as_object) else {
        assert!(reply.body.is_empty(), "{what}, with a body that is not described: {}", reply.text());
        return;
    };
    let content_type = reply.header("content-type");
    let content = contents.get(content_type).unwrap_or_else(|| panic!("{what} as {content_type:?}"));
    if content_type.ends_with("json") {
        fits(&content["schema"], &reply.json()).unwrap_or_else(|why| panic!("{what}: {why}"));
    }
}

/// Whether JSON has the described members, all that are required and no other, and the described constants. What
/// else a schema says is schemathesis's to judge.
fn fits(schema: &'static Value, value: &Value) -> Result<(), String> {
    let base = follow(schema);
    if let Some(only) = schema.get("const").or_else(|| base.get("const"))
        && only != value
    {
        return Err(format!("{value} is not {only}"));
    }
    if let Some(known) = schema.get("enum").or_else(|| base.get("enum"))
        && !known.as_array().unwrap().contains(value)
    {
        return Err(format!("{value} is none of {known}"));
    }
    let alternatives = base.get("oneOf").or_else(|| base.get("anyOf")).and_then(Value::as_array);
    if let Some(alternatives) = alternatives
        && base.get("properties").is_none()
    {
        let failed: Vec<String> =
            alternatives.iter().map_while(|alternative| fits(alternative, value).err()).collect();
        return if failed.len() < alternatives.len() { Ok(()) } else { Err(failed.join("; ")) };
    }
    match value {
        Value::Object(members) => {
            let required = base["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(missing) = required.into_iter().find(|name| !members.contains_key(*name)) {
                return Err(format!("{missing} is missing"));
            }
            let Some(known) = base["properties"].as_object() else { return Ok(()) };
            for (name, member) in members {
                let beside = schema["properties"].get(name);
                let described =
                    beside.or_else(|| known.get(name)).ok_or(format!("{name} is not described"))?;
                fits(described, member).map_err(|why| format!("{name}: {why}"))?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| fits(&base["items"], item)),
        Value::Null if base["type"] == "null" => Ok(()),
        Value::Null if base["type"].as_array().is_some_and(|types| types.contains(&json!("null"))) => Ok(()),
        Value::Null => Err("null".to_owned()),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn everybody_can_read_what_can_be_asked_for() {
    let app = TestApp::dev();
    let reply = app.get("/openapi.json").send().await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.1");
    assert_eq!(document["servers"], json!([{ "url": app.url }]));
    assert_eq!(document["paths"], DOCUMENT["paths"]);

    let etag = reply.etag().to_owned();
    let known = app.get("/openapi.json").header("if-none-match", &etag).send().await.expect(304);
    assert!(known.body.is_empty());
    assert_eq!(known.etag(), etag);
    app.get("/openapi.json")
        .header("if-match", "\"x\"")
        .send()
        .await
        .expect_problem(412, "precondition_failed");
    let head = app.request("HEAD", "/openapi.json").send().await.expect(200);
    assert_eq!(head.header("content-length"), reply.body.len().to_string());
}

#[tokio::test]
async fn in_dev_it_can_be_read_as_a_page() {
    let app = TestApp::dev();
    let page = app.get("/docs").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("default-src 'none'; script-src 'self'"));
    let text = page.text();
    let own: BTreeSet<&str> = text.split('"').filter(|word| word.starts_with('/')).collect();
    for path in own {
        app.get(path).send().await.expect(200);
    }
    app.get("/docs").header("host", "evil.example").send().await.expect_problem(421, "misdirected");
}

/// A check that lets everything pass would be none.
#[test]
fn what_is_not_described_is_noticed() {
    let reply = |status: u16, content_type: &str, body: &Value| Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: [("content-type", content_type), ("x-request-id", "1")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect(),
        body: body.to_string().into(),
    };
    let is_refused = |method: Method, path: &str, reply: &Reply| {
        static SILENT: Once = Once::new();
        SILENT.call_once(|| {
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if std::thread::current().name() != Some("silent") {
                    told(info);
                }
            }));
        });
        std::thread::scope(|scope| {
            let check = || check(&method, path, reply);
            std::thread::Builder::new()
                .name("silent".into())
                .spawn_scoped(scope, check)
                .unwrap()
                .join()
                .is_err()
        })
    };
    let profile = json!({"user": "alice", "display_name": "", "avatar": null});
    let with = |name: &str, value: Value| {
        let mut changed = profile.clone();
        changed[name] = value;
        changed
    };
    let json = "application/json";
    let path = "/v1/profile";
    assert!(!is_refused(Method::GET, path, &reply(200, json, &profile)));
    assert!(!is_refused(Method::HEAD, path, &reply(200, json, &profile)));
    assert!(is_refused(Method::GET, "/v1/profiles", &reply(200, json, &profile)));
    assert!(is_refused(Method::POST, path, &reply(200, json, &profile)));
    assert!(is_refused(Method::GET, path, &reply(201, json, &profile)));
    assert!(is_refused(Method::GET, path, &reply(200, "text/html", &profile)));
    assert!(is_refused(Method::GET, path, &reply(200, json, &with("age", json!(3)))));
    assert!(is_refused(Method::GET, path, &reply(200, json, &with("user", Value::Null))));
    assert!(is_refused(Method::GET, path, &reply(200, json, &with("avatar", json!({"url": "x"})))));
    assert!(is_refused(Method::GET, path, &reply(200, json, &json!({"user": "alice"}))));
    let mut nameless = reply(200, json, &profile);
    nameless.headers.remove("x-request-id");
    assert!(is_refused(Method::GET, path, &nameless));
    let problem = |code: &str| json!({"title": "", "status": 400, "code": code, "detail": ""});
    assert!(!is_refused(
        Method::GET,
        path,
        &reply(400, "application/problem+json", &problem("invalid_field"))
    ));
    assert!(is_refused(Method::GET, path, &reply(400, "application/problem+json", &problem("bad_options"))));
    assert!(is_refused(
        Method::GET,
        path,
        &reply(401, "application/problem+json", &problem("invalid_field"))
    ));
}

/// Thousands of requests that its description allows, and that it does not, to all operations, each alone and in
/// sequences: the server answers each as described, never with a 5xx, refuses what does not fit the schemas, and takes
/// what does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_does_what_its_description_says() {
    let app = TestApp::dev();
    let mut run = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/run"));
    run.arg(&app.url).arg(app.token("alice").await).arg(SERVICE_KEY);
    let done = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "schemathesis found what is not as described");
}
