//! What a hit consists of, piece by piece, and whole, in one process: `cargo bench`.
//!
//! The pieces say where the time of a hit goes; what a hit costs over a socket is `benches/load`'s to say.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot begin has nothing to tell")]

#[path = "pure/hit.rs"]
mod hit;

use std::{hint::black_box, sync::Arc};

use divan::Bencher;
use pinhole::{
    access::{self, Audience, Contents, Facts, Files, Published, State, Viewer},
    id::{BlobKey, ImageId, UserId},
    link::{self, KeyRing},
    render::{Accepts, Catalogue, Format, Masters, Rendition, Size},
};

/// A moment within the link's life, in seconds.
const NOW: u64 = 1_800_000_000;

fn main() {
    divan::main();
}

fn ring() -> KeyRing {
    KeyRing::parse(["k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]).unwrap()
}

#[divan::bench]
fn link_verify(bencher: Bencher<'_, '_>) {
    let (ring, path) = (ring(), format!("/i/{}/width=400,format=auto", ImageId::new()));
    let link = link::sign(&ring, &path, NOW + 600, 3);
    let (path, query) = link.split_once('?').unwrap();
    bencher.bench_local(|| link::verify(black_box(&ring), black_box(path), black_box(query), NOW).unwrap());
}

#[divan::bench]
fn link_sign(bencher: Bencher<'_, '_>) {
    let (ring, path) = (ring(), format!("/i/{}/width=400,format=auto", ImageId::new()));
    bencher.bench_local(|| link::sign(black_box(&ring), black_box(&path), NOW + 600, 3));
}

#[divan::bench(args = [Audience::Public, Audience::Followers])]
fn access_decide(bencher: Bencher<'_, '_>, audience: Audience) {
    let size = Size { width: 4000, height: 3000 };
    let (raw, format) = (Contents { bytes: 3_000_000, sha256: [7; 32] }, Format::Jpeg);
    let files = Files { raw, original: Some(raw), format, moves: false, size };
    let masters = Masters::plan(format, size, false, &[2048, 1024, 512]);
    let published = Published::new(BlobKey::random(), files, masters);
    let facts = Facts {
        image: ImageId::new(),
        owner: UserId::parse("alice").unwrap(),
        state: State::Ready,
        epoch: 3,
        held: false,
        owner_erased: false,
        audience,
        deadline_micros: None,
        published: Arc::new(published),
    };
    let bob = UserId::parse("bob").unwrap();
    let viewer = || Viewer::User { id: &bob, follows_owner: true };
    bencher.bench_local(|| access::decide(black_box(&facts), black_box(viewer()), 0).unwrap());
}

#[divan::bench(args = ["original", "width=400", "w=400,h=300,fit=cover,g=0.5x0.25,q=80,f=auto,dpr=2"])]
fn options_parse(text: &str) -> Rendition {
    Rendition::parse(black_box(text), &Catalogue::default()).unwrap()
}

#[divan::bench]
fn options_plan(bencher: Bencher<'_, '_>) {
    let parsed = Rendition::parse("w=400,h=300,fit=cover,f=auto", &Catalogue::default()).unwrap();
    let Rendition::Variant(options) = parsed else { return };
    let accepts = Accepts::parse(["image/avif,image/webp,image/*;q=0.8"]);
    bencher.bench_local(|| black_box(&options).plan(Format::Jpeg, false, black_box(accepts)));
}

#[divan::bench(args = ["*/*", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"])]
fn accept_parse(header: &str) -> Accepts {
    Accepts::parse([black_box(header)])
}
