//! The form with which a browser may send one object: a `SigV4` POST policy. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{clock, id::hex};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    /// Comes with temporary credentials.
    pub(super) session_token: Option<&'a str>,
    pub(super) region: &'a str,
}

/// What may be sent, and until when.
pub(super) struct Terms<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) content_type: &'a str,
    /// The object's exact length in bytes.
    pub(super) size: u64,
    pub(super) expires_in: Duration,
    pub(super) now_micros: i64,
}

/// The fields of the form, all of them and no others; `file` comes after them.
pub(super) fn fields(signer: &Signer<'_>, terms: &Terms<'_>) -> BTreeMap<&'static str, String> {
    let signed_at = clock::rfc3339(whole_secs(terms.now_micros));
    let expires_at = clock::rfc3339(whole_secs(clock::after(terms.now_micros, terms.expires_in.as_secs())));
    // ISO 8601's basic form, which S3 wants here, is the extended one without its separators.
    let date_time = signed_at.replace(['-', ':'], "");
    let date = &date_time[..date_time.len().min("20151229".len())];
    let credential = format!("{}/{date}/{}/s3/aws4_request", signer.access_key_id, signer.region);

    let mut fields = BTreeMap::from([
        // AWS knows the bucket from the URL, but Garage wants every condition met by a field.
        ("bucket", terms.bucket.to_owned()),
        ("key", terms.key.to_owned()),
        ("Content-Type", terms.content_type.to_owned()),
        ("x-amz-algorithm", ALGORITHM.to_owned()),
        ("x-amz-credential", credential),
        ("x-amz-date", date_time.clone()),
    ]);
    if let Some(token) = signer.session_token {
        fields.insert("x-amz-security-token", token.to_owned());
    }
    let exact = fields.iter().map(|(name, value)| json!({ *name: value }));
    let length = json!(["content-length-range", terms.size, terms.size]);
    let conditions: Vec<_> = exact.chain([length]).collect();
    let policy = STANDARD.encode(json!({ "expiration": expires_at, "conditions": conditions }).to_string());
    let signature = sign(&policy, signer.secret_access_key, date, signer.region);
    fields.insert("policy", policy);
    fields.insert("x-amz-signature", signature);
    fields
}

/// The signature, in hex, of a policy in base64.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>
fn sign(policy: &str, secret: &str, date: &str, region: &str) -> String {
    let seed = format!("AWS4{secret}").into_bytes();
    let steps = [date, region, "s3", "aws4_request", policy];
    hex(&steps.into_iter().fold(seed, |key, message| hmac(&key, message)))
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    // HMAC takes a key of any length (RFC 2104, section 2), so the fallback is never taken.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()).unwrap_or_default()
}

fn whole_secs(micros: i64) -> i64 {
    micros - micros.rem_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The policy of AWS's example, in the page's own base64, whose line ends are CRLF.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html>
    const EXAMPLE_POLICY: &str = concat!(
        "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgIC",
        "B7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNl",
        "ci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaX",
        "JlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2Fk",
        "Lmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LW",
        "Ftei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRp",
        "b24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgIC",
        "B7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3",
        "czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7In",
        "gtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9",
    );
    /// 29 December 2015, 00:00 UTC, and a bit.
    const NOW_MICROS: i64 = 1_451_347_200_999_999;

    const EXAMPLE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn example(session_token: Option<&str>) -> BTreeMap<&'static str, String> {
        let signer = Signer {
            access_key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_access_key: EXAMPLE_SECRET,
            session_token,
            region: "us-east-1",
        };
        let terms = Terms {
            bucket: "photos",
            key: "incoming/x",
            content_type: "image/png",
            size: 7,
            expires_in: Duration::from_mins(15),
            now_micros: NOW_MICROS,
        };
        fields(&signer, &terms)
    }

    fn policy(fields: &BTreeMap<&'static str, String>) -> Value {
        serde_json::from_slice(&STANDARD.decode(&fields["policy"]).unwrap()).unwrap()
    }

    #[test]
    fn signs_the_published_example() {
        assert_eq!(
            sign(EXAMPLE_POLICY, EXAMPLE_SECRET, "20151229", "us-east-1"),
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        );
    }

    #[test]
    fn pins_everything_that_the_form_says() {
        let fields = example(None);
        assert_eq!(
            policy(&fields),
            json!({
                "expiration": "2015-12-29T00:15:00Z",
                "conditions": [
                    { "Content-Type": "image/png" },
                    { "bucket": "photos" },
                    { "key": "incoming/x" },
                    { "x-amz-algorithm": "AWS4-HMAC-SHA256" },
                    { "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request" },
                    { "x-amz-date": "20151229T000000Z" },
                    ["content-length-range", 7, 7],
                ],
            })
        );
        let signed = sign(&fields["policy"], EXAMPLE_SECRET, "20151229", "us-east-1");
        assert_eq!(fields["x-amz-signature"], signed);
        let unconditional = ["policy", "x-amz-signature"];
        let names: Vec<_> = fields.keys().filter(|name| !unconditional.contains(name)).collect();
        assert_eq!(names.len() + 1, policy(&fields)["conditions"].as_array().unwrap().len());
    }

    #[test]
    fn temporary_credentials_bring_their_token() {
        let fields = example(Some("token"));
        assert_eq!(fields["x-amz-security-token"], "token");
        let conditions = policy(&fields)["conditions"].clone();
        let pinned = json!({ "x-amz-security-token": "token" });
        assert!(conditions.as_array().unwrap().contains(&pinned), "{conditions}");
    }
}
