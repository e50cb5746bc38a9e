//! nginx as an edge, in the configurations that `pinhole edge nginx` writes, as they are.

use std::{
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{PATIENCE, SERVICE_KEY, TestApp, free_address};

/// What the edge knows those who purge by.
pub const TOKEN: &str = "purge-token";

/// The settings of an app that purges an edge.
pub fn target(url: &str) -> [(&'static str, String); 3] {
    [
        ("PINHOLE_EDGE__TARGETS__FRONT__KIND", "nginx".to_owned()),
        ("PINHOLE_EDGE__TARGETS__FRONT__URLS", url.to_owned()),
        ("PINHOLE_EDGE__TARGETS__FRONT__TOKEN", TOKEN.to_owned()),
    ]
}

fn manages_cache(process: &str) -> bool {
    let title = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    title.starts_with("nginx: cache manager process")
}

/// A running nginx; ended when dropped.
pub struct Nginx {
    /// `http://127.0.0.1:…`
    pub url: String,
    folder: TempDir,
    child: Child,
}

impl Nginx {
    /// `verify.conf` before an app.
    pub fn verify(app: &TestApp) -> Self {
        Self::before(app, "verify.conf", free_address(), &[&app.url])
    }

    /// `ask.conf` before an app.
    pub fn ask(app: &TestApp) -> Self {
        Self::before(app, "ask.conf", free_address(), &[&app.url])
    }

    /// One of the configurations, with an app's keys, before origins by their URLs.
    pub fn before(app: &TestApp, conf: &str, address: SocketAddr, origins: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Its workers are others than who starts it, where that is root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let conf_folder = folder.path().join("conf");
        write_configuration(app, &conf_folder, origins);
        std::fs::write(conf_folder.join("listen.conf"), format!("listen {address};")).unwrap();
        // The tests ask more than any one client may.
        std::fs::write(conf_folder.join("limits.conf"), "").unwrap();
        let nginx = Self::start(folder, &conf_folder.join(conf), address);
        // It listens before it has anybody who serves. Until it has begun them all it takes no signal, so that one who
        // comes after the workers is enough.
        nginx.until("it does not start", |children| children.iter().any(|child| manages_cache(child)));
        nginx
    }

    /// Starts on a folder and a configuration.
    pub fn start(folder: TempDir, conf: &Path, address: SocketAddr) -> Self {
        // Where Debian has it, which is not on everybody's path.
        let debians = Path::new("/usr/sbin/nginx");
        let program = if debians.exists() { debians } else { Path::new("nginx") };
        let child = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(conf)
            .args(["-g", "daemon off;"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let nginx = Self { url: format!("http://{address}"), folder, child };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "nginx does not start: {}", nginx.errors());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        nginx
    }

    /// A file or folder of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration anew, for an app with other keys, and takes it over: when this returns, new
    /// connections are served by it.
    pub fn renew(&self, app: &TestApp) {
        let before = self.children();
        write_configuration(app, &self.path("conf"), &[&app.url]);
        self.signal("HUP");
        self.until("the workers stay", |children| children.iter().all(|child| !before.contains(child)));
    }

    /// Waits until its processes are such.
    #[track_caller]
    fn until(&self, otherwise: &str, are_such: impl Fn(&[String]) -> bool) {
        let began = Instant::now();
        while !are_such(&self.children()) {
            assert!(began.elapsed() < PATIENCE, "{otherwise}: {}", self.errors());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The processes that serve, and those that keep the cache in order.
    fn children(&self) -> Vec<String> {
        let pid = self.child.id();
        let file = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(file).unwrap();
        children.split_whitespace().map(ToOwned::to_owned).collect()
    }

    fn signal(&self, name: &str) {
        // It may have ended already.
        let _ = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
    }

    /// What it complains of.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// Its log of requests.
    pub fn log(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.path("access.log")).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything that it keeps on the disk, pictures and decisions.
    pub fn kept(&self) -> usize {
        fn files(folder: &Path) -> usize {
            let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
            entries.map(|entry| entry.unwrap().path()).map(|p| if p.is_dir() { files(&p) } else { 1 }).sum()
        }
        files(&self.path("cache"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal("TERM");
        let _ = self.child.wait();
    }
}

/// What `pinhole edge nginx` writes for an app's settings.
pub fn write_configuration(app: &TestApp, folder: &Path, origins: &[&str]) {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(SERVICE_KEY.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().envs(target("http://127.0.0.1:1")).args(["edge", "nginx", "--out"]).arg(folder);
    command.arg("--service-key-file").arg(key.path());
    for origin in origins {
        command.args(["--origin", origin.strip_prefix("http://").unwrap()]);
    }
    let settings = app.data().join("pinhole.toml");
    if settings.exists() {
        command.arg("--config").arg(settings);
    } else {
        command.arg("--data").arg(app.data());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Stands between an edge and its origin, and writes down what the edge sends.
pub struct Recorder {
    /// `http://127.0.0.1:…`
    pub url: String,
    sent: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Recorder {
    /// Before an origin by its URL.
    pub async fn before(origin: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (origin, sent) = (origin["http://".len()..].to_owned(), Arc::new(Mutex::new(Vec::new())));
        let written = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            // Whatever hangs is dropped with it.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (edge, _) = listener.accept().await.unwrap();
                connections.spawn(pass_on(edge, origin.clone(), Arc::clone(&written)));
            }
        });
        Self { url, sent, task }
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.sent.lock().unwrap()).to_lowercase();
        let ends = text.split("\r\n\r\n").filter(|head| head.contains(" http/1.1\r\n"));
        ends.map(ToOwned::to_owned).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(edge: TcpStream, origin: String, sent: Arc<Mutex<Vec<u8>>>) {
    let Ok(origin) = TcpStream::connect(origin).await else { return };
    let ((mut from_edge, mut to_edge), (mut from_origin, mut to_origin)) =
        (edge.into_split(), origin.into_split());
    let asked = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from_edge.read(&mut buffer).await {
            sent.lock().unwrap().extend_from_slice(&buffer[..n]);
            if to_origin.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
    };
    let answered = tokio::io::copy(&mut from_origin, &mut to_edge);
    tokio::select! {
        () = asked => {}
        _ = answered => {}
    }
}
