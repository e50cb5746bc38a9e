//! What edges are sent, as their makers document it.

use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::db::outbox::{Reason, State};

const NOW: i64 = 1_800_000_000_000_000;
const FIRST: &str = "01890000-0000-7000-8000-000000000001";
const SECOND: &str = "01890000-0000-7000-8000-000000000002";

fn purge(image: &str, epoch: i64) -> PurgeRow {
    PurgeRow {
        target: "any".to_owned(),
        image: ImageId::parse(image).unwrap(),
        epoch,
        reason: Reason::Revoked,
        state: State::First,
        due_micros: Some(NOW),
        attempts: 1,
        since_micros: NOW,
        last_error: None,
        created_micros: NOW,
    }
}

fn target(settings: &str) -> Target {
    let file = ::config::File::from_str(settings, ::config::FileFormat::Toml);
    let edge = ::config::Config::builder().add_source(file).build().unwrap();
    let edge = edge.try_deserialize::<crate::config::Config>().unwrap().edge;
    Target::all(&edge).remove(0)
}

fn sent(target: &Target, purges: &[PurgeRow]) -> Request<Bytes> {
    let keys =
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test");
    target.request(purges, NOW, Some(keys)).unwrap()
}

fn answer(status: u16, body: &str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn said(request: &Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap()
}

#[test]
fn each_server_of_ones_own_is_told_for_itself() {
    let settings = "[edge.targets.front]\nkind = \"nginx\"\nurls = \"http://10.0.0.1:81,http://10.0.0.2:81\"\ntoken = \"t\"";
    let file = ::config::File::from_str(settings, ::config::FileFormat::Toml);
    let edge = ::config::Config::builder().add_source(file).build().unwrap();
    let edge = edge.try_deserialize::<crate::config::Config>().unwrap().edge;
    let names: Vec<String> = Target::all(&edge).into_iter().map(|target| target.name).collect();
    assert_eq!(names, ["front@10.0.0.1:81", "front@10.0.0.2:81"]);
    assert_eq!(names, edge.names());
}

#[test]
fn nginx_is_told_a_path() {
    let target = target("[edge.targets.a]\nkind = \"nginx\"\nurls = \"http://10.0.0.1:81\"\ntoken = \"t\"");
    let request = sent(&target, &[purge(FIRST, 2)]);
    assert_eq!((request.method().as_str(), target.images_per_request()), ("PURGE", 1));
    assert_eq!(request.uri(), format!("http://10.0.0.1:81/i/{FIRST}").as_str());
    assert_eq!(request.headers()["authorization"], "Bearer t");
}

#[test]
fn varnish_is_told_a_key() {
    let target =
        target("[edge.targets.a]\nkind = \"varnish\"\nurls = \"http://varnish:6081\"\ntoken = \"t\"");
    let request = sent(&target, &[purge(FIRST, 2)]);
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("PURGE", "http://varnish:6081/")
    );
    assert_eq!(request.headers()["xkey-purge"], format!("img-{FIRST}"));
    assert_eq!(request.headers()["authorization"], "Bearer t");
}

#[test]
fn fastly_is_told_keys_and_purges_them_hard() {
    let target = target("[edge.targets.a]\nkind = \"fastly\"\nservice_id = \"S1\"\ntoken = \"t\"");
    let request = sent(&target, &[purge(SECOND, 2), purge(FIRST, 2), purge(FIRST, 3)]);
    assert_eq!((request.method(), target.images_per_request()), (&Method::POST, 256));
    assert_eq!(request.uri(), "https://api.fastly.com/service/S1/purge");
    assert_eq!(request.headers()["fastly-key"], "t");
    assert!(!request.headers().contains_key("fastly-soft-purge"));
    assert_eq!(said(&request), json!({"surrogate_keys": [format!("img-{FIRST}"), format!("img-{SECOND}")]}));
}

#[test]
fn cloudflare_is_told_tags_and_says_whether_it_worked() {
    let target = target("[edge.targets.a]\nkind = \"cloudflare\"\nzone_id = \"z1\"\ntoken = \"t\"");
    let request = sent(&target, &[purge(FIRST, 2), purge(SECOND, 2)]);
    assert_eq!((request.method(), target.images_per_request()), (&Method::POST, 100));
    assert_eq!(request.uri(), "https://api.cloudflare.com/client/v4/zones/z1/purge_cache");
    assert_eq!(request.headers()["authorization"], "Bearer t");
    assert_eq!(said(&request), json!({"tags": [format!("img-{FIRST}"), format!("img-{SECOND}")]}));
    assert_eq!(target.judge(&answer(200, r#"{"success": true, "result": {"id": "z1"}}"#)), Verdict::Done);
    for failed in [answer(200, r#"{"success": false, "errors": []}"#), answer(200, "<html>"), answer(429, "")]
    {
        assert!(matches!(target.judge(&failed), Verdict::Failed(..)), "{failed:?}");
    }
}

#[test]
fn cloudfront_is_told_paths_or_tags_in_a_signed_document() {
    let settings = "[edge.targets.a]\nkind = \"cloudfront\"\ndistribution_id = \"E1\"\n";
    let by_paths = target(settings);
    let request = sent(&by_paths, &[purge(FIRST, 2)]);
    assert_eq!((request.method(), by_paths.images_per_request()), (&Method::POST, 15));
    assert_eq!(request.uri(), "https://cloudfront.amazonaws.com/2020-05-31/distribution/E1/invalidation");
    let text = std::str::from_utf8(request.body()).unwrap().to_owned();
    let paths = format!("<Paths><Items><Path>/i/{FIRST}/*</Path></Items><Quantity>1</Quantity></Paths>");
    assert!(
        text.contains(&paths) && text.contains("http://cloudfront.amazonaws.com/doc/2020-05-31/"),
        "{text}"
    );
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20270115/us-east-1/cloudfront/aws4_request, ";
    assert!(authorization.starts_with(scope), "{authorization}");
    // The same again is the same request; the second round is another.
    assert_eq!(sent(&by_paths, &[purge(FIRST, 2)]).body(), request.body());
    let again = PurgeRow { state: State::Again, since_micros: NOW + 1, ..purge(FIRST, 2) };
    assert_ne!(sent(&by_paths, &[again]).body(), request.body());

    let by_tags = target(&format!("{settings}by = \"tags\"\n"));
    let request = sent(&by_tags, &[purge(FIRST, 2), purge(FIRST, 3)]);
    let text = std::str::from_utf8(request.body()).unwrap().to_owned();
    assert!(text.contains(&format!("<Path>#img-{FIRST}</Path></Items><Quantity>1</Quantity>")), "{text}");
}

/// The signature is checked as the specification's own library does it: over id, time and body.
#[test]
fn a_webhook_is_signed_as_its_specification_says() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let target = target(
        "[edge.targets.a]\nkind = \"webhook\"\nurl = \"https://a.example/b?c\"\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
    );
    let request = sent(&target, &[purge(FIRST, 2)]);
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(request.uri(), "https://a.example/b?c");
    assert_eq!(header("webhook-timestamp"), "1800000000");
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    let mac = mac
        .chain_update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")))
        .chain_update(request.body());
    assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    assert_eq!(said(&request)["data"]["image_id"], FIRST);
    assert_eq!(said(&request)["data"]["reason"], "revoked");
}

#[test]
fn who_wants_to_be_left_alone_says_so() {
    let target = target("[edge.targets.a]\nkind = \"varnish\"\nurls = \"http://varnish\"\ntoken = \"t\"");
    let busy =
        Response::builder().status(429).header("retry-after", "7").body(Bytes::from("slow\ndown")).unwrap();
    let said = "it answers with 429 Too Many Requests: slow down".to_owned();
    assert_eq!(target.judge(&busy), Verdict::Failed(said, Some(Duration::from_secs(7))));
}

proptest! {
    #[test]
    fn nothing_but_success_is_success(status in 100u16..600) {
        let target = target("[edge.targets.a]\nkind = \"nginx\"\nurls = \"http://a\"\ntoken = \"t\"");
        let done = target.judge(&answer(status, "")) == Verdict::Done;
        prop_assert_eq!(done, StatusCode::from_u16(status).unwrap().is_success());
    }
}
