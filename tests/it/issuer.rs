//! Tokens of an issuer that publishes its keys: which are taken, and how a new key becomes known.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{TestApp, now_secs};

/// Node's crypto makes keys and signs: it is what is held against us. It prints the published set, and
/// tokens by name.
const NODE: &str = r#"
const crypto = require("crypto");
const b64 = (data) => Buffer.from(data).toString("base64url");
const now = Number(process.argv[1]);
const pair = {
    RS256: crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ES256: crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }),
    EdDSA: crypto.generateKeyPairSync("ed25519"),
};
const sign = (alg, header, claims, key = pair[alg].privateKey) => {
    const signed = b64(JSON.stringify({ alg, ...header })) + "." + b64(JSON.stringify(claims));
    const how = alg === "ES256" ? { key, dsaEncoding: "ieee-p1363" } : key;
    return signed + "." + b64(crypto.sign(alg === "EdDSA" ? null : "sha256", signed, how));
};
const hmac = (header, claims, secret) => {
    const signed = b64(JSON.stringify(header)) + "." + b64(JSON.stringify(claims));
    return signed + "." + b64(crypto.createHmac("sha256", secret).update(signed).digest());
};
const claims = { sub: "alice", exp: now + 600 };
const jwk = (alg) => ({ ...pair[alg].publicKey.export({ format: "jwk" }), kid: alg + "-1", use: "sig", alg });
const published = ["RS256", "ES256", "EdDSA"].map(jwk);
const secret = { kty: "oct", kid: "oct", k: b64("a secret that somebody published by mistake") };
const later = crypto.generateKeyPairSync("ed25519");
const good = {}, bad = {};
for (const alg of ["RS256", "ES256", "EdDSA"]) {
    const kid = alg + "-1";
    good[alg] = sign(alg, { kid }, claims);
    good[alg + " without kid"] = sign(alg, {}, claims);
    bad[alg + " expired"] = sign(alg, { kid }, { ...claims, exp: now - 1 });
    bad[alg + " of another's key"] = sign(alg, { kid: "RS256-1" === kid ? "ES256-1" : "RS256-1" }, claims);
    const pem = pair[alg].publicKey.export({ format: "pem", type: "spki" });
    const der = pair[alg].publicKey.export({ format: "der", type: "spki" });
    bad["HS256 by the PEM of " + alg] = hmac({ alg: "HS256", kid }, claims, pem);
    bad["HS256 by the DER of " + alg] = hmac({ alg: "HS256", kid }, claims, der);
    bad["HS256 by the JWK of " + alg] = hmac({ alg: "HS256", kid }, claims, jwk(alg).x ?? jwk(alg).n);
    const [header, body, signature] = good[alg].split(".");
    bad[alg + " tampered"] = [header, b64(JSON.stringify({ ...claims, sub: "bob" })), signature].join(".");
    bad[alg + " without signature"] = [header, body, ""].join(".");
    bad["none, said with the signature of " + alg] = [b64(JSON.stringify({ alg: "none" })), body, signature].join(".");
}
bad["HS256 by a published secret"] = hmac({ alg: "HS256", kid: "oct" }, claims, Buffer.from(secret.k, "base64url"));
bad["RS512"] = (() => {
    const signed = b64(JSON.stringify({ alg: "RS512", kid: "RS256-1" })) + "." + b64(JSON.stringify(claims));
    return signed + "." + b64(crypto.sign("sha512", signed, pair.RS256.privateKey));
})();
console.log(JSON.stringify({
    jwks: { keys: [...published, secret, { kty: "new kind" }] },
    rotated: { keys: [...published, { ...later.publicKey.export({ format: "jwk" }), kid: "later" }] },
    later: sign("EdDSA", { kid: "later" }, claims, later.privateKey),
    strangers: Array.from({ length: 20 }, (_, n) => sign("EdDSA", { kid: "made-up-" + n }, claims, later.privateKey)),
    good, bad,
}));
"#;

fn issuer() -> Value {
    let mut node = std::process::Command::new("node");
    // So large that no garbage is collected meanwhile: with that, one run in sixty of Node.js 18 waits for a lock for ever.
    node.args(["--min-semi-space-size=64", "--max-semi-space-size=64"]);
    let output = node.args(["-e", NODE, &now_secs().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn status(app: &TestApp, token: &Value) -> u16 {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    app.get("/v1/profile").header("authorization", &bearer).send().await.status.as_u16()
}

#[tokio::test]
async fn its_tokens_are_taken_and_no_public_key_is_ever_a_secret() {
    let issuer = issuer();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, issuer["jwks"].to_string()).unwrap();
    let app = TestApp::serve_with(&[("PINHOLE_AUTH__JWKS_FILE", file.to_str().unwrap())]);
    for (name, token) in issuer["good"].as_object().unwrap() {
        assert_eq!(status(&app, token).await, 200, "{name}");
    }
    for (name, token) in issuer["bad"].as_object().unwrap() {
        assert_eq!(status(&app, token).await, 401, "{name}");
    }
    // The secret goes on beside it.
    app.get("/v1/profile").user("alice").await.send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_known_at_its_first_token_and_strangers_make_it_ask_no_more() {
    let issuer = issuer();
    let document = Arc::new(Mutex::new(issuer["jwks"].to_string()));
    let asked = Arc::new(AtomicU32::new(0));
    let address = publish(Arc::clone(&document), Arc::clone(&asked)).await;
    let url = format!("http://{address}/jwks.json");
    let app = TestApp::serve_with(&[("PINHOLE_AUTH__JWKS_URL", &url)]);
    assert_eq!(status(&app, &issuer["good"]["ES256"]).await, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    *document.lock().unwrap() = issuer["rotated"].to_string();
    assert_eq!(status(&app, &issuer["later"]).await, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    for token in issuer["strangers"].as_array().unwrap() {
        assert_eq!(status(&app, token).await, 401);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "made-up names are not worth a question each");
    assert_eq!(status(&app, &issuer["good"]["RS256"]).await, 200);
}

#[tokio::test]
async fn an_issuer_that_is_away_keeps_nobody_from_starting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    drop(listener);
    let app = TestApp::serve_with(&[("PINHOLE_AUTH__JWKS_URL", &url)]);
    assert_eq!(status(&app, &issuer()["good"]["EdDSA"]).await, 401);
    app.get("/v1/profile").user("alice").await.send().await.expect(200);
}

#[tokio::test]
async fn settings_that_would_let_anybody_in_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = crate::support::Bucket::of_dev();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}).to_string()).unwrap();
    for (name, value, said) in [
        ("PINHOLE_AUTH__JWKS_URL", "http://issuer.example/jwks.json", "auth.jwks_url"),
        ("PINHOLE_AUTH__JWKS_FILE", file.to_str().unwrap(), "no key for RS256, ES256 or EdDSA"),
        ("PINHOLE_AUTH__JWKS_FILE", "/nonexistent/jwks.json", "/nonexistent/jwks.json"),
        ("PINHOLE_AUTH__LEEWAY_SECS", "3600", "auth.leeway_secs"),
    ] {
        let mut command = crate::support::serve_command(folder.path(), &bucket);
        let output = command.env(name, value).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(said), "{name}={value}: {error}");
    }
}

/// Answers every request with a document, and counts them.
async fn publish(document: Arc<Mutex<String>>, asked: Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).await.unwrap_or(0) == 0 {
                continue;
            }
            asked.fetch_add(1, Ordering::SeqCst);
            let body = document.lock().unwrap().clone();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
        }
    });
    address
}
