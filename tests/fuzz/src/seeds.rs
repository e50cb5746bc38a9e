//! What the targets begin with: one sound input of each kind.

mod pictures;
mod requests;

use sha2::{Digest as _, Sha256};

use crate::{
    config::{Config, Secret},
    id::{UserId, hex},
    identity::Identity,
};

/// What user tokens are signed with.
pub const JWT_SECRET: &str = "a secret of at least thirty-two bytes";
/// A service's key.
pub const SERVICE_KEY: &str = "service-key";
/// When tokens are judged.
pub const NOW_MICROS: i64 = 1_800_000_000_000_000;

/// Identities as the seeds have them.
pub fn identity() -> Identity {
    let mut config = Config::default();
    config.auth.jwt_secret = Secret::new(JWT_SECRET);
    config.auth.service_key_hashes = vec![hex(&Sha256::digest(SERVICE_KEY))];
    config.server.public_url = "https://img.example".to_owned();
    Identity::new(&config, true).unwrap()
}

/// Every seed: its target, its name and what it is.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |target, from: Vec<Vec<u8>>| {
        for (n, bytes) in from.into_iter().enumerate() {
            seeds.push((target, format!("{n:02}"), bytes));
        }
    };
    add(
        "options",
        OPTIONS.iter().map(|text| [text.as_bytes(), b"\nimage/avif,image/webp,*/*;q=0.8"].concat()).collect(),
    );
    add("links", requests::links());
    add("identity", requests::identities());
    add("requests", requests::requests());
    add("forms", requests::forms());
    add("metadata", pictures::metadata());
    let files = pictures::files();
    let ordered = OPTIONS[..22].iter().cycle().zip(files.iter().chain(&files));
    add("render", ordered.map(|(text, (_, file))| [text.as_bytes(), b"\n", file].concat()).collect());
    seeds.extend(files.into_iter().map(|(name, bytes)| ("ingest", name.to_owned(), bytes)));
    seeds
}

/// Every option, and every kind of value.
const OPTIONS: [&str; 24] = [
    "width=20",
    "w=20,h=10,fit=cover,g=auto",
    "width=8,height=12,fit=pad,background=%23ff8800",
    "width=30,height=30,fit=contain,format=jpeg,quality=60",
    "height=12,fit=scale-down,f=webp",
    "w=9,h=9,fit=crop,gravity=0.2x0.8,f=png",
    "w=9,h=9,fit=squeeze,format=gif",
    "format=webp,anim=true",
    "format=gif,anim=true,w=10",
    "f=auto,anim=false",
    "width=5,dpr=2.5,rotate=90,flip=h",
    "rotate=270,flip=hv,format=png",
    "trim=1;2;3;4,width=8",
    "trim=border,format=png",
    "blur=3,w=16",
    "sharpen=2.5,w=16,format=jpeg",
    "watermark=mark,w=16,format=png",
    "preset=small",
    "background=rgba(1,2,3,0.5),w=16,f=webp",
    "gravity=top,fit=cover,w=16,h=4,f=jpeg",
    "gravity=left,fit=cover,w=4,h=16,q=1",
    "rotate=180,w=16,h=16,fit=pad,background=red,f=gif",
    "original",
    "raw",
];
