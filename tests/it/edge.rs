//! Caches of others in front, as a test meets them: what `pinhole edge` prints, at work.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use crate::support::{PATIENCE, TestApp, TestRequest};

/// What purges come with.
pub const PURGE_TOKEN: &str = "purge-token-of-tests";

/// The command that prints an edge's configuration, for settings given by the environment alone.
pub fn command(kind: &str, link_keys: &str, public_url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR")).args(["edge", kind]).envs([
        ("PINHOLE_LINKS__KEYS", link_keys),
        ("PINHOLE_SERVER__PUBLIC_URL", public_url),
        ("PINHOLE_EDGE__TARGETS__CACHE__KIND", "varnish"),
        ("PINHOLE_EDGE__TARGETS__CACHE__URLS", "http://127.0.0.1:6081"),
        ("PINHOLE_EDGE__TARGETS__CACHE__TOKEN", PURGE_TOKEN),
    ]);
    command
}

/// What such a command prints.
#[track_caller]
pub fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cache in front of a server; ended when dropped.
pub struct Edge {
    pub name: &'static str,
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl Edge {
    /// Varnish, with what `pinhole edge varnish` prints.
    pub fn varnish(app: &TestApp) -> Self {
        let mut command = command("varnish", &app.secret("link_key"), &app.url);
        command.args(["--origin", &app.url["http://".len()..]]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pinhole.vcl");
        std::fs::write(&file, printed(command)).unwrap();
        let work = folder.path().join("work");
        let mut varnishd = Command::new("/usr/sbin/varnishd");
        varnishd.args(["-F", "-j", "none", "-a", "127.0.0.1:0", "-s", "malloc,64m", "-n"]).arg(&work);
        varnishd.args(["-p", "thread_pool_min=10", "-f"]).arg(&file);
        let child = varnishd.stdout(Stdio::null()).spawn().expect("Varnish is needed: tests/run installs it");
        let mut edge = Self { name: "Varnish", url: String::new(), child, _folder: folder };
        let patience = Instant::now();
        loop {
            let asked = Command::new("varnishadm").arg("-n").arg(&work).arg("debug.listen_address").output();
            let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            let said = said.unwrap_or_default();
            if let ["a0", host, port] = said.split_whitespace().collect::<Vec<_>>()[..] {
                edge.url = format!("http://{host}:{port}");
                return edge;
            }
            assert!(patience.elapsed() < PATIENCE, "Varnish does not listen: {said}");
            assert!(edge.child.try_wait().unwrap().is_none(), "Varnish does not start");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The Worker that `pinhole edge cloudflare` prints, on Node.js.
    pub fn worker(app: &TestApp) -> Self {
        Self::worker_of(&printed(command("cloudflare", &app.secret("link_key"), &app.url)), None)
    }

    /// A Worker by its text, whose clock may stand still at a time in Unix seconds.
    pub fn worker_of(text: &str, now_secs: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pinhole.mjs");
        std::fs::write(&file, text).unwrap();
        let mut node = Command::new("node");
        node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/worker.mjs")).arg(&file);
        node.args(now_secs.map(|now| now.to_string())).stdout(Stdio::piped());
        let mut child = node.spawn().expect("Node.js is needed: tests/run installs it");
        let said = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let url = said.expect("it says where it listens").unwrap();
        Self { name: "the Worker", url, child, _folder: folder }
    }

    /// A request to the edge, by a path or by a whole URL of the origin.
    pub fn request<'a>(&self, app: &'a TestApp, method: &str, path: &str) -> TestRequest<'a> {
        app.request(method, &format!("{}{}", self.url, path.strip_prefix(&app.url).unwrap_or(path)))
    }

    pub fn get<'a>(&self, app: &'a TestApp, path: &str) -> TestRequest<'a> {
        self.request(app, "GET", path)
    }

    /// Says that an image was narrowed, as pinhole's outbox does.
    pub async fn purge(&self, app: &TestApp, image: &str) {
        let purge = self.request(app, "PURGE", "/").header("xkey-purge", &format!("img-{image}"));
        purge.header("authorization", &format!("Bearer {PURGE_TOKEN}")).send().await.expect(200);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // By a signal that it can tell its own children of; it may have ended already.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
