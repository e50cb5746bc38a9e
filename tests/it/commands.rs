//! The command line: what every command has, and those that need no server, for links, tokens and service keys.

use std::process::{Command, Output};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::CommandFactory as _;
use pinhole::cli::Cli;
use serde_json::{Value, json};

use crate::support::{Bucket, PATIENCE, TestApp, TestRequest, hmac_sha256, jpeg, serve_command, until};

/// Runs a command of the program on what a server was started with.
fn pinhole(app: &TestApp, args: &[&str]) -> Output {
    let data = app.data();
    let settings = if data.join("pinhole.toml").exists() {
        ["--config".to_owned(), data.join("pinhole.toml").display().to_string()]
    } else {
        ["--data".to_owned(), data.display().to_string()]
    };
    Command::new(env!("CARGO_BIN_EXE_pinhole")).env_clear().args(args).args(settings).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(words), "{error}");
}

#[tokio::test]
async fn a_link_from_the_command_line_is_as_good_as_one_from_the_api() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = said(&pinhole(&app, &["sign", &format!("/i/{image}/w=32,f=webp"), "--expires", "1h"]));
    assert!(link.contains("/width=32,format=webp?exp="), "in canonical form: {link}");
    let path = &link[link.find("/i/").unwrap()..];
    let shown = app.get(path).send().await.expect(200);
    assert_eq!(shown.header("content-type"), "image/webp");
    // Links of one window are one URL, whoever asks.
    let whole = app.link("alice", &image, "width=32,format=webp").await;
    let explained = said(&pinhole(&app, &["verify", &whole]));
    assert!(explained.starts_with("the link is good"), "{explained}");
    assert!(explained.contains(&image) && explained.contains("epoch    1"), "{explained}");

    for (broken, words) in [
        (whole.replace("width=32", "width=64"), "does not match"),
        (whole.replace("kid=", "kid=other"), "in use are"),
        (whole.replace("&ep=1", "&ep=2"), "does not match"),
        (format!("{whole}&x=1"), "exactly ?exp="),
        (whole.split('?').next().unwrap().to_owned(), "no signed link"),
    ] {
        refused(&pinhole(&app, &["verify", &broken]), 1, words);
    }
    refused(&pinhole(&app, &["sign", "/i/nothing/w=32"]), 2, "/i/{id}/{options}");
    refused(&pinhole(&app, &["sign", &format!("/i/{image}/w=0")]), 2, "`w=0`");
    refused(&pinhole(&app, &["sign", &format!("/i/{image}/raw")]), 2, "`raw` is never linked");
    refused(&pinhole(&app, &["sign", &format!("/i/{image}/w=32"), "--expires", "30d"]), 2, "--expires");
    refused(&pinhole(&app, &["sign", &format!("/i/{image}/w=32"), "--expires", "soon"]), 2, "--expires");

    // Another epoch than the image's is dead, and the command says nothing of that, having no server.
    app.post(&format!("/v1/images/{image}/revoke")).user("alice").await.send().await.expect(204);
    app.get(path).send().await.expect_problem(404, "not_found");
    let renewed = said(&pinhole(&app, &["sign", &format!("/i/{image}/w=32"), "--epoch", "2"]));
    app.get(&renewed[renewed.find("/i/").unwrap()..]).send().await.expect(200);
}

#[tokio::test]
async fn a_token_from_the_command_line_is_its_user() {
    let app = TestApp::start();
    let token = said(&pinhole(&app, &["token", "dave", "--ttl", "10m"]));
    let me = app.get("/v1/profile").header("authorization", &format!("Bearer {token}")).send().await;
    assert_eq!(me.expect(200).json()["user"], "dave");
    refused(&pinhole(&app, &["token", "a b"]), 2, "is no user");
    refused(&pinhole(&app, &["token", "dave", "--ttl", "0s"]), 2, "--ttl");
}

#[tokio::test]
async fn a_service_key_is_good_for_its_scopes_until_it_is_retired() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let bearer = |key: &str| format!("Bearer {key}");
    let [reader, writer, signer] = ["read", "write,read", "sign"]
        .map(|scopes| said(&pinhole(&app, &["key", "add", &format!("for {scopes}"), "--scopes", scopes])));
    let links = json!({"images": [{"id": image, "options": "w=32"}]});
    let mut seen = Vec::new();
    for key in [&reader, &writer, &signer] {
        assert!(key.starts_with("pinhole_") && key.len() == 51, "{key}");
        for on_behalf_of in [None, Some("alice")] {
            let ask = async |request: TestRequest<'_>| {
                let request = request.header("authorization", &bearer(key));
                let request = match on_behalf_of {
                    Some(user) => request.header("on-behalf-of", user),
                    None => request,
                };
                let reply = request.send().await;
                if reply.status == 403 {
                    assert_eq!(reply.json()["code"], "key_scope");
                }
                reply.status.as_u16()
            };
            seen.push([
                ask(app.get(&format!("/i/{image}/w=32"))).await,
                ask(app.get(&format!("/v1/images/{image}"))).await,
                ask(app.post(&format!("/v1/images/{image}/revoke"))).await,
                ask(app.post("/v1/links").json(&links)).await,
            ]);
        }
    }
    let (read, write, sign) = ([200, 200, 403, 403], [200, 200, 204, 403], [403, 403, 403, 200]);
    assert_eq!(seen, [read, read, write, write, sign, sign]);
    // Whom it acts for has to be somebody, or it is nobody.
    let nobody = app.get(&format!("/i/{image}/w=32")).header("authorization", &bearer(&reader));
    nobody.header("on-behalf-of", "a b").send().await.expect_problem(400, "invalid_field");

    let list = said(&pinhole(&app, &["key", "list"]));
    assert_eq!(list.lines().count(), 3);
    assert!(!list.contains(&reader) && list.contains("for read") && list.contains("in use"), "{list}");
    let id = list.lines().find(|line| line.ends_with("for read")).unwrap()[..36].to_owned();
    said(&pinhole(&app, &["key", "retire", &id]));
    refused(&pinhole(&app, &["key", "retire", &id]), 1, "no such key");
    refused(&pinhole(&app, &["key", "add", "x", "--scopes", "admin"]), 2, "read, write and sign");
    let path = format!("/i/{image}/w=32");
    let goes_on = until("a retired key is refused", async || {
        app.get(&path).header("authorization", &bearer(&reader)).send().await.status == 401
    });
    assert!(goes_on.await.as_secs() < 2);
    app.get(&path).header("authorization", &bearer(&writer)).send().await.expect(200);
    assert!(said(&pinhole(&app, &["key", "list"])).contains("retired 20"));
}

#[tokio::test]
async fn link_keys_are_rotated_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let key = |kid: &str, byte: u8| format!("{kid}:{}", URL_SAFE_NO_PAD.encode([byte; 32]));
    std::fs::write(&file, format!("# the newest first\n{}\n", key("one", 1))).unwrap();
    let env = [("PINHOLE_LINKS__KEYS_FILE", file.to_str().unwrap()), ("PINHOLE_LINKS__KEYS", "")];
    let app = TestApp::start_with(&env);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let old = app.link("alice", &image, "w=32").await;
    assert!(old.contains("kid=one"), "{old}");

    let signed_by = async |kid: &str| {
        let began = std::time::Instant::now();
        loop {
            let link = app.link("alice", &image, "w=32").await;
            if link.contains(&format!("kid={kid}&")) {
                return link;
            }
            assert!(began.elapsed() < PATIENCE, "{kid} never signs");
        }
    };
    // Nonsense changes nothing, and is asked about at once.
    std::fs::write(&file, "nonsense").unwrap();
    app.signal("HUP");
    std::fs::write(&file, format!("{}\n{}\n", key("two", 2), key("one", 1))).unwrap();
    app.signal("HUP");
    let new = signed_by("two").await;
    app.get(&new).send().await.expect(200);
    app.get(&old).send().await.expect(200);
    // Without a signal, too; and a key that is gone verifies nothing.
    std::fs::write(&file, key("two", 2)).unwrap();
    until("the old key verifies no more", async || app.get(&old).send().await.status == 403).await;
    app.get(&new).send().await.expect(200);
}

/// The program alone, on nothing.
fn alone(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_pinhole")).env_clear().current_dir(&folder).args(args).output().unwrap()
}

/// A command and all below it, each with its whole name.
fn walk(command: &clap::Command, name: &str, look: &mut impl FnMut(&str, &clap::Command)) {
    look(name, command);
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        walk(below, &format!("{name} {}", below.get_name()), look);
    }
}

#[test]
fn every_command_says_what_it_does_and_shows_how() {
    let mut command = Cli::command();
    command.build();
    let mut seen = 0;
    walk(&command, "pinhole", &mut |name, command| {
        seen += 1;
        let about = command.get_about().unwrap_or_else(|| panic!("{name} says nothing")).to_string();
        let first = about.chars().next().unwrap();
        assert!(first.is_uppercase() && !about.contains('\n') && about.len() < 120, "{name}: {about:?}");
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("\nExample"), "{name} --help shows no example:\n{help}");
        let shown = help.lines().filter(|line| line.trim_start().starts_with("pinhole "));
        assert!(
            shown.clone().any(|line| format!("{} ", line.trim()).contains(&format!("{name} "))),
            "{name}:\n{help}"
        );
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name}: {} is not explained", argument.get_id());
        }
    });
    assert!(seen > 20, "{seen}");
    command.debug_assert();
}

#[test]
fn what_makes_no_sense_is_answered_with_what_would() {
    let nothing = alone(&[]);
    refused(&nothing, 2, "Usage: pinhole");
    refused(&nothing, 2, "Examples:");
    refused(&alone(&["serv"]), 2, "'serve'");
    refused(&alone(&["serve", "--confg", "x"]), 2, "'--config'");
    refused(&alone(&["serve", "--json"]), 2, "--check");
    refused(&alone(&["sign"]), 2, "<PATH>");
    refused(&alone(&["migrate"]), 2, "database.url");
    refused(&alone(&["serve", "--config", "nothing.toml"]), 2, "nothing.toml");
    assert!(said(&alone(&["--version"])).starts_with("pinhole "));
    assert!(said(&alone(&["help", "key", "add"])).contains("pinhole key add"));
    assert!(said(&alone(&["token", "--help"])).contains("--ttl"));
}

#[track_caller]
fn as_json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"))
}

/// The members of an object, in alphabetical order.
fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn programs_read_what_is_printed() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let added = as_json(&pinhole(&app, &["key", "add", "app", "--scopes", "sign,read", "--json"]));
    assert_eq!(members(&added), ["created_at", "id", "key", "name", "retired_at", "scopes"]);
    assert_eq!(
        (&added["name"], &added["scopes"], &added["retired_at"]),
        (&json!("app"), &json!(["read", "sign"]), &Value::Null)
    );
    let bearer = format!("Bearer {}", added["key"].as_str().unwrap());
    app.get("/v1/profiles/alice").header("authorization", &bearer).send().await.expect(200);
    let id = added["id"].as_str().unwrap();
    said(&pinhole(&app, &["key", "retire", id]));
    let listed = as_json(&pinhole(&app, &["key", "list", "--json"]));
    let [key] = &listed["keys"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(members(key), ["created_at", "id", "name", "retired_at", "scopes"]);
    assert!(key["id"] == id && key["retired_at"].as_str().unwrap().ends_with('Z'), "{listed}");

    let link = app.link("alice", &image, "width=32").await;
    let good = as_json(&pinhole(&app, &["verify", &link, "--json"]));
    assert_eq!(members(&good), ["epoch", "expires_at", "good", "image_id", "kid", "left_secs", "options"]);
    assert_eq!(
        (&good["good"], &good["image_id"], &good["options"], &good["epoch"]),
        (&json!(true), &json!(image), &json!("width=32"), &json!(1))
    );
    assert!(good["left_secs"].as_u64().unwrap() > 0, "{good}");
    for (broken, reason) in [
        (link.replace("width=32", "width=64"), "bad_signature"),
        (link.replace("kid=", "kid=other"), "unknown_key"),
        (format!("{link}&x=1"), "malformed"),
        (link.split('?').next().unwrap().to_owned(), "malformed"),
        (expired(&app, &image), "expired"),
    ] {
        let output = pinhole(&app, &["verify", &broken, "--json"]);
        refused(&output, 1, "pinhole: ");
        let bad = as_json(&output);
        assert_eq!((&bad["good"], &bad["reason"]), (&json!(false), &json!(reason)), "{broken}");
        assert_eq!(members(&bad), ["detail", "good", "reason"]);
    }
    let waiting = as_json(&pinhole(&app, &["purges", "list", "--json"]));
    assert_eq!(members(&waiting), ["dead", "edges", "is_cut", "pending"]);
}

/// A link that was good.
fn expired(app: &TestApp, image: &str) -> String {
    let key = app.secret("link_key");
    let (kid, secret) = key.split_once(':').unwrap();
    let claim = format!("/i/{image}/width=32?exp=1000000000&kid={kid}&ep=1");
    let sig = hmac_sha256(&URL_SAFE_NO_PAD.decode(secret).unwrap(), &claim);
    format!("{claim}&sig={sig}")
}

#[test]
fn programs_read_what_a_start_would_find() {
    let (data, bucket) = (tempfile::tempdir().unwrap(), Bucket::of_dev());
    let check = |env: &[(&str, &str)], args: &[&str]| {
        serve_command(data.path(), &bucket).envs(env.iter().copied()).args(args).output().unwrap()
    };
    let output = check(&[], &["--check", "--json"]);
    assert!(output.status.success());
    let found = as_json(&output);
    assert_eq!((members(&found), &found["failed"]), (vec!["failed", "findings"], &json!(0)));
    let outcome = |found: &Value, check: &str| {
        let findings = found["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == check)
            .map(|finding| finding["outcome"].clone())
            .next_back()
    };
    assert_eq!(outcome(&found, "bucket"), Some(json!("pass")));
    assert_eq!(outcome(&found, "edge"), Some(json!("note")));
    assert_eq!(members(&found["findings"][0]), ["check", "detail", "outcome"]);

    let wrong = check(&[("PINHOLE_BUCKET__SECRET_ACCESS_KEY", "wrong")], &["--check", "--json"]);
    refused(&wrong, 1, "mend what the findings that fail say");
    let found = as_json(&wrong);
    assert_eq!((&found["failed"], outcome(&found, "bucket")), (&json!(1), Some(json!("fail"))));

    let settings = data.path().join("pinhole.toml");
    let migrate = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        command.env_clear().args(["migrate", "--json", "--config"]).arg(&settings).output().unwrap()
    };
    let first = as_json(&migrate());
    assert!(first["database"].as_str().unwrap().contains("pinhole.db"), "{first}");
    assert!(first["applied"].as_array().unwrap().len() > 3, "{first}");
    assert_eq!(as_json(&migrate())["applied"], json!([]));

    // Colours are for eyes.
    for (env, is_coloured) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")][..], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")][..], false),
    ] {
        let report = String::from_utf8(check(env, &["--check"]).stdout).unwrap();
        assert_eq!(report.contains("\u{1b}["), is_coloured, "{env:?}: {report:?}");
        let json = String::from_utf8(check(env, &["--check", "--json"]).stdout).unwrap();
        assert!(!json.contains('\u{1b}'), "{json:?}");
    }
}
