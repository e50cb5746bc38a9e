//! TLS on the listener: both protocols, and certificates that change or do not fit.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream as StdTcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    serve::{expect_failure, text},
    support::{Bucket, PATIENCE, TestApp, jpeg, serve_command, user_token},
};

/// Makes a certificate of the loopback address that vouches for itself, and its key: `NAME.pem` and `NAME.key`.
fn make_certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"]);
    let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    (certificate, key)
}

/// A `pinhole serve` with TLS, and what it serves by. What it says on stderr is in `stderr` of its data folder.
struct Served {
    app: TestApp,
    certificate: PathBuf,
    key: PathBuf,
    token: String,
}

impl Served {
    fn start(env: &[(&str, &str)]) -> Self {
        let (data, bucket) = (tempfile::tempdir().unwrap(), Bucket::of_dev());
        let (certificate, key) = make_certificate(data.path(), "first");
        let mut command = serve_command(data.path(), &bucket);
        command
            .envs(env.iter().copied())
            .env("PINHOLE_SERVER__TLS__CERTIFICATE", &certificate)
            .env("PINHOLE_SERVER__TLS__KEY", &key)
            .stderr(File::create(data.path().join("stderr")).unwrap());
        let app = TestApp::serve_by(command, data, &bucket);
        assert!(app.url.starts_with("https://127.0.0.1:"), "{}", app.url);
        let token = user_token(&app.secret("jwt_secret"), "alice");
        Self { app, certificate, key, token }
    }

    fn address(&self) -> &str {
        &self.app.url["https://".len()..]
    }

    /// What curl says that trusts a certificate: the status and the version of HTTP, and in `out` the body.
    fn curl_trusting(&self, certificate: &Path, args: &[&str], path: &str) -> Output {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            "%{http_code} %{http_version}",
        ]);
        curl.args(["--header", &format!("Authorization: Bearer {}", self.token)]).args(args);
        curl.arg("--output").arg(self.app.data().join("out")).arg("--cacert").arg(certificate);
        curl.arg(format!("{}{path}", self.app.url)).output().unwrap()
    }

    #[track_caller]
    fn curl(&self, args: &[&str], path: &str) -> String {
        let output = self.curl_trusting(&self.certificate, args, path);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn body(&self) -> Vec<u8> {
        fs::read(self.app.data().join("out")).unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.app.data().join("stderr")).unwrap()
    }

    /// Waits until something holds that takes a moment.
    #[track_caller]
    fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn both_protocols_are_served_over_tls() {
    let served = Served::start(&[]);
    let file = served.app.data().join("photo.jpg");
    fs::write(&file, jpeg(600, 400, 1)).unwrap();
    let form = format!("file=@{}", file.display());
    let mut shown = Vec::new();
    for (how, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        assert_eq!(served.curl(&[how, "--form", &form], "/v1/images"), format!("201 {version}"));
        let image: serde_json::Value = serde_json::from_slice(&served.body()).unwrap();
        assert!(image["url"].as_str().unwrap().starts_with(&served.app.url), "{image}");
        for (more, status) in [(&[][..], 200), (&["--range", "0-99"], 206)] {
            let path = format!("/i/{}/width=300", image["id"].as_str().unwrap());
            let said = served.curl(&[&[how][..], more].concat(), &path);
            assert_eq!(said, format!("{status} {version}"));
            shown.push(served.body());
        }
    }
    assert_eq!(shown[..2], shown[2..]);
    assert_eq!(shown[0][..100], shown[1]);
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        assert_eq!(served.curl(&[&["--http2"], version].concat(), "/nothing"), "404 2");
    }
    // Without ALPN, as old clients do.
    assert_eq!(served.curl(&["--no-alpn"], "/nothing"), "404 1.1");
    let headers = served.curl(&["--http2", "--head"], "/nothing");
    assert!(headers.starts_with("404 2"), "{headers}");
    let head = text(&served.body()).to_lowercase();
    for name in ["connection:", "transfer-encoding:", "keep-alive:"] {
        assert!(!head.contains(name), "{head}");
    }
    let (other, _) = make_certificate(&served.app.data(), "other");
    assert_eq!(served.curl_trusting(&other, &[], "/nothing").status.code(), Some(60), "it is not trusted");
    // Plain HTTP gets nothing, and no route but TLS is there.
    let plain =
        Command::new("curl").args(["--silent", &format!("http://{}/", served.address())]).output().unwrap();
    assert!(!plain.status.success() && plain.stdout.is_empty());
}

#[test]
fn sessions_are_resumed() {
    let served = Served::start(&[]);
    let session = served.app.data().join("session");
    let ask = |version: &str, keep: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", served.address(), version, "-ign_eof", keep]).arg(&session);
        let request = served.app.data().join("request");
        fs::write(&request, "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        text(&openssl.stdin(Stdio::from(File::open(request).unwrap())).output().unwrap().stdout)
    };
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(ask(version, "-sess_out").contains("\nNew, "));
        assert!(ask(version, "-sess_in").contains("\nReused, "), "{version}");
    }
}

#[test]
fn a_new_certificate_is_taken_while_it_runs_and_a_bad_one_is_not() {
    let served = Served::start(&[]);
    assert_eq!(served.curl(&[], "/nothing"), "404 2");
    let (new, new_key) = make_certificate(&served.app.data(), "second");
    let first = served.app.data().join("kept.pem");
    fs::copy(&served.certificate, &first).unwrap();
    let trusted = |certificate: &Path| served.curl_trusting(certificate, &[], "/nothing").status.success();

    // Half of a change: the certificate alone.
    fs::copy(&new, &served.certificate).unwrap();
    served.app.signal("HUP");
    let message = format!("server.tls.key {} is not the key of", served.key.display());
    served.wait_until("it says so", || served.said().contains(&message));
    assert!(trusted(&first));

    fs::copy(&new_key, &served.key).unwrap();
    served.app.signal("HUP");
    served.wait_until("the new one is served", || trusted(&new));
    assert!(!trusted(&first));

    // And what is not a certificate at all.
    fs::write(&served.certificate, "nothing").unwrap();
    let message =
        format!("the certificate stays what it was: server.tls.certificate {}", served.certificate.display());
    served.wait_until("it is looked at without a signal", || served.said().contains(&message));
    assert!(trusted(&new));
}

#[tokio::test]
async fn half_a_handshake_is_let_go() {
    let served = Served::start(&[("PINHOLE_SERVER__HEADER_TIMEOUT_SECS", "1")]);
    // The beginning of a ClientHello, and nothing.
    for begun in [&[][..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let end = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "{begun:?} holds a connection");
    }
}

#[test]
fn tls_lets_requests_finish_at_a_stop() {
    let mut served = Served::start(&[]);
    // It has not even begun its handshake, and holds nobody up.
    let silent = StdTcpStream::connect(served.address()).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--verbose", "--max-time", "30", "--write-out", "%{http_code}", "--output"]);
    curl.arg(served.app.data().join("out")).arg("--cacert").arg(&served.certificate);
    curl.args(["--header", &format!("Authorization: Bearer {}", served.token)]);
    // It sends what it is given only once the server asks for it, which it does when the request is under way.
    curl.args(["--http1.1", "--expect100-timeout", "30", "--header", "Expect: 100-continue"]);
    curl.args(["--header", "Content-Type: image/jpeg", "--request", "POST", "--upload-file", "-"]);
    curl.arg(format!("{}/v1/images", served.app.url));
    let mut curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(curl.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().starts_with("< HTTP/1.1 100 ")), "the body is never asked for");
    served.app.signal("TERM");
    // Nobody else comes in any more.
    served.wait_until("it goes on listening", || StdTcpStream::connect(served.address()).is_err());
    curl.stdin.take().unwrap().write_all(&jpeg(600, 400, 1)).unwrap();
    let output = curl.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "201");
    assert_eq!(served.app.wait(), Some(0));
    drop(silent);
}

#[test]
fn a_check_refuses_what_does_not_fit() {
    let (data, bucket) = (tempfile::tempdir().unwrap(), Bucket::of_dev());
    let (certificate, key) = make_certificate(data.path(), "one");
    let (_, other_key) = make_certificate(data.path(), "other");
    let check = |certificate: Option<&Path>, key: Option<&Path>| {
        let mut command = serve_command(data.path(), &bucket);
        command.arg("--check");
        for (name, file) in [("CERTIFICATE", certificate), ("KEY", key)] {
            command.envs(file.map(|file| (format!("PINHOLE_SERVER__TLS__{name}"), file)));
        }
        command.output().unwrap()
    };
    let good = check(Some(&certificate), Some(&key));
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let line = format!("ok    tls       certificate {}, key {}\n", certificate.display(), key.display());
    assert!(text(&good.stdout).contains(&line), "{}", text(&good.stdout));

    let missing = data.path().join("missing.pem");
    for (certificate, key, message) in [
        (
            Some(&*certificate),
            Some(&*other_key),
            format!("server.tls.key {} is not the key of", other_key.display()),
        ),
        (
            Some(&certificate),
            Some(&certificate),
            format!("server.tls.key {}: no items", certificate.display()),
        ),
        (Some(&key), Some(&key), format!("server.tls.certificate {}: no items", key.display())),
        (Some(&missing), Some(&key), format!("server.tls.certificate {}: No such file", missing.display())),
        (Some(&certificate), None, "server.tls.certificate and server.tls.key belong together".to_owned()),
    ] {
        expect_failure(&check(certificate, key), 2, &message);
    }
}
