//! `pinhole dev` as a program: how it starts, refuses and stops.

use std::process::{Command, Output};

use crate::{
    serve::stops_in_peace,
    support::{TestApp, dev_command, jpeg},
};

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn it_comes_up_ready() {
    let app = TestApp::start();
    for path in ["/livez", "/readyz", "/metrics"] {
        app.get(&format!("{}{path}", app.ops_url)).send().await.expect(200);
    }
    let page = app.get("/").send().await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    app.get("/demo/photo.jpg").send().await.expect(200).image();
    // The bucket is nobody's but pinhole's.
    app.get(&format!("{}/pinhole", app.s3_url)).send().await.expect(403);
}

#[tokio::test]
async fn its_data_survives_a_restart() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "width=32").await;
    let path = link.strip_prefix(&app.url).unwrap().to_owned();
    let token = app.token("alice").await;
    let app = app.restart();
    app.get(&path).send().await.expect(200);
    let bearer = format!("Bearer {token}");
    app.get(&format!("/v1/images/{image}")).header("authorization", &bearer).send().await.expect(200);
}

#[test]
fn a_second_one_on_the_same_data_is_refused() {
    let app = TestApp::start();
    let output = dev_command(&app.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr_of(&output);
    assert!(message.contains("another pinhole dev is using this folder"), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
}

#[test]
fn a_public_address_is_refused() {
    let data = tempfile::tempdir().unwrap();
    for flag in ["--listen", "--s3-listen", "--ops-listen"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
            let output = Command::new(env!("CARGO_BIN_EXE_pinhole"))
                .args(["dev", flag, address, "--data"])
                .arg(data.path().join("unused"))
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{flag} {address}");
            assert!(stderr_of(&output).contains(flag), "{flag} {address}: {}", stderr_of(&output));
        }
    }
    assert!(!data.path().join("unused").exists(), "nothing was made");
}

#[test]
fn a_taken_port_is_named() {
    let app = TestApp::start();
    let taken = app.url.strip_prefix("http://").unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pinhole"))
        .args([
            "dev",
            "--listen",
            taken,
            "--s3-listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr_of(&output);
    assert!(message.contains(&format!("--listen {taken}")), "{message}");
}

#[test]
fn a_wrong_setting_is_named() {
    let data = tempfile::tempdir().unwrap();
    for (variable, value, named) in [
        ("PINHOLE_UPLOAD__MAX_BYTES", "lots", "upload.max_bytes"),
        ("PINHOLE_LINKS__WINDOW_SECS", "0", "links.window_secs"),
        ("PINHOLE_TRANSFORM__UNSIGNED", "everything", "transform.unsigned"),
        ("PINHOLE_UPLOAD__MAX_BITES", "1", "max_bites"),
        ("PINHOLE_LINKS__KEYS", "a:short", "links.keys"),
        ("PINHOLE_AUTH__JWT_SECRET", "short", "auth.jwt_secret"),
    ] {
        let output = dev_command(data.path()).env(variable, value).output().unwrap();
        let message = stderr_of(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{variable}: {message}");
        assert!(message.contains(named), "{variable}: {message}");
        assert!(!message.contains("panicked"), "{variable}: {message}");
    }
}

#[tokio::test]
async fn settings_of_every_kind_come_from_the_environment() {
    let secret = "0".repeat(40);
    let app = TestApp::start_with(&[
        ("PINHOLE_AUTH__JWT_SECRET", &secret),
        (
            "PINHOLE_LINKS__KEYS",
            "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA, b:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
        ("PINHOLE_TRANSFORM__UNSIGNED", "listed"),
        ("PINHOLE_TRANSFORM__WIDTHS", "33,44"),
        ("PINHOLE_QUOTA__IMAGES", "1"),
    ]);
    // A token that was made elsewhere, with the same secret of digits.
    let head = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDAwMDAwMDAwMH0";
    let token = format!("{head}.{}", crate::support::hmac_sha256(secret.as_bytes(), head));
    let mine = app.get("/v1/images").header("authorization", &format!("Bearer {token}")).send().await;
    mine.expect(200);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    assert!(app.link("alice", &image, "width=10").await.contains("&kid=a&"));
    app.get(&format!("/i/{image}/width=44")).user("alice").await.send().await.expect(200);
    app.get(&format!("/i/{image}/width=45")).user("alice").await.send().await.expect(400);
}

#[tokio::test]
async fn it_finishes_what_is_under_way_before_it_stops() {
    stops_in_peace(TestApp::start()).await;
}

#[tokio::test]
async fn the_page_comes_with_its_files_under_a_strict_policy() {
    let app = TestApp::dev();
    let page = app.get("/").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(policy.contains(&format!("connect-src 'self' {};", app.s3_url)), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick="), "inline");

    // Whatever is named is there, and what is named by that, with the type that browsers insist on.
    let mut named = vec![html];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(text) = named.pop() {
        let by_path = text.split("\"/demo/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        let by_import =
            text.split("from './").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned());
        for name in by_path.chain(by_import) {
            if !seen.insert(name.clone()) {
                continue;
            }
            let path = format!("/demo/{name}");
            let file = app.get(&path).send().await.expect(200);
            let expected = match name.rsplit('.').next().unwrap() {
                "js" => "text/javascript; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                other => panic!("{other}: {path}"),
            };
            assert_eq!(file.header("content-type"), expected, "{path}");
            assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
            let head = app.request("HEAD", &path).send().await.expect(200);
            assert_eq!(head.header("content-length"), file.body.len().to_string(), "{path}");
            assert!(head.body.is_empty());
            if name != "pinhole.js" {
                named.push(file.text());
            }
        }
    }
    for name in ["app.js", "style.css", "pinhole.js", "wire.js"] {
        assert!(seen.contains(name), "{name} of {seen:?}");
    }
    for path in ["/demo/", "/demo/nothing.js", "/demo/../demo.rs", "/demo/app.js/"] {
        app.get(path).send().await.expect_problem(404, "not_found");
    }
    app.post("/demo/app.js").send().await.expect_problem(405, "method_not_allowed");
    app.get("/demo/app.js").header("host", "evil.example").send().await.expect_problem(421, "misdirected");
}

#[tokio::test]
async fn the_page_is_not_there_in_production() {
    let app = TestApp::serve();
    for path in ["/", "/demo/app.js", "/demo/style.css", "/demo/photo.jpg"] {
        app.get(path).send().await.expect_problem(404, "not_found");
    }
    for method in ["POST", "DELETE"] {
        app.request(method, "/dev/session").send().await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn signing_out_takes_the_cookie_away() {
    let app = TestApp::dev();
    let signed_in =
        app.post("/dev/session").json(&serde_json::json!({"user": "bob"})).send().await.expect(200);
    let cookie = signed_in.header("set-cookie").to_owned();
    assert!(cookie.starts_with("pinhole_session=ey") && cookie.contains("; HttpOnly"), "{cookie}");
    let signed_out = app.request("DELETE", "/dev/session").send().await.expect(204);
    let cookie = signed_out.header("set-cookie");
    assert!(cookie.starts_with("pinhole_session=;") && cookie.contains("; Max-Age=0;"), "{cookie}");
}

#[tokio::test]
async fn the_bucket_takes_uploads_of_the_page_by_either_name() {
    let app = TestApp::dev();
    let port = app.url.rsplit_once(':').unwrap().1;
    for (origin, allowed) in [
        (app.url.clone(), true),
        (format!("http://localhost:{port}"), true),
        ("http://localhost:1".to_owned(), false),
        ("https://evil.example".to_owned(), false),
    ] {
        let preflight = app
            .request("OPTIONS", &format!("{}/pinhole", app.s3_url))
            .header("origin", &origin)
            .header("access-control-request-method", "POST")
            .send()
            .await;
        let said = preflight.header("access-control-allow-origin");
        assert_eq!(said, if allowed { &*origin } else { "" }, "{origin}");
    }
}
