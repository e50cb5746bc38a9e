//! A cache of somebody else's in front: whoever asks is answered as the origin would, and viewers share copies.

use serde_json::json;

use crate::{
    edge::{Edge, PURGE_TOKEN},
    support::{NEVER_THERE, PATIENCE, Reply, TestApp, hmac_sha256, jpeg, now_secs},
};

/// Whatever stands in front of a server.
fn all(app: &TestApp) -> [Edge; 2] {
    [Edge::varnish(app), Edge::worker(app)]
}

/// How many pictures the origin has given out.
async fn served(app: &TestApp) -> u64 {
    let metrics = app.get(&format!("{}/metrics", app.ops_url)).send().await.expect(200).text();
    let lines = metrics.lines().filter(|line| line.starts_with("pinhole_images_served_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Signs a link as the server does.
fn signed(app: &TestApp, path: &str, exp_secs: u64, epoch: u64) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let key = app.secret("link_key");
    let (kid, secret) = key.split_once(':').unwrap();
    let claim = format!("{path}?exp={exp_secs}&kid={kid}&ep={epoch}");
    let sig = hmac_sha256(&URL_SAFE_NO_PAD.decode(secret).unwrap(), &claim);
    format!("{claim}&sig={sig}")
}

/// An image on a post of alice's.
async fn posted(app: &TestApp, visibility: &str, seed: u8) -> (String, String) {
    let image = app.upload("alice", jpeg(200, 100, seed)).await;
    let post = app.create_post("alice", visibility, &[&image]).await;
    (image, post)
}

/// What must be the same, whoever answers. The words of a refusal may differ, its code may not.
fn told(reply: &Reply) -> (u16, String, String, Vec<u8>) {
    let kind = reply.header("content-type").to_owned();
    let body = match kind.as_str() {
        "application/problem+json" => reply.json()["code"].to_string().into_bytes(),
        _ => reply.body.to_vec(),
    };
    (reply.status.as_u16(), kind, reply.header("cache-control").to_owned(), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_answered_as_by_the_origin() {
    let app = TestApp::start();
    app.set_follows("bob", "alice", true).await;
    let tokens = [app.token("alice").await, app.token("bob").await, app.token("carol").await];
    let mut viewers: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("cookie", "theme=dark".to_owned())],
        vec![("cookie", "theme=dark; pinhole_session=nonsense".to_owned())],
        vec![("authorization", "Bearer nonsense".to_owned())],
        vec![("authorization", "Bearer dev-service-key".to_owned())],
    ];
    viewers.extend(tokens.iter().map(|token| vec![("authorization", format!("Bearer {token}"))]));
    viewers.extend(tokens.iter().map(|token| vec![("cookie", format!("pinhole_session={token}"))]));

    let mut paths = vec![format!("/i/{NEVER_THERE}/width=64")];
    for (n, visibility) in ["public", "followers", "private"].into_iter().enumerate() {
        let (image, _) = posted(&app, visibility, u8::try_from(n).unwrap()).await;
        let path = format!("/i/{image}/width=64");
        let link = app.link("alice", &image, "width=64").await;
        paths.push(link[app.url.len()..].to_owned());
        paths.push(signed(&app, &path, now_secs() - 1, 1));
        paths.push(signed(&app, &path, now_secs() + 900, 0));
        paths.push(format!("{path}?exp=1"));
        paths.push(path);
        paths.push(format!("/i/{image}/original"));
        paths.push(format!("/i/{image}/raw"));
        paths.push(format!("/i/{image}/width=0"));
    }
    for edge in all(&app) {
        // Whoever comes first fills what there is to fill; the second time there are copies.
        for _ in 0..2 {
            for (path, viewer) in
                paths.iter().flat_map(|path| viewers.iter().map(move |viewer| (path, viewer)))
            {
                let with = |request| {
                    viewer.iter().fold(request, |r: crate::support::TestRequest<'_>, (n, v)| r.header(n, v))
                };
                let at_origin = with(app.get(path)).send().await;
                let at_edge = with(edge.get(&app, path)).send().await;
                let context = format!("{} {path} {viewer:?}", edge.name);
                assert_eq!(told(&at_edge), told(&at_origin), "{context}");
                for name in
                    ["etag", "vary", "content-security-policy", "cross-origin-resource-policy", "set-cookie"]
                {
                    assert_eq!(at_edge.header(name), at_origin.header(name), "{name} {context}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_share_a_copy() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "followers", 1).await;
    let (public, _) = posted(&app, "public", 2).await;
    let link = app.link("alice", &image, "width=64").await;
    for edge in all(&app) {
        for path in [link.clone(), format!("/i/{public}/width=64")] {
            let before = served(&app).await;
            if edge.name == "Varnish" {
                // All at once: it lets one go and the others wait.
                let viewers =
                    (0..30).map(|n| edge.get(&app, &path).header("cookie", &format!("id={n}")).send());
                for reply in futures_util::future::join_all(viewers).await {
                    reply.expect(200);
                }
            }
            for n in 0..10 {
                let reply =
                    edge.get(&app, &path).header("cookie", &format!("id={n}")).send().await.expect(200);
                assert!(!reply.body.is_empty());
            }
            let fetches = served(&app).await - before;
            assert_eq!(fetches, 1, "{} {path}", edge.name);
        }
        // Who signs in is no viewer like others.
        let before = served(&app).await;
        for _ in 0..3 {
            edge.get(&app, &format!("/i/{public}/width=64")).user("bob").await.send().await.expect(200);
        }
        assert_eq!(served(&app).await - before, 3, "{}", edge.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_one_epoch_share_a_copy_where_the_edge_verifies() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "followers", 1).await;
    let path = format!("/i/{image}/width=64");
    let worker = Edge::worker(&app);
    let before = served(&app).await;
    for left in [100, 200, 300] {
        worker.get(&app, &signed(&app, &path, now_secs() + left, 1)).send().await.expect(200);
    }
    assert_eq!(served(&app).await - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_none_meets_no_copy() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "followers", 1).await;
    let path = format!("/i/{image}/width=64");
    let link = signed(&app, &path, now_secs() + 900, 1);
    let (claim, sig) = link.split_once("&sig=").unwrap();
    let query = &link[path.len() + 1..];
    let flipped = if sig.starts_with('A') { "B" } else { "A" };
    let (exp, rest) = query.split_once('&').unwrap();
    let none = [
        format!("{claim}&sig={flipped}{}", &sig[1..]),
        format!("{claim}&sig={}", &sig[..42]),
        format!("{claim}&sig="),
        claim.to_owned(),
        format!("{path}?"),
        format!("{path}?{rest}&{exp}"),
        format!("{link}&x=1"),
        format!("{path}?x=1&{query}"),
        format!("{link}&sig={sig}"),
        format!("{path}?{}", query.to_uppercase()),
        format!("{path}?{}", query.replace("exp=", "%65xp=")),
        format!("{path}?{}", query.replace('&', "%26")),
        format!("/i/{image}/width=65?{query}"),
        format!("/i/{image}/w=64?{query}"),
        format!("/i/{NEVER_THERE}/width=64?{query}"),
        link.replace("&ep=1&", "&ep=2&"),
        link.replace("&ep=1&", "&ep=01&"),
    ];
    for edge in all(&app) {
        edge.get(&app, &link).send().await.expect(200);
        for none in &none {
            edge.get(&app, none).send().await.expect_problem(403, "link_invalid");
        }
        // The epoch before this one was never shown, nor does a link open its path to others.
        edge.get(&app, &signed(&app, &path, now_secs() + 900, 0))
            .send()
            .await
            .expect_problem(404, "not_found");
        edge.get(&app, &path).send().await.expect_problem(404, "not_found");
        edge.get(&app, &link).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_not_shown_past_its_link() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "followers", 1).await;
    for edge in all(&app) {
        let exp = now_secs() + 3;
        let link = signed(&app, &format!("/i/{image}/width=64"), exp, 1);
        let first = edge.get(&app, &link).send().await;
        // A slow machine may be past it already.
        if now_secs() < exp {
            first.expect(200);
        }
        while now_secs() < exp {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        edge.get(&app, &link).send().await.expect_problem(403, "link_expired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_spelling_of_a_path_meets_a_copy_or_leaves_one() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "private", 1).await;
    let link = app.link("alice", &image, "width=64").await;
    let query = link.split_once('?').unwrap().1;
    let spellings = [
        format!("/i/{image}/width=64/x.css"),
        format!("/i/{image}/width=64/.css"),
        format!("/i/{image}/width=64;x.css"),
        format!("/i/{image}/width=64%2fx.css"),
        format!("/i/{image}/width=64%00.css"),
        format!("/i/{image}/width%3D64"),
        format!("/i/{image}%2fwidth=64"),
        format!("/i/{image}//width=64"),
        format!("//i/{image}/width=64"),
        format!("/i//{image}/width=64"),
        format!("/i/x/../{image}/width=64"),
        format!("/i/%2e%2e/i/{image}/width=64"),
        format!("/i/{image}/./width=64"),
        format!("/i/{}/width=64", image.to_uppercase()),
        format!("/I/{image}/width=64"),
        format!("/i/{image}/WIDTH=64"),
        format!("/i/{image}/width=64,"),
        format!("/i/{image}/width=64/"),
        format!("/i/{image}/width=64.css"),
    ];
    for edge in all(&app) {
        edge.get(&app, &link).send().await.expect(200);
        for spelling in &spellings {
            // Those who may see it ask first, so that there would be something to keep.
            edge.get(&app, spelling).user("alice").await.send().await;
            let anonymous = edge.get(&app, spelling).send().await;
            assert!(anonymous.status.is_client_error(), "{} {spelling}: {}", edge.name, anonymous.status);
            assert_eq!(anonymous.header("cache-control"), "no-store", "{} {spelling}", edge.name);
            let with_query = edge.get(&app, &format!("{spelling}?{query}")).send().await;
            // The Worker is never told how a path was spelled: dots are gone by then, there and at the origin.
            if edge.name == "Varnish" || !(spelling.contains("/.") || spelling.contains("%2e")) {
                assert!(
                    with_query.status.is_client_error(),
                    "{} {spelling}: {}",
                    edge.name,
                    with_query.status
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_takes_every_copy_of_an_image() {
    let app = TestApp::start();
    for edge in all(&app) {
        let (image, post) = posted(&app, "public", 1).await;
        let (other, _) = posted(&app, "public", 2).await;
        let mut paths: Vec<String> =
            [64, 128].iter().map(|width| format!("/i/{image}/width={width}")).collect();
        paths.push(format!("/i/{image}/original"));
        paths.push(format!("/i/{image}/width=32,format=auto"));
        paths.push(app.link("alice", &image, "width=64").await);
        paths.push(app.link("alice", &image, "width=128").await);
        for path in paths.iter().chain([&format!("/i/{other}/width=64")]) {
            edge.get(&app, path).send().await.expect(200);
        }
        app.patch_post("alice", &post, json!({"visibility": "private"})).await;
        // That is what a purge is for.
        edge.get(&app, &paths[0]).send().await.expect(200);
        edge.purge(&app, &image).await;
        for path in &paths {
            edge.get(&app, path).send().await.expect_problem(404, "not_found");
        }
        let before = served(&app).await;
        edge.get(&app, &format!("/i/{other}/width=64")).send().await.expect(200);
        assert_eq!(served(&app).await - before, 0, "another image's copy stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn varnish_is_purged_by_pinhole_alone() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "public", 1).await;
    let varnish = Edge::varnish(&app);
    varnish.get(&app, &format!("/i/{image}/width=64")).send().await.expect(200);
    let purge = || varnish.request(&app, "PURGE", "/").header("xkey-purge", &format!("img-{image}"));
    purge().send().await.expect(403);
    purge().header("authorization", "Bearer another").send().await.expect(403);
    let pathless =
        varnish.request(&app, "PURGE", "/").header("authorization", &format!("Bearer {PURGE_TOKEN}"));
    pathless.send().await.expect(400);
    let before = served(&app).await;
    varnish.get(&app, &format!("/i/{image}/width=64")).send().await.expect(200);
    assert_eq!(served(&app).await - before, 0, "it is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_and_ranges_are_answered_from_a_copy() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "public", 1).await;
    for edge in all(&app) {
        // Once by filling, once from the copy.
        for path in ["width=64", "width=128"].map(|options| format!("/i/{image}/{options}")) {
            for _ in 0..2 {
                let range = edge.get(&app, &path).header("range", "bytes=10-19").send().await.expect(206);
                let whole = app.get(&path).send().await.expect(200);
                assert_eq!(range.body, whole.body.slice(10..20), "{}", edge.name);
                assert_eq!(range.header("content-range"), format!("bytes 10-19/{}", whole.body.len()));
                let beyond = format!("bytes={}-", whole.body.len());
                edge.get(&app, &path).header("range", &beyond).send().await.expect(416);
                let same =
                    edge.get(&app, &path).header("if-none-match", whole.etag()).send().await.expect(304);
                assert_eq!((same.etag(), same.body.len()), (whole.etag(), 0), "{}", edge.name);
                let other =
                    edge.get(&app, &path).header("if-none-match", "\"other\"").send().await.expect(200);
                assert_eq!(other.body, whole.body, "{}", edge.name);
                let head = edge.request(&app, "HEAD", &path).send().await.expect(200);
                assert_eq!((head.etag(), head.body.len()), (whole.etag(), 0), "{}", edge.name);
                assert_eq!(head.header("content-type"), whole.header("content-type"), "{}", edge.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_of_accept_has_a_copy() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "public", 1).await;
    let path = format!("/i/{image}/width=64,format=auto");
    let patience = std::time::Instant::now();
    // AVIF is made behind a first answer in another format.
    while app.get(&path).header("accept", "image/avif").send().await.header("content-type") != "image/avif" {
        assert!(patience.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let file: serde_json::Value = serde_json::from_str(include_str!("../vectors/accepts.json")).unwrap();
    let accepts: Vec<&str> =
        file["vectors"].as_array().unwrap().iter().map(|vector| vector["accept"].as_str().unwrap()).collect();
    let mut expected = Vec::new();
    for accept in &accepts {
        expected.push(told(&app.get(&path).header("accept", accept).send().await));
    }
    for edge in all(&app) {
        let before = served(&app).await;
        for (accept, expected) in accepts.iter().zip(&expected) {
            let answer = edge.get(&app, &path).header("accept", accept).send().await;
            assert_eq!(&told(&answer), expected, "{} {accept}", edge.name);
            assert_eq!(answer.header("vary"), "Accept");
        }
        let lines = edge.get(&app, &path).header("accept", "image/png").header("accept", "image/webp");
        assert_eq!(lines.send().await.expect(200).header("content-type"), "image/webp", "{}", edge.name);
        assert_eq!(served(&app).await - before, 4, "{}: one copy for each class", edge.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_is_said_so_and_not_kept() {
    let app = TestApp::start();
    let (image, _) = posted(&app, "public", 1).await;
    let path = format!("/i/{image}/width=64");
    let varnish = Edge::varnish(&app);
    // Everything else than images goes through, uploads too.
    let upload = varnish.request(&app, "POST", "/v1/images").user("alice").await;
    let upload = upload.header("content-type", "image/jpeg").body(jpeg(40, 40, 9)).send().await;
    upload.expect(201);
    app.signal("STOP");
    app.signal("CONT");
    app.signal("KILL");
    let answer = varnish.get(&app, &path).patience(PATIENCE).send().await;
    answer.expect_problem(503, "unavailable");
}
