//! Signed links: none but the very one that was signed is ever honoured.
//!
//! Lines: the path, the expiry, the epoch, the time now, and then edits to the link, each of three bytes:
//! where (two) and what. Or, after a question mark, a query of one's own.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::{
    id::ImageId,
    link::{self, KeyRing, LinkError},
};

const KEYS: [&str; 3] = [
    "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",
    "k3:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM",
];
static RING: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::parse(KEYS[..2].iter().copied()).unwrap());
/// After the signing key was retired, and after it was followed by another.
static LATER: LazyLock<[KeyRing; 2]> =
    LazyLock::new(|| [[KEYS[1], KEYS[2]], [KEYS[2], KEYS[0]]].map(|keys| KeyRing::parse(keys).unwrap()));

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(5, |byte| *byte == b'\n');
    let mut text = || lines.next().and_then(|line| str::from_utf8(line).ok());
    let (Some(path), Some(exp), Some(epoch), Some(now)) = (text(), text(), text(), text()) else { return };
    let (Ok(exp), Ok(epoch), Ok(now)) = (exp.parse::<u64>(), epoch.parse::<i64>(), now.parse::<u64>()) else {
        return;
    };
    // A path ends where a query begins, and no epoch is negative.
    if path.contains('?') || epoch < 0 {
        return;
    }
    let edits = lines.next().unwrap_or_default();

    let signed = link::sign(&RING, path, exp, epoch);
    for ring in [&*RING, &LATER[1]] {
        match judge(ring, &signed, now) {
            Ok(link) => assert_eq!((link.epoch(), now + link.left_secs()), (epoch, exp)),
            Err(error) => assert_eq!((error, exp <= now), (LinkError::Expired, true), "{signed}"),
        }
    }
    assert_eq!(judge(&LATER[0], &signed, now).err(), Some(LinkError::UnknownKey));

    let other = match edits.strip_prefix(b"?") {
        Some(query) => [path.as_bytes(), b"?", query].concat(),
        None => edited(&signed, edits),
    };
    if let Ok(other) = str::from_utf8(&other)
        && other != signed
    {
        assert!(judge(&RING, other, 0).is_err(), "{other} passes for {signed}");
    }

    // Everybody who asks within a window gets the same, and nobody gets less than he asked for.
    let (image, window) = (ImageId::default(), exp % 100_000 + 1);
    let lifetime = exp % 1_000_000_000;
    let earliest = now.saturating_add(lifetime);
    let expires = link::windowed_exp(image, now, lifetime, window);
    assert!(expires >= earliest && expires - earliest < window);
    if let Some(later) = now.checked_add(expires - earliest).filter(|_| expires < u64::MAX) {
        assert_eq!(link::windowed_exp(image, later, lifetime, window), expires);
    }
});

fn judge(ring: &KeyRing, url: &str, now: u64) -> Result<link::Verified, LinkError> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    link::verify(ring, path, query, now)
}

fn edited(link: &str, edits: &[u8]) -> Vec<u8> {
    let mut link = link.as_bytes().to_vec();
    let (edits, rest) = edits.as_chunks::<3>();
    for [high, low, byte] in edits {
        // From the end, where the signature is.
        let at = link.len().checked_sub(1 + usize::from(u16::from_be_bytes([*high, *low])));
        if let Some(place) = at.and_then(|at| link.get_mut(at)) {
            *place = *byte;
        }
    }
    link.extend(rest);
    link
}
