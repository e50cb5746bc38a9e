//! The control API: errors that name what is wrong, posts, profiles, following, links, lists, sessions.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{NEVER_THERE, Reply, TestApp, hmac_sha256, jpeg, now_secs};

async fn call(app: &TestApp, user: &str, method: &str, path: &str, body: &Value) -> Reply {
    app.request(method, path).user(user).await.json(body).send().await
}

/// Gets JSON as a user, or as nobody.
async fn read(app: &TestApp, user: Option<&str>, path: &str) -> Value {
    let request = app.get(path);
    let request = match user {
        Some(user) => request.user(user).await,
        None => request,
    };
    request.send().await.expect(200).json()
}

#[track_caller]
fn detail(problem: &Reply) -> String {
    problem.json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let app = TestApp::dev();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for (method, path, user, status, code) in [
        ("GET", "/v1", None, 404, "not_found"),
        ("GET", "/nope", None, 404, "not_found"),
        ("GET", "/v1/images", None, 401, "unauthenticated"),
        ("POST", "/v1/images", None, 401, "unauthenticated"),
        ("POST", "/v1/links", None, 401, "unauthenticated"),
        ("POST", "/v1/posts", None, 401, "unauthenticated"),
        ("GET", "/v1/profile", None, 401, "unauthenticated"),
        ("PUT", "/v1/following/bob", None, 401, "unauthenticated"),
        ("DELETE", "/v1/images/x", None, 401, "unauthenticated"),
        ("DELETE", "/v1/images/x", Some("alice"), 404, "not_found"),
        ("GET", "/v1/posts/x", Some("alice"), 404, "not_found"),
        ("GET", "/v1/profiles/nobody-yet", None, 404, "not_found"),
        ("PUT", "/v1/images/IMAGE/hold", None, 401, "unauthenticated"),
        ("PUT", "/v1/images/IMAGE/hold", Some("alice"), 403, "service_only"),
        ("DELETE", "/v1/images/IMAGE/hold", Some("alice"), 403, "service_only"),
        ("GET", "/v1/posts", None, 400, "invalid_field"),
        ("GET", "/v1/images?limit=0", Some("alice"), 400, "invalid_field"),
        ("GET", "/v1/profiles/a%20b", None, 400, "invalid_field"),
        ("POST", "/v1/images", Some("alice"), 415, "unsupported_type"),
        ("DELETE", "/v1/links", Some("alice"), 405, "method_not_allowed"),
        ("PATCH", "/v1/images/IMAGE", None, 405, "method_not_allowed"),
        ("POST", "/", None, 405, "method_not_allowed"),
    ] {
        let request = app.request(method, &path.replace("IMAGE", &image));
        let request = if let Some(user) = user { request.user(user).await } else { request };
        let reply = request.send().await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let reply = reply.expect_problem(status, code);
        let problem = reply.json();
        assert!(!problem["title"].as_str().unwrap().is_empty() && !detail(&reply).is_empty());
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        assert_eq!(reply.headers.contains_key("allow"), status == 405);
        let size = reply.body.len().to_string();
        assert_eq!(reply.header("content-length"), size);
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_json_is_named() {
    let app = TestApp::dev();
    let post = app.create_post("alice", "private", &[]).await;
    let post = format!("/v1/posts/{post}");
    for (method, path, body, named) in [
        ("POST", "/v1/posts", r#"{"visibility":"public","state":"ready"}"#, "`state`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","author":"bob"}"#, "`author`"),
        ("POST", "/v1/posts", r#"{"text":"x"}"#, "`visibility`"),
        ("POST", "/v1/posts", r#"{"visibility":"secret"}"#, "`visibility`"),
        ("POST", "/v1/posts", r#"{"visibility":1}"#, "`visibility`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","text":5}"#, "`text`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","text":null}"#, "`text`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","images":"x"}"#, "`images`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","images":["x"]}"#, "`images[0]`"),
        ("POST", "/v1/posts", r#"{"visibility":"public","visibility":"private"}"#, "`visibility`"),
        ("PATCH", &post, r#"{"text":[]}"#, "`text`"),
        ("PATCH", &post, r#"{"visibility":"PUBLIC"}"#, "`visibility`"),
        ("PATCH", &post, r#"{"created_at":"2020-01-01T00:00:00Z"}"#, "`created_at`"),
        ("PUT", "/v1/profile", r#"{"user":"bob"}"#, "`user`"),
        ("PUT", "/v1/profile", r#"{"display_name":{}}"#, "`display_name`"),
        ("PUT", "/v1/profile", r#"{"avatar_image_id":"x"}"#, "`avatar_image_id`"),
        ("POST", "/v1/links", r"{}", "`images`"),
        ("POST", "/v1/links", r#"{"images":[{"id":"x"}]}"#, "`options`"),
        ("POST", "/v1/links", r#"{"images":[{"id":5,"options":"w=1"}]}"#, "`images[0].id`"),
        ("POST", "/v1/links", r#"{"images":[],"owner":"x"}"#, "`owner`"),
        ("POST", "/v1/links", r#"{"images":[],"expires_in":-1}"#, "`expires_in`"),
        ("POST", "/v1/links", r#"{"images":[],"expires_in":1.5}"#, "`expires_in`"),
        ("POST", "/v1/links", r#"{"images":[],"expires_in":"60"}"#, "`expires_in`"),
        ("POST", "/v1/links", r#"{"images":[],"widths":[1,4294967296]}"#, "`widths[1]`"),
        ("POST", "/v1/links", r#"{"images":[],"widths":[-1]}"#, "`widths[0]`"),
        ("POST", "/dev/session", r#"{"user":"mallory"}"#, "`user`"),
    ] {
        let request =
            app.request(method, path).user("alice").await.header("content-type", "application/json");
        let reply = request.body(body).send().await;
        assert_eq!(reply.status, 400, "{method} {path} {body}: {}", reply.text());
        let reply = reply.expect_problem(400, "invalid_field");
        assert!(detail(&reply).contains(named), "{body}: {}", detail(&reply));
    }
    assert_eq!(read(&app, Some("alice"), "/v1/posts").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let app = TestApp::start();
    let deep = "[".repeat(100_000);
    for path in ["/v1/posts", "/v1/links"] {
        for body in [
            "",
            "{",
            "nonsense",
            r#"{"visibility":}"#,
            r#"{"visibility":"public"} x"#,
            r#"{"visibility":"public"}{}"#,
            "{'visibility':'public'}",
            "null",
            "5",
            "[]",
            r#"["text","public",[]]"#,
            r#" [[{"id":"x","options":"w=1"}],60,[]]"#,
            &deep,
        ] {
            let request = app.post(path).user("alice").await.header("content-type", "application/json");
            let reply = request.body(body.to_owned()).send().await;
            let shown = &body[..body.len().min(60)];
            assert_eq!(reply.status, 400, "{path} {shown}: {}", reply.text());
            assert_eq!(reply.header("content-type"), "application/problem+json", "{shown}");
        }
        let request = app.post(path).user("alice").await.header("content-type", "application/json");
        let no_utf8 = request.body(&b"{\"visibility\":\"public\",\"text\":\"\xFF\"}"[..]).send().await;
        assert_eq!(no_utf8.status, 400);

        let request = app.post(path).user("alice").await.header("content-type", "application/json");
        let large = format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20));
        request.body(large).send().await.expect_problem(413, "too_large");

        for declared in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
            let request = app.post(path).user("alice").await.header("content-type", declared);
            request.body(r#"{"visibility":"public"}"#).send().await.expect_problem(415, "unsupported_type");
        }
    }
    assert_eq!(read(&app, Some("alice"), "/v1/posts").await["items"], json!([]));
    let request = app.post("/v1/posts").user("alice").await;
    let request = request.header("content-type", "Application/JSON; charset=utf-8");
    request.body(r#"{"visibility":"public"}"#).send().await.expect(201);
}

#[tokio::test]
async fn a_post_is_what_was_written() {
    let app = TestApp::start();
    let one = app.upload("alice", jpeg(8, 8, 1)).await;
    let two = app.upload("alice", jpeg(8, 8, 2)).await;
    let text = "Grüße 👋\n\"quoted\" <b>";
    let new = json!({"text": text, "visibility": "public", "images": [two, one]});
    let reply = call(&app, "alice", "POST", "/v1/posts", &new).await.expect(201);
    let post = reply.json();
    let id = post["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/v1/posts/{id}"));
    let url = |image: &str| format!("{}/i/{image}/original", app.url);
    let expected = json!({
        "id": id, "author": "alice", "text": text, "visibility": "public", "created_at": post["created_at"],
        "images": [{"id": two, "url": url(&two)}, {"id": one, "url": url(&one)}],
    });
    assert_eq!(post, expected);
    assert_eq!(read(&app, None, &format!("/v1/posts/{id}")).await, expected);
    app.get(post["images"][0]["url"].as_str().unwrap()).send().await.expect(200);

    let least = call(&app, "alice", "POST", "/v1/posts", &json!({"visibility": "private"})).await.expect(201);
    assert_eq!((&least.json()["text"], &least.json()["images"]), (&json!(""), &json!([])));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let app = TestApp::start();
    let one = app.upload("alice", jpeg(8, 8, 1)).await;
    let two = app.upload("alice", jpeg(8, 8, 2)).await;
    let id = app.create_post("alice", "followers", &[&one]).await;
    let path = format!("/v1/posts/{id}");
    let mut expected = read(&app, Some("alice"), &path).await;
    let entry = |image: &str| json!({"id": image, "url": format!("{}/i/{image}/original", app.url)});
    for (change, field, value) in [
        (json!({}), "text", json!("")),
        (json!({"text": "new"}), "text", json!("new")),
        (json!({"visibility": "public"}), "visibility", json!("public")),
        (json!({"images": [two, one]}), "images", json!([entry(&two), entry(&one)])),
        (json!({"images": [one, two]}), "images", json!([entry(&one), entry(&two)])),
        (json!({"images": [two]}), "images", json!([entry(&two)])),
        (json!({"images": []}), "images", json!([])),
    ] {
        let answer = call(&app, "alice", "PATCH", &path, &change).await.expect(200).json();
        expected[field] = value;
        assert_eq!(answer, expected, "{change}");
        assert_eq!(read(&app, Some("alice"), &path).await, expected, "{change}");
    }

    // All or nothing.
    let partly = json!({"text": "lost", "images": [one, NEVER_THERE]});
    let reply = call(&app, "alice", "PATCH", &path, &partly).await.expect_problem(422, "image_unknown");
    assert!(detail(&reply).contains("`images"), "{}", detail(&reply));
    assert_eq!(read(&app, Some("alice"), &path).await, expected);

    let gone = app.request("DELETE", &path).user("alice").await.send().await.expect(204);
    assert!(gone.body.is_empty());
    for method in ["GET", "DELETE"] {
        app.request(method, &path).user("alice").await.send().await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_post_has_bounds() {
    let app = TestApp::start();
    let mut images = Vec::new();
    for seed in 0..21 {
        images.push(app.upload("alice", jpeg(8, 8, seed)).await);
    }
    let post = async |text: &str, images: &[String]| {
        let new = json!({"text": text, "visibility": "private", "images": images});
        call(&app, "alice", "POST", "/v1/posts", &new).await
    };
    post(&"ü".repeat(10_000), &images[..20]).await.expect(201);
    let long = post(&"ü".repeat(10_001), &[]).await.expect_problem(400, "invalid_field");
    assert!(detail(&long).contains("`text`"));
    let many = post("", &images).await.expect_problem(400, "invalid_field");
    assert!(detail(&many).contains("`images`"));
    let twice = post("", &[images[0].clone(), images[0].clone()]).await.expect_problem(400, "invalid_field");
    assert!(detail(&twice).contains("`images`"));
}

#[tokio::test]
async fn a_list_of_posts_shows_what_the_asker_may_see() {
    let app = TestApp::start();
    app.set_follows("bob", "alice", true).await;
    let mut ids = Vec::new();
    for visibility in ["public", "followers", "private"] {
        ids.push(app.create_post("alice", visibility, &[]).await);
    }
    app.create_post("bob", "public", &[]).await;
    let [public, followers, private] = [ids[0].as_str(), &ids[1], &ids[2]];
    let path = "/v1/posts?author=alice";
    let listed = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|post| post["id"].as_str().unwrap().to_owned()).collect()
    };
    // Newest first.
    assert_eq!(listed(read(&app, None, path).await), [public]);
    assert_eq!(listed(read(&app, Some("carol"), path).await), [public]);
    assert_eq!(listed(read(&app, Some("bob"), path).await), [followers, public]);
    assert_eq!(listed(read(&app, Some("alice"), path).await), [private, followers, public]);
    assert_eq!(listed(read(&app, Some("alice"), "/v1/posts").await), [private, followers, public]);
    let service = app.get(path).service().send().await.expect(200).json();
    assert_eq!(listed(service), [private, followers, public]);
    let for_carol = app.get(path).service().header("on-behalf-of", "carol").send().await.expect(200).json();
    assert_eq!(listed(for_carol), [public]);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = TestApp::start();
    let mut images = Vec::new();
    let mut posts = Vec::new();
    for seed in 0..5 {
        images.insert(0, app.upload("alice", jpeg(8, 8, seed)).await);
        posts.insert(0, app.create_post("alice", "public", &[]).await);
    }
    app.upload("bob", jpeg(8, 8, 9)).await;
    for (path, expected) in [("/v1/images?", &images), ("/v1/posts?author=alice&", &posts)] {
        for (limit, pages) in [(1, 5), (2, 3), (4, 2), (5, 1), (200, 1)] {
            let mut seen = Vec::new();
            let mut cursor = String::new();
            for page in 1..=pages {
                let list = read(&app, Some("alice"), &format!("{path}limit={limit}{cursor}")).await;
                let items = list["items"].as_array().unwrap();
                seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
                assert_eq!(list["next_cursor"].is_null(), page == pages, "{path} {limit}: page {page}");
                cursor = format!("&cursor={}", list["next_cursor"].as_str().unwrap_or_default());
            }
            assert_eq!(&seen, expected, "{path} {limit}");
        }
        for (parameter, named) in [
            ("limit=0", "`limit`"),
            ("limit=201", "`limit`"),
            ("limit=-1", "`limit`"),
            ("limit=abc", "`limit`"),
            ("limit=", "`limit`"),
            ("limit=99999999999999999999", "`limit`"),
            ("limit=1&limit=2", "`limit`"),
            ("cursor=", "`cursor`"),
            ("cursor=x", "`cursor`"),
            ("cursor=%27%20OR%201", "`cursor`"),
            ("offset=1", "`offset`"),
        ] {
            let reply = app.get(&format!("{path}{parameter}")).user("alice").await.send().await;
            assert_eq!(reply.status, 400, "{path}{parameter}: {}", reply.text());
            assert_eq!(reply.header("content-type"), "application/problem+json");
            assert!(detail(&reply).contains(named), "{path}{parameter}: {}", detail(&reply));
        }
    }
    // What is deleted between two pages does not upset them.
    let first = read(&app, Some("alice"), "/v1/images?limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/v1/images/{cursor}");
    app.request("DELETE", &path).user("alice").await.send().await.expect(204);
    let rest = read(&app, Some("alice"), &format!("/v1/images?cursor={cursor}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
    assert_eq!(read(&app, Some("alice"), "/v1/images").await["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_profile_changes_field_by_field_and_all_or_nothing() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(8, 8, 1)).await;
    let bobs = app.upload("bob", jpeg(8, 8, 1)).await;
    let mine = async || read(&app, Some("alice"), "/v1/profile").await;
    let put = async |change: Value| call(&app, "alice", "PUT", "/v1/profile", &change).await;
    let mut expected = mine().await;
    assert_eq!((&expected["user"], &expected["avatar"]), (&json!("alice"), &json!(null)));

    let avatar = json!({"image_id": image, "url": format!("{}/i/{image}/original", app.url)});
    for (change, field, value) in [
        (json!({"display_name": "Älice"}), "display_name", json!("Älice")),
        (json!({"avatar_image_id": image}), "avatar", avatar),
        (json!({}), "user", json!("alice")),
        (json!({"display_name": "x".repeat(100)}), "display_name", json!("x".repeat(100))),
    ] {
        expected[field] = value;
        assert_eq!(put(change).await.expect(200).json(), expected);
        assert_eq!(mine().await, expected);
        assert_eq!(read(&app, None, "/v1/profiles/alice").await, expected);
    }
    app.get(expected["avatar"]["url"].as_str().unwrap()).send().await.expect(200);

    let long = put(json!({"display_name": "x".repeat(101), "avatar_image_id": null})).await;
    assert!(detail(&long.expect_problem(400, "invalid_field")).contains("`display_name`"));
    for other in [bobs.as_str(), NEVER_THERE] {
        let refused = put(json!({"display_name": "lost", "avatar_image_id": other})).await;
        assert!(detail(&refused.expect_problem(422, "image_unknown")).contains("`avatar_image_id`"));
    }
    assert_eq!(mine().await, expected);

    put(json!({"avatar_image_id": null})).await.expect(200);
    expected["avatar"] = json!(null);
    assert_eq!(mine().await, expected);
    app.get(&format!("/i/{image}/original")).send().await.expect_problem(404, "not_found");
    app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(200);
}

#[tokio::test]
async fn an_avatar_is_gone_with_its_image() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(8, 8, 1)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    call(&app, "alice", "PUT", "/v1/profile", &json!({"avatar_image_id": image})).await.expect(200);
    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    assert_eq!(read(&app, None, "/v1/profiles/alice").await["avatar"], json!(null));
    assert_eq!(read(&app, None, &format!("/v1/posts/{post}")).await["images"], json!([]));
}

#[tokio::test]
async fn following_is_idempotent() {
    let app = TestApp::start();
    let post = app.create_post("alice", "followers", &[]).await;
    let sees = async || app.get(&format!("/v1/posts/{post}")).user("bob").await.send().await.status == 200;
    let ask = async |user: &str, method: &str, path: &str| {
        app.request(method, path).user(user).await.send().await.expect(204)
    };
    for _ in 0..2 {
        for _ in 0..2 {
            ask("bob", "PUT", "/v1/following/alice").await;
            assert!(sees().await);
        }
        for _ in 0..2 {
            ask("bob", "DELETE", "/v1/following/alice").await;
            assert!(!sees().await);
        }
    }
    ask("bob", "PUT", "/v1/following/alice").await;
    for _ in 0..2 {
        ask("alice", "DELETE", "/v1/followers/bob").await;
        assert!(!sees().await);
    }
    // It goes one way alone, and names come as URLs spell them.
    ask("alice", "PUT", "/v1/following/bob").await;
    assert!(!sees().await);
    ask("bob", "PUT", "/v1/following/erin%40example.org").await;
    for (path, named) in [("/v1/following/bob", "`user`"), ("/v1/following/a%2Fb", "`user`")] {
        let refused = app.request("PUT", path).user("bob").await.send().await;
        assert!(detail(&refused.expect_problem(400, "invalid_field")).contains(named));
    }
}

#[tokio::test]
async fn where_the_app_says_who_follows_users_do_not() {
    let app = TestApp::start_with(&[("PINHOLE_FOLLOWS", "service")]);
    let follow = || app.request("PUT", "/v1/following/alice");
    follow().user("bob").await.send().await.expect_problem(403, "service_only");
    follow().service().send().await.expect_problem(400, "on_behalf_of_required");
    let post = app.create_post("alice", "followers", &[]).await;
    let see = async || app.get(&format!("/v1/posts/{post}")).user("bob").await.send().await;
    see().await.expect(404);
    follow().service().header("on-behalf-of", "bob").send().await.expect(204);
    see().await.expect(200);
    app.request("DELETE", "/v1/following/alice").user("bob").await.send().await.expect(204);
    see().await.expect(404);
}

#[tokio::test]
async fn links_come_in_canonical_form() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for (options, canonical) in [
        ("original", "original"),
        ("w=40", "width=40"),
        ("h=30,w=40", "width=40,height=30"),
        (
            "dpr=1.50,f=auto,q=50,fit=cover,h=30,w=40",
            "width=40,height=30,fit=cover,quality=50,format=auto,dpr=1.5",
        ),
        ("format=webp,quality=80", "quality=80,format=webp"),
        ("dpr=1,w=40", "width=40,dpr=1"),
    ] {
        let wanted = json!({"images": [{"id": image, "options": options}]});
        let answer = call(&app, "alice", "POST", "/v1/links", &wanted).await.expect(200).json();
        let link = &answer["links"][0];
        assert_eq!((&link["id"], &link["options"]), (&json!(image), &json!(canonical)));
        let url = link["url"].as_str().unwrap();
        let query = url.strip_prefix(&format!("{}/i/{image}/{canonical}?exp=", app.url)).unwrap();
        let exp: u64 = query.split_once('&').unwrap().0.parse().unwrap();
        let expires_at = link["expires_at"].as_str().unwrap();
        let format = &time::format_description::well_known::Rfc3339;
        let expires_at = time::OffsetDateTime::parse(expires_at, format).unwrap();
        assert_eq!(u64::try_from(expires_at.unix_timestamp()), Ok(exp));
        app.get(url).send().await.expect(200);
    }
}

#[tokio::test]
async fn links_live_as_long_as_asked_and_as_long_as_allowed() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let window = 15 * 60;
    let mint = async |caller: &str, expires_in: Value| {
        let request = app.post("/v1/links");
        let request = match caller {
            "service" => request.service(),
            "service for alice" => request.service().header("on-behalf-of", "alice"),
            user => request.user(user).await,
        };
        let images = json!([{"id": image, "options": "w=32"}]);
        let mut wanted = json!({"images": images});
        if !expires_in.is_null() {
            wanted["expires_in"] = expires_in;
        }
        request.json(&wanted).send().await
    };
    let (hour, week) = (3600_u64, 7 * 24 * 3600);
    for (caller, max) in [("alice", hour), ("service for alice", hour), ("service", week)] {
        for lifetime in [1, 60, hour, max] {
            let before = now_secs();
            let answer = mint(caller, json!(lifetime)).await.expect(200).json();
            let url = answer["links"][0]["url"].as_str().unwrap();
            let (_, rest) = url.split_once("exp=").unwrap();
            let exp: u64 = rest.split_once('&').unwrap().0.parse().unwrap();
            let bounds = before + lifetime..=now_secs() + lifetime + window;
            assert!(bounds.contains(&exp), "{caller}, {lifetime}: {exp} not in {bounds:?}");
        }
        for lifetime in [0, max + 1, u64::MAX] {
            let reply = mint(caller, json!(lifetime)).await;
            assert_eq!(reply.status, 400, "{caller}, {lifetime}: {}", reply.text());
            assert!(detail(&reply.expect_problem(400, "invalid_field")).contains("`expires_in`"));
        }
        mint(caller, json!(null)).await.expect(200);
    }
}

#[tokio::test]
async fn a_link_lives_as_long_as_was_asked_to_the_fraction_of_a_second() {
    let app = TestApp::start_with(&[("PINHOLE_LINKS__WINDOW_SECS", "1")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for _ in 0..5 {
        let asked_micros = pinhole::clock::now_micros();
        let wanted = json!({"images": [{"id": image, "options": "w=32"}], "expires_in": 2});
        let answer = call(&app, "alice", "POST", "/v1/links", &wanted).await.expect(200).json();
        let url = answer["links"][0]["url"].as_str().unwrap();
        let exp = url.split_once("exp=").unwrap().1.split_once('&').unwrap().0;
        assert!(pinhole::clock::after(0, exp.parse().unwrap()) >= asked_micros + 2_000_000, "{url}");
        tokio::time::sleep(std::time::Duration::from_millis(130)).await;
    }
}

#[tokio::test]
async fn one_call_mints_500_links_and_no_more() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let hidden = app.upload("bob", jpeg(64, 48, 1)).await;
    let mint = async |wanted: Value| call(&app, "alice", "POST", "/v1/links", &wanted).await;
    let entry = |width: usize| json!({"id": image, "options": format!("w={width}")});

    let wanted: Vec<Value> = (1..=500).map(entry).collect();
    let links = mint(json!({"images": wanted})).await.expect(200).json();
    let links = links["links"].as_array().unwrap();
    assert_eq!(links.len(), 500);
    for (link, width) in links.iter().zip(1..) {
        assert_eq!(link["options"], format!("width={width}"), "in the order asked for");
    }
    let wanted: Vec<Value> = (1..=501).map(entry).collect();
    let reply = mint(json!({"images": wanted})).await.expect_problem(400, "invalid_field");
    assert!(detail(&reply).contains("`images`") && detail(&reply).contains("500"), "{}", detail(&reply));

    // Widths count.
    let srcset = |images: usize, widths: usize| {
        let images: Vec<Value> = (0..images).map(|_| json!({"id": image, "options": "f=auto"})).collect();
        json!({"images": images, "widths": (1..=widths).collect::<Vec<_>>()})
    };
    let links = mint(srcset(5, 100)).await.expect(200).json();
    assert_eq!(links["links"].as_array().unwrap().len(), 500);
    assert_eq!(links["links"][101]["options"], "width=2,format=auto");
    mint(srcset(5, 101)).await.expect_problem(400, "invalid_field");
    assert_eq!(mint(json!({"images": []})).await.expect(200).json(), json!({"links": []}));

    // One bad wish does not spoil the others.
    let wanted = json!({"images": [
        {"id": image, "options": "w=32"},
        {"id": hidden, "options": "w=32"},
        {"id": NEVER_THERE, "options": "w=32"},
        {"id": "not an id ☃", "options": "w=32"},
        {"id": "x".repeat(5000), "options": "w=32"},
        {"id": image, "options": "w=0"},
        {"id": image, "options": "☃"},
        {"id": image, "options": ""},
        {"id": image, "options": "raw"},
        {"id": image, "options": "w=48"},
    ]});
    let answer = mint(wanted).await.expect(200).json();
    let errors: Vec<&str> = answer["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["error"].as_str().unwrap_or_else(|| link["options"].as_str().unwrap()))
        .collect();
    let (gone, bad) = ("not_found", "bad_options");
    assert_eq!(errors, ["width=32", gone, gone, gone, gone, bad, bad, bad, bad, "width=48"]);
    assert!(answer.to_string().len() < 5000, "does not repeat what it is sent");

    for (options, widths) in [("w=40", json!([0])), ("w=40", json!([8193])), ("original", json!([40]))] {
        let wanted = json!({"images": [{"id": image, "options": options}], "widths": widths});
        let answer = mint(wanted).await.expect(200).json();
        assert_eq!(answer["links"][0]["error"], "bad_options", "{options} {widths}");
    }
    for owner in ["alice", "bob"] {
        let hold = async |method| {
            let path = format!("/v1/images/{}/hold", if owner == "alice" { &image } else { &hidden });
            app.request(method, &path).service().send().await.expect(204)
        };
        hold("PUT").await;
        let expected = if owner == "alice" { "image_held" } else { "not_found" };
        let held = if owner == "alice" { &image } else { &hidden };
        let answer = mint(json!({"images": [{"id": held, "options": "w=32"}]})).await.expect(200).json();
        assert_eq!(answer["links"][0]["error"], expected, "{owner}'s");
    }
}

#[tokio::test]
async fn on_behalf_of_is_the_services_alone() {
    let app = TestApp::start();
    let alices = app.upload("alice", jpeg(8, 8, 1)).await;
    let path = format!("/v1/images/{alices}");
    app.get(&path).header("on-behalf-of", "alice").send().await.expect_problem(404, "not_found");
    let mallory = app.get(&path).user("carol").await.header("on-behalf-of", "alice");
    mallory.send().await.expect_problem(404, "not_found");
    let post = app.post("/v1/posts").user("carol").await.header("on-behalf-of", "alice");
    let post = post.json(&json!({"visibility": "public"})).send().await.expect(201).json();
    assert_eq!(post["author"], "carol");
    // An ill-formed one from a user is ignored like any other.
    app.get("/v1/profile").user("carol").await.header("on-behalf-of", "//").send().await.expect(200);

    // With it the service has that user's rights, and no more.
    app.get(&path).service().send().await.expect(200);
    app.get(&path).service().header("on-behalf-of", "alice").send().await.expect(200);
    app.get(&path).service().header("on-behalf-of", "bob").send().await.expect_problem(404, "not_found");
    let hold = app.request("PUT", &format!("{path}/hold")).service().header("on-behalf-of", "alice");
    hold.send().await.expect_problem(403, "service_only");
    for (method, path) in [("GET", "/v1/images"), ("POST", "/v1/posts"), ("GET", "/v1/profile")] {
        let reply = app.request(method, path).service().send().await;
        reply.expect_problem(400, "on_behalf_of_required");
    }
    let refused = app.get("/v1/profile").service().header("on-behalf-of", "a/b").send().await;
    assert!(detail(&refused.expect_problem(400, "invalid_field")).contains("`On-Behalf-Of`"));
}

/// A token signed with the key of the data folder.
fn token(app: &TestApp, header: &Value, claims: &Value) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let key = app.secret("jwt_secret");
    format!("{signed}.{}", hmac_sha256(key.as_bytes(), &signed))
}

#[tokio::test]
async fn a_user_is_there_with_his_first_good_token() {
    let app = TestApp::start();
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});
    let soon = now_secs() + 600;
    let ask = async |token: &str, path: &str| {
        app.get(path).header("authorization", &format!("Bearer {token}")).send().await
    };
    let good = token(&app, &hs256, &json!({"sub": "erin@example.org", "exp": soon}));
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
    for bad in [
        token(&app, &hs256, &json!({"sub": "erin@example.org", "exp": now_secs() - 1})),
        token(&app, &hs256, &json!({"sub": "erin@example.org"})),
        token(&app, &hs256, &json!({"sub": "erin@example.org", "exp": soon, "nbf": soon})),
        token(&app, &hs256, &json!({"exp": soon})),
        token(&app, &hs256, &json!({"sub": "", "exp": soon})),
        token(&app, &hs256, &json!({"sub": "a b", "exp": soon})),
        token(&app, &hs256, &json!({"sub": "x".repeat(65), "exp": soon})),
        token(&app, &json!({"alg": "none"}), &json!({"sub": "erin@example.org", "exp": soon})),
        token(&app, &json!({"alg": "HS512"}), &json!({"sub": "erin@example.org", "exp": soon})),
        format!("{unsigned}."),
        format!("{good}x"),
        unsigned,
    ] {
        ask(&bad, "/v1/profile").await.expect_problem(401, "unauthenticated");
    }
    app.get("/v1/profiles/erin@example.org").send().await.expect_problem(404, "not_found");
    assert_eq!(ask(&good, "/v1/profile").await.expect(200).json()["user"], "erin@example.org");
    // Times need not be whole.
    let in_parts = |exp: f64, nbf: f64| json!({"sub": "erin@example.org", "exp": exp, "nbf": nbf});
    let later = f64::from(u32::try_from(soon).unwrap());
    for (exp, nbf, status) in [
        (later + 0.25, later - 700.5, 200),
        (4e9, 0.5, 200),
        (later - 601.5, 0.5, 401),
        (later + 0.25, later + 0.125, 401),
    ] {
        let token = token(&app, &hs256, &in_parts(exp, nbf));
        assert_eq!(ask(&token, "/v1/profile").await.status, status, "{exp} {nbf}");
    }
    app.get("/v1/profiles/erin%40example.org").send().await.expect(200);
}

#[tokio::test]
async fn a_bad_bearer_is_refused_everywhere_and_a_bad_cookie_is_nobody_on_images() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "w=32").await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
    let paths = [
        ("GET", format!("/i/{image}/w=32")),
        ("GET", format!("/i/{image}/original")),
        ("HEAD", format!("/i/{image}/w=32")),
        ("GET", format!("/i/{hidden}/raw")),
        ("GET", link.clone()),
        ("GET", format!("/v1/images/{image}")),
        ("GET", format!("/v1/posts/{post}")),
        ("GET", "/v1/posts?author=alice".to_owned()),
        ("GET", "/v1/profiles/alice".to_owned()),
        ("GET", "/v1/profile".to_owned()),
        ("POST", "/v1/links".to_owned()),
        ("DELETE", format!("/v1/images/{image}")),
        ("PUT", format!("/v1/images/{image}/hold")),
    ];
    let good_cookie = format!("pinhole_session={}", app.token("alice").await);
    for (method, path) in &paths {
        for bad in ["Bearer a.b.c", "Bearer wrong-key", "Bearer ", "Basic YTpi", "Bearer", "x"] {
            let request = app.request(method, path).header("authorization", bad);
            assert_eq!(request.send().await.status, 401, "{method} {path}: {bad}");
        }
        // A good cookie does not heal it.
        let both = app.request(method, path).header("authorization", "Bearer a.b.c");
        assert_eq!(both.header("cookie", &good_cookie).send().await.status, 401, "{method} {path}");
    }
    for bad in ["pinhole_session=a.b.c", "pinhole_session=", "pinhole_session=dev-service-key"] {
        let ask = async |path: &str| app.get(path).header("cookie", bad).send().await;
        let shown = ask(&format!("/i/{image}/w=32")).await.expect(200);
        assert!(shown.header("cache-control").starts_with("public, "));
        ask(&link).await.expect(200);
        ask(&format!("/i/{hidden}/w=32")).await.expect_problem(404, "not_found");
        ask("/v1/profile").await.expect_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_session_cookie_acts_only_from_our_own_pages() {
    let app = TestApp::dev();
    let signed_in = app.post("/dev/session").json(&json!({"user": "alice"})).send().await.expect(200);
    assert_eq!(signed_in.json()["user"], "alice");
    let set_cookie = signed_in.header("set-cookie");
    let (cookie, attributes) = set_cookie.split_once("; ").unwrap();
    assert_eq!(cookie, format!("pinhole_session={}", signed_in.json()["token"].as_str().unwrap()));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(attributes.split("; ").any(|a| a == attribute), "{attribute}: {set_cookie}");
    }

    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let post = app.create_post("alice", "private", &[]).await;
    let cookies = format!("theme=dark; {cookie}; x=y");
    for path in ["/v1/images", "/v1/profile", &format!("/i/{image}/w=32"), &format!("/i/{image}/raw")] {
        // Reading is harmless whoever led here: the answer stays unread by other sites.
        let request = app.get(path).header("cookie", &cookies).header("sec-fetch-site", "cross-site");
        request.send().await.expect(200);
    }
    let unsafe_calls = [
        ("POST", "/v1/posts".to_owned(), 201, json!({"visibility": "private"})),
        ("PATCH", format!("/v1/posts/{post}"), 200, json!({"text": "new"})),
        ("PUT", "/v1/profile".to_owned(), 200, json!({"display_name": "Alice"})),
        ("PUT", "/v1/following/bob".to_owned(), 204, json!({})),
        ("POST", "/v1/links".to_owned(), 200, json!({"images": []})),
        ("POST", format!("/v1/images/{image}/revoke"), 204, json!({})),
        ("DELETE", format!("/v1/posts/{post}"), 204, json!({})),
        ("DELETE", format!("/v1/images/{image}"), 204, json!({})),
    ];
    for (method, path, _, body) in &unsafe_calls {
        for (name, value) in [
            ("x-nothing", "x"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("origin", &format!("{}.evil.example", app.url)),
            ("origin", &app.url.replace("http:", "https:")),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            let request = app.request(method, path).header("cookie", &cookies).header(name, value);
            let reply = request.json(body).send().await;
            assert_eq!(reply.status, 403, "{method} {path}, {name}: {value}: {}", reply.text());
            reply.expect_problem(403, "cross_site");
        }
    }
    let upload = app.post("/v1/images").header("cookie", &cookies).header("content-type", "image/jpeg");
    upload.body(jpeg(8, 8, 1)).send().await.expect_problem(403, "cross_site");
    let own_page = [("origin", app.url.as_str()), ("sec-fetch-site", "same-origin")];
    for ((method, path, status, body), (name, value)) in unsafe_calls.iter().zip(own_page.iter().cycle()) {
        let request = app.request(method, path).header("cookie", &cookies).header(name, value);
        request.json(body).send().await.expect(*status);
    }
}

#[tokio::test]
async fn only_loopback_hosts_are_answered_and_none_shapes_a_url() {
    let app = TestApp::dev();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let path = format!("/v1/images/{image}");
    for host in
        ["evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", "0.0.0.0", "localhost.evil.example"]
    {
        for path in ["/", &path, &format!("/i/{image}/w=32"), "/nope"] {
            let reply = app.get(path).header("host", host).send().await;
            assert!(reply.status.is_client_error(), "{host} {path}: {}", reply.status);
            assert!(!reply.text().contains(host));
        }
        let session = app.post("/dev/session").header("host", host).json(&json!({"user": "alice"}));
        let reply = session.send().await.expect_problem(421, "misdirected");
        assert_eq!(reply.header("set-cookie"), "");
    }
    let url = format!("{}/i/{image}/original", app.url);
    for (name, value) in [
        ("host", "localhost:1"),
        ("host", "LOCALHOST"),
        ("host", "[::1]:99"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-host", "evil.example"),
        ("x-host", "evil.example"),
    ] {
        let reply = app.get(&path).header(name, value).send().await.expect(200);
        assert_eq!(reply.json()["url"], url, "{name}: {value}");
        let wanted = json!({"images": [{"id": image, "options": "w=32"}]});
        let links = app.post("/v1/links").user("alice").await.header(name, value).json(&wanted);
        let links = links.send().await.expect(200).json();
        let link = links["links"][0]["url"].as_str().unwrap();
        assert!(link.starts_with(&format!("{}/i/{image}/", app.url)), "{name}: {value}: {link}");
        let new = json!({"visibility": "private", "images": [image]});
        let post = app.post("/v1/posts").user("alice").await.header(name, value).json(&new);
        let post = post.send().await.expect(201);
        assert!(post.header("location").starts_with("/v1/posts/"));
        assert_eq!(post.json()["images"][0]["url"], url, "{name}: {value}");
    }
}

/// All that a client can tell two answers apart by; a request's id is random.
fn all_but_the_date(reply: &Reply) -> (u16, http::HeaderMap, bytes::Bytes) {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    assert_eq!(headers.remove("x-request-id").unwrap().len(), 32);
    (reply.status.as_u16(), headers, reply.body.clone())
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_look_the_same() {
    let app = TestApp::start();
    let unattached = app.upload("alice", jpeg(64, 48, 1)).await;
    let followers = app.upload("alice", jpeg(64, 48, 2)).await;
    let followers_post = app.create_post("alice", "followers", &[&followers]).await;
    let private = app.upload("alice", jpeg(64, 48, 3)).await;
    let private_post = app.create_post("alice", "private", &[&private]).await;
    let held = app.upload("alice", jpeg(64, 48, 4)).await;
    app.create_post("alice", "public", &[&held]).await;
    app.request("PUT", &format!("/v1/images/{held}/hold")).service().send().await.expect(204);

    let images = [unattached, followers, private, held];
    let posts = [followers_post, private_post];
    let of_images = [
        ("GET", "/v1/images/ID"),
        ("HEAD", "/v1/images/ID"),
        ("DELETE", "/v1/images/ID"),
        ("POST", "/v1/images/ID/revoke"),
        ("PUT", "/v1/images/ID/hold"),
        ("GET", "/i/ID/original"),
        ("GET", "/i/ID/raw"),
        ("GET", "/i/ID/w=32"),
        ("GET", "/i/ID/w=32,f=auto"),
        ("HEAD", "/i/ID/w=32"),
        ("GET", "/i/ID/w=0"),
        ("GET", "/i/ID/w=32?exp=1"),
    ];
    let of_posts = [("GET", "/v1/posts/ID"), ("PATCH", "/v1/posts/ID"), ("DELETE", "/v1/posts/ID")];
    let calls = images.iter().flat_map(|id| of_images.map(|call| (id, call)));
    let calls: Vec<_> = calls.chain(posts.iter().flat_map(|id| of_posts.map(|call| (id, call)))).collect();
    for viewer in [None, Some("bob")] {
        for (id, (method, path)) in &calls {
            let ask = async |id: &str| {
                let request = app.request(method, &path.replace("ID", id));
                let request = match viewer {
                    Some(user) => request.user(user).await,
                    None => request,
                };
                let request = request.header("range", "bytes=0-1").header("if-none-match", "*");
                all_but_the_date(&request.json(&json!({})).send().await)
            };
            let (there, not_there) = (ask(id).await, ask(NEVER_THERE).await);
            assert!(there.0 >= 400, "{viewer:?} {method} {path}: {}", there.0);
            assert_eq!(there, not_there, "{viewer:?} {method} {path}");
            assert_eq!(
                there,
                ask("01890000-0000-7000-8000-00000000zzzz").await,
                "{viewer:?} {method} {path}"
            );
        }
    }
    for image in &images {
        let attach = async |id: &str| {
            let post = json!({"visibility": "public", "images": [id]});
            let post = call(&app, "bob", "POST", "/v1/posts", &post).await;
            let profile = call(&app, "bob", "PUT", "/v1/profile", &json!({"avatar_image_id": id})).await;
            let wanted = json!({"images": [{"id": id, "options": "w=32"}], "widths": [1, 2]});
            let links = call(&app, "bob", "POST", "/v1/links", &wanted).await.expect(200);
            (all_but_the_date(&post), all_but_the_date(&profile), links.text().replace(id, "ID"))
        };
        let (there, not_there) = (attach(image).await, attach(NEVER_THERE).await);
        assert_eq!((there.0.0, there.1.0), (422, 422));
        assert_eq!(there, not_there);
    }
    // Nor do the lists tell.
    let list = async |author: &str| {
        all_but_the_date(&app.get(&format!("/v1/posts?author={author}")).user("carol").await.send().await)
    };
    app.request("DELETE", &format!("/v1/images/{}", images[3])).service().send().await.expect(204);
    let hiding = {
        app.create_post("bob", "private", &[]).await;
        list("bob").await
    };
    assert_eq!(hiding, list("nobody-yet").await);
    let no_profile = app.get("/v1/profiles/nobody-yet").send().await;
    let no_image = app.get(&format!("/v1/images/{NEVER_THERE}")).send().await;
    assert_eq!(all_but_the_date(&no_profile), all_but_the_date(&no_image));
}
