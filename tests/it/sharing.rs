//! What windows are worth to an edge: many viewers of the same private images, in simulation.

use std::collections::HashMap;

use pinhole::{id::ImageId, link::windowed_exp};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const VIEWERS: u64 = 1000;
const IMAGES: usize = 200;
const HOURS: u64 = 6;
/// Each viewer comes so often on average, and sees so many images each time.
const VISITS_EVERY_SECS: u64 = 30 * 60;
const SEEN_AT_ONCE: usize = 20;
/// The lifetime that the app asks for.
const LIFETIME_SECS: u64 = 15 * 60;

/// The share of requests that an edge answers by itself, which keeps a copy for `edge_ttl_secs` at most
/// and never longer than its link lives. `exp` says when a link expires that was asked for at a time.
fn hit_ratio(edge_ttl_secs: u64, exp: impl Fn(ImageId, u64) -> u64) -> f64 {
    let mut random = StdRng::seed_from_u64(1);
    let images: Vec<ImageId> = (0..IMAGES).map(|_| ImageId::new()).collect();
    let begin = 1_800_000_000;
    let mut visits: Vec<u64> = (0..VIEWERS * HOURS * 3600 / VISITS_EVERY_SECS)
        .map(|_| begin + random.random_range(0..HOURS * 3600))
        .collect();
    visits.sort_unstable();
    // What the edge has, by URL, and until when it is fresh.
    let mut fresh_until: HashMap<(ImageId, u64), u64> = HashMap::new();
    let (mut hits, mut requests) = (0_u32, 0_u32);
    for now in visits {
        for _ in 0..SEEN_AT_ONCE {
            // A few are seen far more often than the others.
            let rank: f64 = random.random::<f64>() * random.random::<f64>();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let image = images[(rank * IMAGES as f64) as usize % IMAGES];
            let exp = exp(image, now);
            let until = fresh_until.entry((image, exp)).or_insert(0);
            requests += 1;
            if *until > now {
                hits += 1;
            } else {
                *until = exp.min(now + edge_ttl_secs);
            }
        }
    }
    f64::from(hits) / f64::from(requests)
}

#[test]
fn viewers_share_what_an_edge_keeps() {
    let windowed = |window| move |image, now| windowed_exp(image, now, LIFETIME_SECS, window);
    let exact = |_, now| now + LIFETIME_SECS;
    // Those who come in the same second share a copy even so.
    let mut ratios = HashMap::new();
    for edge_ttl_secs in [60, 900] {
        let with_windows = hit_ratio(edge_ttl_secs, windowed(900));
        let without = hit_ratio(edge_ttl_secs, exact);
        println!("edge TTL {edge_ttl_secs} s: windows {with_windows:.3}, exact expiry {without:.3}");
        ratios.insert(edge_ttl_secs, (with_windows, without));
    }
    let (with_windows, without) = ratios[&900];
    assert!(with_windows > 0.95 && without < 0.2, "{ratios:?}");
    let (with_windows, without) = ratios[&60];
    assert!(with_windows > 0.6 && without < 0.2, "{ratios:?}");
}
