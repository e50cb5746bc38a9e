//! What opens the bucket: the AWS SDK's own variables, profiles and temporary keys.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    serve::{expect_failure, grant, upload_straight_to_the_bucket},
    support::{Bucket, TestApp, jpeg, now_secs, serve_command},
};

/// Endpoint and keys of the file, unset, so that the AWS SDK's own count.
const UNSET: [(&str, &str); 3] = [
    ("PINHOLE_BUCKET__ENDPOINT", ""),
    ("PINHOLE_BUCKET__ACCESS_KEY_ID", ""),
    ("PINHOLE_BUCKET__SECRET_ACCESS_KEY", ""),
];

#[tokio::test]
async fn the_sdks_own_variables_and_profiles_open_the_bucket() {
    let bucket = Bucket::of_dev();
    let variables = [
        ("AWS_ENDPOINT_URL", bucket.endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", &bucket.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &bucket.secret_access_key),
        ("PINHOLE_BUCKET__REGION", ""),
    ];
    let env = [&UNSET[..], &variables].concat();
    let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &env);
    upload_straight_to_the_bucket(&app).await;

    let data = app.kill();
    let (config, keys) = (data.path().join("aws-config"), data.path().join("aws-keys"));
    let endpoint = &bucket.endpoint;
    std::fs::write(&config, format!("[profile photos]\nregion = us-east-1\nendpoint_url = {endpoint}\n"))
        .unwrap();
    let (id, secret) = (&bucket.access_key_id, &bucket.secret_access_key);
    let text = format!("[photos]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(&keys, text).unwrap();
    let profile = [
        ("AWS_PROFILE", "photos"),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap()),
        ("PINHOLE_BUCKET__REGION", ""),
    ];
    let env = [&UNSET[..], &profile].concat();
    let app = TestApp::serve_on(data, &bucket, &env);
    upload_straight_to_the_bucket(&app).await;

    // What is set explicitly wins.
    let wrong = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")];
    let app = TestApp::serve_on(app.kill(), &bucket, &wrong);
    app.upload("alice", jpeg(64, 48, 2)).await;
}

#[test]
fn no_keys_at_all_are_said_in_one_line() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let mut command = serve_command(data.path(), &bucket);
    let output = command.envs(UNSET[1..].iter().copied()).output();
    expect_failure(&output.unwrap(), 1, "no credentials for the bucket");
}

/// Answers as a container's host does, with keys that end then.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
fn container_host(bucket: &Bucket, ends: OffsetDateTime) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let keys = json!({
        "AccessKeyId": bucket.access_key_id,
        "SecretAccessKey": bucket.secret_access_key,
        "Token": "a-session-token",
        "Expiration": ends.format(&Rfc3339).unwrap(),
    })
    .to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(stream.try_clone().unwrap()).lines();
            assert!(head.map_while(Result::ok).any(|line| line.is_empty()), "a request");
            let length = keys.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all((head + &keys).as_bytes()).unwrap();
        }
    });
    url
}

#[tokio::test]
async fn no_grant_outlives_temporary_keys() {
    let granted_secs = 900;
    for (left_secs, lives_secs) in [(400, 400), (7200, granted_secs)] {
        let bucket = Bucket::of_dev();
        let ends = i64::try_from(now_secs() + left_secs).unwrap();
        let ends = OffsetDateTime::from_unix_timestamp(ends).unwrap();
        let host = container_host(&bucket, ends);
        let env = [&UNSET[1..], &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", host.as_str())]].concat();
        let before = now_secs();
        let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &env);
        app.upload("alice", jpeg(64, 48, 3)).await;
        for method in ["post", "put"] {
            let grant = grant(&app, method, &jpeg(64, 48, 4)).await;
            let until = OffsetDateTime::parse(grant["expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
            assert!(until <= ends, "{method}: {grant} outlives {ends}");
            let until = u64::try_from(until.unix_timestamp()).unwrap();
            assert!(until >= before + lives_secs - 1, "{method}: {grant} is shorter than it need be");
            let (token, limit) = if method == "post" {
                (grant["fields"]["x-amz-security-token"].clone(), None)
            } else {
                let url = grant["url"].as_str().unwrap();
                let said = |name: &str| Some(url.split_once(name)?.1.split('&').next()?.to_owned());
                (json!(said("X-Amz-Security-Token=")), said("X-Amz-Expires="))
            };
            assert_eq!(token, "a-session-token");
            let limit = limit.map_or(0, |secs| secs.parse::<u64>().unwrap());
            assert!(limit <= lives_secs, "the URL itself lives for {limit} s");
        }
    }
}
