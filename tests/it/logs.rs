//! Request ids, from the viewer through the edge to the log; and the log's lines, of which none holds a secret.

use std::{collections::BTreeSet, process::Command, time::Instant};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    edge::Edge,
    nginx::Nginx,
    support::{Bucket, NEVER_THERE, PATIENCE, Reply, SERVICE_KEY, TestApp, dev_command, jpeg, serve_command},
};

/// Every request a line, and every line JSON.
const ALL_AS_JSON: [(&str, &str); 2] = [("PINHOLE_LOG__FORMAT", "json"), ("PINHOLE_LOG__REQUESTS", "all")];

/// A file for the log of a command.
fn logged(command: &mut Command, env: &[(&str, &str)]) -> NamedTempFile {
    let log = NamedTempFile::new().unwrap();
    command.envs(env.iter().copied()).stderr(log.reopen().unwrap());
    log
}

/// A `pinhole dev` whose log is written into a file.
fn dev(env: &[(&str, &str)]) -> (TestApp, NamedTempFile) {
    let data = tempfile::tempdir().unwrap();
    let mut command = dev_command(data.path());
    let log = logged(&mut command, env);
    (TestApp::dev_by(command, data), log)
}

fn text(log: &NamedTempFile) -> String {
    std::fs::read_to_string(log).unwrap()
}

/// All lines, each of which must be an object with what every line has.
fn lines(log: &NamedTempFile) -> Vec<Value> {
    let text = text(log);
    let parsed = text.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["timestamp", "level", "target", "message"] {
            assert!(value[member].is_string(), "{member}: {line}");
        }
        let format = &time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::parse(value["timestamp"].as_str().unwrap(), format).unwrap();
        value
    });
    parsed.collect()
}

/// The lines of requests that have an id.
fn requests(log: &NamedTempFile, id: &str) -> Vec<Value> {
    let lines = lines(log).into_iter();
    lines.filter(|line| line["target"] == "pinhole::requests" && line["request_id"] == id).collect()
}

/// The one line of the request that an answer is to.
#[track_caller]
fn line_of(log: &NamedTempFile, reply: &Reply) -> Value {
    let found = requests(log, reply.header("x-request-id"));
    assert_eq!(found.len(), 1, "{reply:?}: {found:?}");
    found[0].clone()
}

#[tokio::test]
async fn what_an_answer_says_is_in_the_log() {
    let (app, log) = dev(&ALL_AS_JSON);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/width=32");
    let unsigned = format!("{path}?exp=1");
    let mut seen = BTreeSet::new();
    for (method, path, status, route, code) in [
        ("GET", &*path, 200, "image", Value::Null),
        ("HEAD", &*path, 200, "image", Value::Null),
        ("GET", &*unsigned, 403, "image", json!("link_invalid")),
        ("GET", "/v1/images", 200, "list_images", Value::Null),
        ("DELETE", "/v1/images", 405, "none", json!("method_not_allowed")),
        ("GET", "/nothing", 404, "none", json!("not_found")),
    ] {
        let reply = app.request(method, path).user("alice").await.send().await.expect(status);
        let id = reply.header("x-request-id").to_owned();
        assert_eq!(id.len(), 32, "{id}");
        let line = line_of(&log, &reply);
        assert_eq!(
            (&line["method"], &line["status"], &line["route"], &line["code"], &line["level"]),
            (&json!(method), &json!(status), &json!(route), &code, &json!("INFO")),
            "{line}"
        );
        let length = if method == "HEAD" { 0 } else { reply.body.len() };
        assert_eq!(line["bytes"], length, "{line}");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["tier"].is_string(), status == 200 && route == "image", "{line}");
        assert!(seen.insert(id), "an id came twice");
    }
    // In memory now: what never leaves the thread that has the connection.
    let again = app.get(&path).user("alice").await.send().await.expect(200);
    assert_eq!(line_of(&log, &again)["tier"], "memory");
    assert_eq!(again.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_came_with() {
    let (app, log) = dev(&ALL_AS_JSON);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let path = format!("/i/{image}/width=32");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let longest = "x".repeat(64);
    for (n, given) in ["a", "Ab-1_2.3", &longest].into_iter().enumerate() {
        for (asked, status) in [(&*path, 200), ("/nothing", 404)] {
            let request = app.get(asked).header("x-request-id", given).header("traceparent", &parent);
            let reply = request.send().await.expect(status);
            assert_eq!(reply.header("x-request-id"), given);
        }
        let found = requests(&log, given);
        assert_eq!(found.len(), 2, "{n}: {found:?}");
        assert!(found.iter().all(|line| line["trace_id"] == trace), "{found:?}");
    }
}

/// Whoever names a request writes into logs: with one word, or not at all.
#[tokio::test]
async fn nobody_writes_into_the_log_by_naming_a_request() {
    for format in ["json", "human"] {
        let (app, log) = dev(&[("PINHOLE_LOG__FORMAT", format), ("PINHOLE_LOG__REQUESTS", "all")]);
        let too_long = "hostile".repeat(10);
        for hostile in [
            "hostile id",
            "hostile\",\"level\":\"ERROR",
            "hostile\u{1b}[2J",
            "hostile\u{9}x",
            "hostile=1 status=200",
            "h\u{f6}stile",
            "",
            &too_long,
        ] {
            let head = format!("GET /nothing HTTP/1.1\r\nhost: localhost\r\nx-request-id: {hostile}\r\n\r\n");
            // A control character is no part of a header's value; hyper says so itself.
            let status = if hostile.contains('\u{1b}') { 400 } else { 404 };
            let reply = app.send_raw([head]).await.expect(status);
            if status == 404 {
                assert_eq!(reply.header("x-request-id").len(), 32, "{hostile:?}");
            }
        }
        let twice = app.get("/nothing").header("x-request-id", "hostile1").header("x-request-id", "hostile2");
        assert_eq!(twice.send().await.expect(404).header("x-request-id").len(), 32);
        assert!(!text(&log).to_lowercase().contains("hostile"), "{}", text(&log));
        assert_eq!(text(&log).matches("pinhole::requests").count(), 8, "{}", text(&log));
    }
}

/// What caches may share would be shown to others with the id in it.
#[tokio::test]
async fn what_caches_may_share_is_named_only_for_who_named_it() {
    let (app, log) = dev(&ALL_AS_JSON);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
    let etag = app.get(&format!("/i/{image}/original")).send().await.expect(200).etag().to_owned();
    let link = app.link("alice", &hidden, "original").await;
    for path in [&format!("/i/{image}/original"), &link] {
        for (method, name, value, status) in [
            ("GET", "accept", "*/*", 200),
            ("HEAD", "accept", "*/*", 200),
            ("GET", "range", "bytes=0-9", 206),
            ("GET", "if-none-match", &*etag, if path == &link { 200 } else { 304 }),
        ] {
            let ask = || app.request(method, path).header(name, value);
            let nameless = ask().send().await.expect(status);
            assert!(!nameless.headers.contains_key("x-request-id"), "{nameless:?}");
            let named = ask().header("x-request-id", "mine").send().await.expect(status);
            assert_eq!(named.header("x-request-id"), "mine", "{named:?}");
        }
        let private = app.get(path).user("alice").await.send().await.expect(200);
        let is_shared = private.header("cache-control").starts_with("public");
        assert_eq!(private.headers.contains_key("x-request-id"), !is_shared, "{private:?}");
    }
    // They have names all the same.
    let of_pictures = lines(&log).into_iter().filter(|line| line["route"] == "image");
    assert!(of_pictures.map(|line| line["request_id"].as_str().unwrap().len()).all(|chars| chars >= 4));
}

#[tokio::test]
async fn what_a_viewer_is_told_by_nginx_is_in_the_origins_log() {
    let (app, log) = dev(&ALL_AS_JSON);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
    let link = app.link("alice", &hidden, "width=16").await[app.url.len()..].to_owned();
    let forged = link.replace("width=16", "width=17");
    for (edge, conf) in [(Nginx::verify(&app), "verify"), (Nginx::ask(&app), "ask")] {
        let ask = |method: &str, path: &str| app.request(method, &format!("{}{path}", edge.url));
        let public = format!("/i/{image}/width=32");
        let mut seen = BTreeSet::new();
        // Each path twice: the second time there is a copy, if it is kept.
        for (method, path, status) in [
            ("GET", &*public, 200),
            ("HEAD", &*public, 200),
            ("GET", &*link, 200),
            ("GET", &*forged, 403),
            ("GET", &format!("/i/{NEVER_THERE}/original"), 404),
            ("GET", "/v1/profile", 401),
            ("GET", "/nothing", 404),
            ("PURGE", &format!("/i/{image}"), if conf == "verify" { 403 } else { 404 }),
        ] {
            for n in 0..2 {
                let reply = ask(method, path).send().await.expect(status);
                let ids: Vec<_> = reply.headers.get_all("x-request-id").iter().collect();
                assert_eq!(ids.len(), 1, "{conf} {method} {path}: {:?}", reply.headers);
                let id = reply.header("x-request-id").to_owned();
                assert_eq!(id.len(), 32, "{conf} {method} {path}: {id}");
                // nginx writes its line once the answer is out.
                let began = Instant::now();
                while !edge.log().iter().any(|line| line["request_id"] == id) {
                    assert!(began.elapsed() < PATIENCE, "{conf} {method} {path}: the edge's log has no {id}");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                let is_hit = reply.header("cache-status").contains("hit");
                let judged_here = conf == "verify" && [&*forged, &format!("/i/{image}")].contains(&path);
                // What the origin said of this viewer a moment ago is not asked again.
                let was_told = conf == "ask" && n > 0 && path.contains(NEVER_THERE);
                if !is_hit && !judged_here && !was_told {
                    let asked = requests(&log, &id);
                    assert!(!asked.is_empty(), "{conf} {method} {path}: the origin has no {id}");
                }
                assert!(seen.insert(id), "{conf} {method} {path}: a copy's id is shown again");
            }
        }
        // By the name that it came with, if that is one.
        let mine = ask("GET", "/v1/profile").header("x-request-id", conf).send().await.expect(401);
        assert_eq!((mine.header("x-request-id"), requests(&log, conf).len()), (conf, 1));
        let hostile = ask("GET", "/v1/profile").header("x-request-id", "a b\"c").send().await.expect(401);
        assert_eq!(hostile.header("x-request-id").len(), 32);
        assert_eq!(requests(&log, hostile.header("x-request-id")).len(), 1);
        // A trace goes on, even where no other header of the viewer's does.
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let fill = ask("GET", &format!("/i/{image}/height=17"));
        let fill = fill.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
        let filled = fill.send().await.expect(200);
        let asked = requests(&log, filled.header("x-request-id"));
        assert!(!asked.is_empty() && asked.iter().all(|line| line["trace_id"] == trace), "{asked:?}");
        // A range and a condition that the copy answers.
        let etag = ask("GET", &public).send().await.expect(200).etag().to_owned();
        for (name, value, status) in
            [("range", "bytes=0-9", 206), ("range", "bytes=99999999-", 416), ("if-none-match", &*etag, 304)]
        {
            let reply = ask("GET", &public).header(name, value).send().await.expect(status);
            assert_eq!(reply.header("x-request-id").len(), 32, "{conf} {status}: {:?}", reply.headers);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_viewer_is_told_by_others_caches_is_in_the_origins_log() {
    let (app, log) = dev(&ALL_AS_JSON);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    for edge in [Edge::varnish(&app), Edge::worker(&app)] {
        let mut seen = BTreeSet::new();
        for (path, status) in [(format!("/i/{image}/width=32"), 200), ("/v1/profile".to_owned(), 401)] {
            for n in 0..3 {
                let reply = edge.get(&app, &path).send().await.expect(status);
                let id = reply.header("x-request-id").to_owned();
                assert!((1..=64).contains(&id.len()), "{} {path}: {:?}", edge.name, reply.headers);
                let is_copy = status == 200 && n > 0;
                assert_eq!(requests(&log, &id).is_empty(), is_copy, "{} {path} {n}: {id}", edge.name);
                assert!(seen.insert(id), "{} {path}: an id is shown again", edge.name);
            }
            for (given, is_taken) in [("mine.1", true), ("not mine", false)] {
                let reply = edge.get(&app, &path).header("x-request-id", given).send().await.expect(status);
                assert_eq!(reply.header("x-request-id") == given, is_taken, "{}: {given}", edge.name);
            }
        }
    }
}

#[tokio::test]
async fn what_failed_here_is_logged_with_its_reason_and_its_id() {
    let (data, bucket) = (tempfile::tempdir().unwrap(), Bucket::of_dev());
    let mut command = serve_command(data.path(), &bucket);
    let log = logged(
        &mut command,
        &[("PINHOLE_LOG__FORMAT", "json"), ("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "3")],
    );
    let app = TestApp::serve_by(command, data, &bucket);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    bucket.dev.as_ref().unwrap().signal("KILL");
    let path = format!("/i/{image}/width=32");
    for given in [None, Some("mine")] {
        let request = app.get(&path).user("alice").await;
        let request = given.into_iter().fold(request, |request, id| request.header("x-request-id", id));
        let reply = request.send().await.expect_problem(503, "unavailable");
        let id = reply.header("x-request-id").to_owned();
        assert_eq!(id, given.unwrap_or(&id), "{reply:?}");
        assert_eq!(reply.json()["request_id"], id);
        let lines: Vec<Value> = lines(&log).into_iter().filter(|line| line["request_id"] == id).collect();
        let is_reason = |line: &&Value| line["level"] == "ERROR" && line["target"] == "pinhole::error";
        assert!(lines.iter().any(|line| is_reason(&line)), "{lines:?}");
        let line = requests(&log, &id);
        assert_eq!((line.len(), &line[0]["status"], &line[0]["level"]), (1, &json!(503), &json!("WARN")));
    }
    // What is not there and what is not allowed are one answer, and so have no id in it.
    let refused = app.get(&path).send().await.expect_problem(404, "not_found");
    assert_eq!(refused.json().get("request_id"), None);
    assert!(requests(&log, refused.header("x-request-id")).is_empty(), "only failures are logged");
}

#[tokio::test]
async fn refusals_are_logged_where_they_are_wanted() {
    let (app, log) = dev(&[("PINHOLE_LOG__FORMAT", "json"), ("PINHOLE_LOG__REQUESTS", "errors")]);
    app.get("/v1/images").user("alice").await.send().await.expect(200);
    app.get("/v1/images").send().await.expect(401);
    let statuses: Vec<Value> = lines(&log).iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, [json!(401)]);
    let sampled = [ALL_AS_JSON[0], ALL_AS_JSON[1], ("PINHOLE_LOG__REQUESTS_ONE_IN", "5")];
    let (app, log) = dev(&sampled);
    for _ in 0..20 {
        app.get("/nothing").send().await.expect(404);
    }
    assert_eq!(lines(&log).len(), 4);
}

/// Everything that opens anything, and a run that meets all of it.
#[tokio::test]
async fn no_secret_is_in_any_line() {
    for format in ["json", "human"] {
        let (app, log) = dev(&[
            ("PINHOLE_LOG__FORMAT", format),
            ("PINHOLE_LOG__REQUESTS", "all"),
            ("PINHOLE_LOG__DECISIONS_ONE_IN", "1"),
            ("RUST_LOG", "warn,pinhole=trace"),
        ]);
        let image = app.upload("alice", jpeg(64, 48, 1)).await;
        let token = app.token("alice").await;
        let link = app.link("alice", &image, "width=32").await;
        let sig = link.rsplit_once("sig=").unwrap().1.to_owned();
        let path = &link[app.url.len()..link.find('?').unwrap()];
        app.get(&link).send().await.expect(200);
        app.get(&link.replace("width=32", "width=33")).send().await.expect(403);
        app.get(&link.replace("exp=", "exp=0")).send().await.expect(403);
        // The query where a path is to be.
        app.get(&link.replace('?', "&")).send().await;
        app.get(&format!("/{token}")).send().await.expect(404);
        app.get(path).header("cookie", &format!("pinhole_session={token}")).send().await.expect(200);
        app.get(path).header("authorization", &format!("Bearer {token}x")).send().await.expect(401);
        app.get("/authz").header("x-original-uri", &link[app.url.len()..]).send().await.expect(204);
        app.get(path).service().send().await.expect(200);
        let key = "secret-idempotency-key";
        let post = json!({"text": "", "visibility": "private", "images": [image]});
        for _ in 0..2 {
            let request = app.post("/v1/posts").user("alice").await.header("idempotency-key", key);
            request.json(&post).send().await.expect(201);
        }
        let wanted = json!({"content_type": "image/jpeg", "size": 100});
        let grant = app.post("/v1/uploads").user("alice").await.json(&wanted).send().await.expect(201).json();
        let signature = grant["fields"]["x-amz-signature"].as_str().unwrap().to_owned();
        let complete = format!("/v1/uploads/{}/complete", grant["image_id"].as_str().unwrap());
        app.post(&complete).user("alice").await.send().await.expect(409);
        app.as_granted(&grant, &[0; 100], |_| {}).send().await;
        app.post(&complete).user("alice").await.send().await.expect(422);
        app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);

        let said = text(&log);
        assert!(said.lines().count() > 20, "{said}");
        let jwt_secret = app.secret("jwt_secret");
        let link_key = app.secret("link_key");
        let link_key = link_key.split_once(':').unwrap().1;
        let bucket_secret = app.secret("s3_secret_key");
        for secret in [
            &*sig,
            &token,
            SERVICE_KEY,
            key,
            &signature,
            &jwt_secret,
            link_key,
            &bucket_secret,
            "sig=",
            "eyJ",
        ] {
            let line = said.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret}");
        }
    }
}

#[tokio::test]
async fn a_line_is_for_people_unless_it_is_for_programs() {
    for (env, has_colours) in [
        (vec![], false),
        (vec![("CLICOLOR_FORCE", "1")], true),
        (vec![("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        let (app, log) = dev(&[&env[..], &[("PINHOLE_LOG__REQUESTS", "all")]].concat());
        let reply = app.get("/nothing").send().await.expect(404);
        let said = text(&log);
        let [line] = said.lines().collect::<Vec<_>>()[..] else { panic!("one line: {said}") };
        assert_eq!(line.contains('\u{1b}'), has_colours, "{env:?}: {line:?}");
        for words in ["INFO", "pinhole::requests:", "status=404", "code=\"not_found\"", "route=\"none\""] {
            assert!(line.contains(words), "{words}: {line:?}");
        }
        assert!(line.contains(&format!("request_id={}", reply.header("x-request-id"))), "{line:?}");
    }
}

#[test]
fn how_it_is_logged_is_looked_at_before_anything_starts() {
    for (variable, value, words) in [
        ("PINHOLE_LOG__FORMAT", "xml", "log.format"),
        ("PINHOLE_LOG__REQUESTS", "some", "log.requests"),
        ("PINHOLE_LOG__REQUESTS_ONE_IN", "0", "log.requests_one_in"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let output = dev_command(data.path()).env(variable, value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}

/// What is said before the server serves is said in the form of the settings, too.
#[test]
fn warnings_of_the_start_are_lines_as_well() {
    let (app, log) = dev(&[("PINHOLE_LOG__FORMAT", "json"), ("PINHOLE_PORT", "tcp://10.0.0.1:80")]);
    let began = Instant::now();
    while lines(&log).is_empty() {
        assert!(began.elapsed() < PATIENCE && app.pid() > 0, "nothing is said");
    }
    assert!(lines(&log)[0]["message"].as_str().unwrap().contains("PINHOLE_PORT"));
}
