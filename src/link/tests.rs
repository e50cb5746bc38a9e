//! The laws of links, and the vectors that clients in other languages are checked against.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const NOW: u64 = 1_800_000_000;

fn ring() -> KeyRing {
    let key = |n: u8| format!("k{n}:{}", URL_SAFE_NO_PAD.encode([n; 32]));
    KeyRing::parse([key(1).as_str(), key(2).as_str()]).unwrap()
}

/// Verifies a path with its query, as it would stand in a request.
fn judge(ring: &KeyRing, url: &str, now_secs: u64) -> Result<Verified, LinkError> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    verify(ring, path, query, now_secs)
}

fn image(random: u128) -> ImageId {
    ImageId::parse(&uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string()).unwrap()
}

#[test]
fn the_published_vectors_hold() {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/links.json")).unwrap();
    let newest = file["newest"].as_str().unwrap();
    let mut keys: Vec<(&String, &str)> = file["keys"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(kid, secret)| (kid, secret.as_str().unwrap()))
        .collect();
    keys.sort_by_key(|(kid, _)| *kid != newest);
    let keys: Vec<String> = keys.iter().map(|(kid, secret)| format!("{kid}:{secret}")).collect();
    let ring = KeyRing::parse(keys.iter().map(String::as_str)).unwrap();
    let now = file["now"].as_u64().unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 70);
    for vector in vectors {
        let (name, url) = (&vector["name"], vector["url"].as_str().unwrap());
        let judged = judge(&ring, url, now);
        match vector["result"].as_str().unwrap() {
            "valid" => {
                let verified = judged.unwrap();
                assert_eq!(verified.epoch(), vector["ep"].as_i64().unwrap(), "{name}");
                assert_eq!(verified.left_secs(), vector["exp"].as_u64().unwrap() - now, "{name}");
                if vector["kid"] == newest {
                    let path = vector["path"].as_str().unwrap();
                    let signed = sign(&ring, path, vector["exp"].as_u64().unwrap(), verified.epoch());
                    assert_eq!(signed, url, "{name}");
                }
            }
            "unsigned" => assert!(!url.contains('?'), "{name}: nothing is verified without a query"),
            "link_expired" => assert_eq!(judged.unwrap_err(), LinkError::Expired, "{name}"),
            "link_invalid" => assert_ne!(judged.unwrap_err(), LinkError::Expired, "{name}"),
            other => panic!("unknown result {other}"),
        }
    }
}

#[test]
fn keys_are_checked_when_they_are_read() {
    let secret = URL_SAFE_NO_PAD.encode([7; 32]);
    let parse = |keys: &[&str]| KeyRing::parse(keys.iter().copied()).err();
    assert_eq!(parse(&[]), Some(KeyRingError::Empty));
    assert_eq!(parse(&["nocolon"]), Some(KeyRingError::Form));
    assert_eq!(parse(&[&format!(":{secret}")]), Some(KeyRingError::Kid));
    assert_eq!(parse(&[&format!("a&b:{secret}")]), Some(KeyRingError::Kid));
    assert_eq!(parse(&["a:c2hvcnQ"]), Some(KeyRingError::Secret("a".to_owned())));
    let twice = format!("a:{secret}");
    assert_eq!(parse(&[&twice, &twice]), Some(KeyRingError::Twice("a".to_owned())));
    let shown = format!("{:?}", KeyRing::parse([twice.as_str()]).unwrap());
    assert!(!shown.contains(&secret), "{shown}");
}

#[test]
fn a_retired_key_verifies_until_it_is_taken_away() {
    let old_alone = KeyRing::parse([format!("k2:{}", URL_SAFE_NO_PAD.encode([2; 32])).as_str()]).unwrap();
    let signed_with_old = sign(&old_alone, "/i/x/original", NOW + 60, 1);
    assert!(judge(&ring(), &signed_with_old, NOW).is_ok());
    let new_alone = KeyRing::parse([format!("k1:{}", URL_SAFE_NO_PAD.encode([1; 32])).as_str()]).unwrap();
    assert_eq!(judge(&new_alone, &signed_with_old, NOW).unwrap_err(), LinkError::UnknownKey);
}

proptest! {
    #[test]
    fn what_is_signed_verifies_until_it_expires(
        path in "/i/[a-z0-9-]{1,36}/[a-z0-9=,.-]{1,60}",
        left in 1_u64..1_000_000,
        epoch in 0_i64..,
    ) {
        let url = sign(&ring(), &path, NOW + left, epoch);
        let verified = judge(&ring(), &url, NOW).unwrap();
        prop_assert_eq!((verified.epoch(), verified.left_secs()), (epoch, left));
        prop_assert_eq!(judge(&ring(), &url, NOW + left).unwrap_err(), LinkError::Expired);
    }

    #[test]
    fn what_is_left_ends_no_later_than_the_link(left in 1_u64..1_000_000, passed in 0_u64..1_100_000_000_000) {
        let url = sign(&ring(), "/i/x/original", NOW + left, 1);
        let verified = judge(&ring(), &url, NOW).unwrap();
        let (now, end) = (clock::after(0, NOW) + i64::try_from(passed).unwrap(), clock::after(0, NOW + left));
        match verified.left_secs_at(now) {
            Some(left) => prop_assert!(clock::after(now, left) <= end && clock::after(now, left + 1) > end),
            None => prop_assert!(now >= end),
        }
    }

    #[test]
    fn one_changed_byte_is_refused(
        left in 1_u64..1_000_000,
        epoch in 0_i64..1000,
        at in any::<prop::sample::Index>(),
        byte in 0x21_u8..0x7f,
    ) {
        let url = sign(&ring(), "/i/01890a5d-ac96-774b-bcce-b302099a8057/width=40", NOW + left, epoch);
        let mut changed = url.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(judge(&ring(), std::str::from_utf8(&changed).unwrap(), NOW).is_err());
    }

    #[test]
    fn no_query_makes_verifying_panic(query in "\\PC{0,120}") {
        prop_assert!(verify(&ring(), "/i/x/original", &query, NOW).is_err());
    }

    #[test]
    fn a_window_gives_at_least_the_lifetime_and_less_than_a_window_more(
        id in any::<u128>(), now in 0_u64..4_000_000_000, lifetime in 1_u64..700_000, window in 1_u64..90_000,
    ) {
        let exp = windowed_exp(image(id), now, lifetime, window);
        prop_assert!(exp >= now + lifetime && exp < now + lifetime + window);
    }

    #[test]
    fn everybody_in_a_window_gets_the_same_expiry(
        id in any::<u128>(), now in 0_u64..4_000_000_000, lifetime in 1_u64..700_000, window in 1_u64..90_000,
    ) {
        let exp = windowed_exp(image(id), now, lifetime, window);
        // Up to the moment at which the lifetime would not be kept any more, and from the next on another.
        let last = exp - lifetime;
        prop_assert_eq!(windowed_exp(image(id), last, lifetime, window), exp);
        prop_assert_eq!(windowed_exp(image(id), last + 1, lifetime, window), exp + window);
    }
}

#[test]
fn links_do_not_all_expire_in_one_second() {
    let exps: std::collections::HashSet<u64> =
        (0..1000).map(|_| windowed_exp(ImageId::new(), NOW, 900, 900)).collect();
    assert!(exps.len() > 400, "{} different expiries", exps.len());
}
