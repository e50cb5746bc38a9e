//! Who asks the control API too often is told to wait, and nobody else is.

use crate::support::{Reply, SERVICE_KEY, TestApp, TestRequest, jpeg};

const LIMIT: (&str, &str) = ("PINHOLE_RATE__REQUESTS_PER_MINUTE", "3");

async fn too_many(request: TestRequest<'_>) -> Reply {
    let reply = request.send().await.expect_problem(429, "too_many_requests");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=21).contains(&wait), "a third of a minute at most: {wait}");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply
}

#[tokio::test]
async fn a_user_in_haste_waits_and_nobody_else() {
    let app = TestApp::start_with(&[LIMIT]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for _ in 0..2 {
        app.get("/v1/images").user("alice").await.send().await.expect(200);
    }
    too_many(app.get("/v1/images").user("alice").await).await;
    // However she asks, and though it might be done once.
    too_many(app.post("/v1/links").user("alice").await.header("idempotency-key", "k")).await;
    let acting = app.get("/v1/images").service().header("on-behalf-of", "alice");
    too_many(acting).await;

    // Her pictures are shown as ever; others and the service ask as they like.
    for _ in 0..5 {
        app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(200);
        app.get(&format!("/v1/images/{image}")).service().send().await.expect(200);
    }
    app.get("/v1/images").user("bob").await.send().await.expect(200);
    app.get("/openapi.json").send().await.expect(200);
}

#[tokio::test]
async fn who_shows_nothing_good_is_counted_by_his_address() {
    let app = TestApp::start_with(&[LIMIT, ("PINHOLE_SERVER__CLIENT_ADDRESS_HEADER", "x-real-ip")]);
    let guess = |address, key: &str| {
        let request = app.get("/v1/images").header("x-real-ip", address);
        request.header("authorization", &format!("Bearer {key}"))
    };
    for key in ["guess-1", "guess-2", "guess-3"] {
        guess("192.0.2.1", key).send().await.expect_problem(401, "unauthenticated");
    }
    too_many(guess("192.0.2.1", "guess-4")).await;
    guess("192.0.2.2", "guess-4").send().await.expect_problem(401, "unauthenticated");
    // A good one is who it is, wherever it comes from.
    guess("192.0.2.1", SERVICE_KEY).header("on-behalf-of", "carol").send().await.expect(200);
}

#[tokio::test]
async fn nobody_is_counted_unless_the_settings_say_so() {
    let app = TestApp::start();
    for _ in 0..100 {
        app.get("/v1/images").user("alice").await.send().await.expect(200);
    }
}
