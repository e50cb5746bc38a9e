//! The program as a test meets it: the real binary on free ports, and a client to talk to it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    io::{BufRead as _, BufReader},
    iter,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use pinhole::{
    config::Secret,
    db::Db,
    id::BlobKey,
    identity::service_key_hash,
    store::{self, Credentials, Store},
};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};

use crate::{files, openapi, referee};

/// The service key of `dev`, and of every [`TestApp::serve`].
pub const SERVICE_KEY: &str = "dev-service-key";
/// An id as it would be, of nothing.
pub const NEVER_THERE: &str = "01890000-0000-7000-8000-000000000000";
/// Nothing that a test waits for takes longer than this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running `pinhole dev` or `pinhole serve`; killed when dropped.
pub struct TestApp {
    /// `http://127.0.0.1:…` of API, images and demo page.
    pub url: String,
    /// The same of the bucket.
    pub s3_url: String,
    /// The same of the operations listener.
    pub ops_url: String,
    child: Child,
    data: Option<TempDir>,
    /// What a `pinhole serve` stores in; a `pinhole dev` brings its own.
    bucket: Option<Arc<Bucket>>,
    client: Client<HttpConnector, Full<Bytes>>,
    tokens: Mutex<HashMap<String, String>>,
}

/// The command of a `pinhole dev` on free ports, with a clean environment.
pub fn dev_command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().envs(rules()).arg("dev").arg("--data").arg(data);
    for flag in ["--listen", "--s3-listen", "--ops-listen"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command
}

/// With `PINHOLE_TEST_RULES` set, the rules of an app that has brought its own: they say the same as pinhole's,
/// by way of SQL.
fn rules() -> Vec<(&'static str, &'static str)> {
    if std::env::var_os("PINHOLE_TEST_RULES").is_none() {
        return Vec::new();
    }
    let facts = "SELECT a.image_id, TRUE AS in_use, 0 AS version,
                        CASE p.visibility WHEN 'public' THEN 'public' WHEN 'followers' THEN 'restricted' ELSE 'owner' END
                        AS audience
                 FROM attachments a JOIN posts p ON p.id = a.post_id
                 UNION ALL
                 SELECT avatar_image_id, TRUE, 0, 'public' FROM users WHERE avatar_image_id IS NOT NULL";
    let allowed = "SELECT i.id AS image_id, f.follower_id AS viewer_id
                   FROM follows f JOIN images i ON i.owner_id = f.followee_id;";
    vec![("PINHOLE_RULES__FACTS", facts), ("PINHOLE_RULES__ALLOWED", allowed)]
}

/// A bucket, and what opens it.
pub struct Bucket {
    pub endpoint: String,
    pub region: String,
    pub name: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The `pinhole dev` whose bucket it is.
    pub dev: Option<TestApp>,
}

impl Bucket {
    /// The bucket of a `pinhole dev` that runs as long as this lives. Its rules let pages of that dev
    /// upload.
    pub fn of_dev() -> Arc<Self> {
        let dev = TestApp::start_dev(tempfile::tempdir().unwrap(), &[]);
        Arc::new(Self {
            endpoint: dev.s3_url.clone(),
            region: "us-east-1".to_owned(),
            name: "pinhole".to_owned(),
            access_key_id: "pinhole-dev".to_owned(),
            secret_access_key: dev.secret("s3_secret_key"),
            dev: Some(dev),
        })
    }

    /// A new bucket on the real S3 server that `tests/with-garage` started, if it did.
    pub fn external() -> Option<Arc<Self>> {
        let said = |name| std::env::var_os(format!("PINHOLE_TEST_S3_{name}"))?.into_string().ok();
        let bucket = Self {
            endpoint: said("ENDPOINT")?,
            region: said("REGION")?,
            name: format!("test-{}", BlobKey::random()),
            access_key_id: said("ACCESS_KEY_ID")?,
            secret_access_key: said("SECRET_ACCESS_KEY")?,
            dev: None,
        };
        // Made by another thread: the test's own may be a runtime's already.
        let store = bucket.store();
        let made = std::thread::spawn(|| {
            Runtime::new().unwrap().block_on(async move { store.ensure_bucket().await })
        });
        made.join().unwrap().unwrap();
        Some(Arc::new(bucket))
    }

    /// The bucket, as the program itself reaches it.
    fn store(&self) -> Store {
        Store::connect(&store::Settings {
            endpoint: Some(self.endpoint.clone()),
            public_endpoint: None,
            region: self.region.clone(),
            bucket: self.name.clone(),
            credentials: Credentials::keys(
                &self.access_key_id,
                &Secret::new(self.secret_access_key.clone()),
                None,
            ),
            force_path_style: true,
            operation_timeout: PATIENCE,
        })
    }
}

/// The command of a `pinhole serve` on free ports, a SQLite file in `data` and a bucket, with a clean
/// environment. As much is allowed as in `dev`. What the settings are is in `pinhole.toml`.
pub fn serve_command(data: &Path, bucket: &Bucket) -> Command {
    let secrets = json!({
        "jwt_secret": "a secret for tests that is long enough",
        "link_key": format!("test:{}", URL_SAFE_NO_PAD.encode([7; 32])),
    });
    std::fs::write(data.join("secrets.json"), secrets.to_string()).unwrap();
    let settings = format!(
        r#"
            follows = "open"
            [server]
            listen = "127.0.0.1:0"
            ops_listen = "127.0.0.1:0"
            [database]
            url = "{database}"
            [bucket]
            endpoint = "{endpoint}"
            region = "{region}"
            name = "{name}"
            access_key_id = "{access_key_id}"
            secret_access_key = "{secret_access_key}"
            path_style = true
            [auth]
            jwt_secret = {jwt_secret}
            service_key_hashes = ["{service_key_hash}"]
            [links]
            keys = [{link_key}]
            [transform]
            unsigned = "any"
        "#,
        database = database_url(data),
        endpoint = bucket.endpoint,
        region = bucket.region,
        name = bucket.name,
        access_key_id = bucket.access_key_id,
        secret_access_key = bucket.secret_access_key,
        jwt_secret = secrets["jwt_secret"],
        link_key = secrets["link_key"],
        service_key_hash = service_key_hash(SERVICE_KEY),
    );
    let file = data.join("pinhole.toml");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command
        .env_clear()
        .envs(rules())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .arg("serve")
        .arg("--config")
        .arg(file);
    command
}

/// A connection of the test's own to the ledger.
enum Ledger {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The ledger of a data folder: a SQLite file in it, unless it has one on a server.
fn database_url(data: &Path) -> String {
    let on_a_server = std::fs::read_to_string(data.join("database"));
    on_a_server.unwrap_or_else(|_| format!("sqlite:{}/pinhole.db", data.display()))
}

/// Gives a data folder a new database on the PostgreSQL server that `tests/with-postgres` started, if it did.
fn on_postgres(data: &Path) -> bool {
    let Some(server) = std::env::var_os("PINHOLE_TEST_POSTGRES") else { return false };
    let server = server.into_string().unwrap();
    let name = format!("test_{}", BlobKey::random());
    let url = format!("{server}/{name}");
    std::fs::write(data.join("database"), &url).unwrap();
    // By another thread: the test's own may be a runtime's already.
    let made = std::thread::spawn(move || {
        Runtime::new().unwrap().block_on(async move {
            let mut conn = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
            let create = format!("CREATE DATABASE {name}");
            sqlx::query(AssertSqlSafe(create)).execute(&mut conn).await.unwrap();
            let db = Db::open_postgres(&url).await.unwrap();
            db.migrate().await.unwrap();
            db.close().await;
        });
    });
    made.join().unwrap();
    true
}

impl TestApp {
    /// Starts `pinhole serve` on an empty SQLite file and the bucket of a `pinhole dev` of its own.
    pub fn serve() -> Self {
        Self::serve_with(&[])
    }

    /// Starts `pinhole serve` on the servers that `tests/with-garage` and `tests/with-postgres` started, or else as
    /// [`Self::serve`] does.
    pub fn serve_anywhere() -> Self {
        let data = tempfile::tempdir().unwrap();
        on_postgres(data.path());
        let bucket = Bucket::external().unwrap_or_else(Bucket::of_dev);
        Self::serve_on(data, &bucket, &[])
    }

    /// The same, with settings from the environment.
    pub fn serve_with(env: &[(&str, &str)]) -> Self {
        Self::serve_on(tempfile::tempdir().unwrap(), &Bucket::of_dev(), env)
    }

    /// The same on a data folder that may have been used before, and a bucket.
    pub fn serve_on(data: TempDir, bucket: &Arc<Bucket>, env: &[(&str, &str)]) -> Self {
        let mut command = serve_command(data.path(), bucket);
        command.envs(env.iter().copied());
        Self::serve_by(command, data, bucket)
    }

    /// Starts a `pinhole serve` by its command.
    pub fn serve_by(mut command: Command, data: TempDir, bucket: &Arc<Bucket>) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ready = lines.find(|line| line.starts_with("pinhole serve is ready:")).expect("it starts");
        let said = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.unwrap_or_else(|| panic!("no {name} in {ready}")).to_owned()
        };
        Self {
            url: said("listen"),
            s3_url: bucket.endpoint.clone(),
            ops_url: said("ops"),
            child,
            data: Some(data),
            bucket: Some(Arc::clone(bucket)),
            client: Client::builder(TokioExecutor::new()).build_http(),
            tokens: Mutex::default(),
        }
    }

    /// Another node on the same database and bucket. Only PostgreSQL has room for two.
    pub fn beside(&self, env: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::copy(self.data().join("database"), data.path().join("database")).unwrap();
        Self::serve_on(data, &self.bucket(), env)
    }

    /// Cuts all connections to the database on PostgreSQL and lets none in, or lets them in again.
    pub async fn take_database_away(&self, away: bool) {
        let url = database_url(&self.data());
        let (server, name) = url.rsplit_once('/').unwrap();
        let mut conn = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let cut = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS {};
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            !away
        );
        sqlx::raw_sql(AssertSqlSafe(cut)).execute(&mut conn).await.unwrap();
    }

    /// What this `pinhole serve` stores in.
    pub fn bucket(&self) -> Arc<Bucket> {
        Arc::clone(self.bucket.as_ref().expect("a pinhole serve"))
    }

    /// Starts `pinhole dev` on an empty data folder, for what is there in dev alone.
    pub fn dev() -> Self {
        Self::start_dev(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts on an empty data folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts on an empty data folder, with settings from the environment: `pinhole dev`, or
    /// `pinhole serve` on the real S3 server that `tests/with-garage` started, and on the database server of
    /// `tests/with-postgres`.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let is_on_postgres = on_postgres(data.path());
        match Bucket::external() {
            Some(bucket) => Self::serve_on(data, &bucket, env),
            None if is_on_postgres => Self::serve_on(data, &Bucket::of_dev(), env),
            None => Self::start_dev(data, env),
        }
    }

    /// Starts `pinhole dev` on a data folder that may have been used before.
    pub fn start_dev(data: TempDir, env: &[(&str, &str)]) -> Self {
        let mut command = dev_command(data.path());
        command.envs(env.iter().copied());
        Self::dev_by(command, data)
    }

    /// Starts a `pinhole dev` by its command.
    pub fn dev_by(mut command: Command, data: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address_after = |label: &str| {
            let line = lines.find(|line| line.trim_start().starts_with(label)).expect("the start-up text");
            let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
            let authority = url["http://".len()..].split('/').next().unwrap();
            format!("http://{authority}")
        };
        Self {
            url: address_after("demo page"),
            s3_url: address_after("bucket"),
            ops_url: address_after("operations"),
            child,
            data: Some(data),
            bucket: None,
            client: Client::builder(TokioExecutor::new()).build_http(),
            tokens: Mutex::default(),
        }
    }

    /// The process, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.data.as_ref().unwrap().path().to_owned()
    }

    /// One of the data folder's own secrets.
    pub fn secret(&self, name: &str) -> String {
        let secrets = std::fs::read(self.data().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();
        secrets[name].as_str().unwrap().to_owned()
    }

    /// `kill -9`; what is left is the data folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.data.take().unwrap()
    }

    /// `kill -9`, and a start on what is left.
    pub fn restart(self) -> Self {
        self.restart_with(&[])
    }

    /// The same, with settings from the environment.
    pub fn restart_with(self, env: &[(&str, &str)]) -> Self {
        let bucket = self.bucket.clone();
        match (self.kill(), bucket) {
            (data, Some(bucket)) => Self::serve_on(data, &bucket, env),
            (data, None) => Self::start_dev(data, env),
        }
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to end by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Starts a request for a path, or for a whole URL of this server.
    pub fn request(&self, method: &str, path: &str) -> TestRequest<'_> {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.url) };
        TestRequest {
            app: self,
            method: method.parse().unwrap(),
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            patience: PATIENCE,
        }
    }

    pub fn get(&self, path: &str) -> TestRequest<'_> {
        self.request("GET", path)
    }

    pub fn post(&self, path: &str) -> TestRequest<'_> {
        self.request("POST", path)
    }

    /// The token of a demo user: a session of `dev`, or minted here as the app of a `serve` would.
    pub async fn token(&self, user: &str) -> String {
        if self.bucket.is_some() {
            return user_token(&self.secret("jwt_secret"), user);
        }
        if let Some(token) = self.tokens.lock().unwrap().get(user) {
            return token.clone();
        }
        let session = self.post("/dev/session").json(&json!({"user": user})).send().await.expect(200);
        let token = session.json()["token"].as_str().unwrap().to_owned();
        self.tokens.lock().unwrap().insert(user.to_owned(), token.clone());
        token
    }

    /// Uploads an image; its id.
    pub async fn upload(&self, user: &str, bytes: impl Into<Bytes>) -> String {
        let upload = self.post("/v1/images").user(user).await.header("content-type", "image/*").body(bytes);
        upload.send().await.expect(201).json()["id"].as_str().unwrap().to_owned()
    }

    /// Writes a post with images; its id.
    pub async fn create_post(&self, user: &str, visibility: &str, images: &[&str]) -> String {
        let post = json!({"text": "", "visibility": visibility, "images": images});
        let answer = self.post("/v1/posts").user(user).await.json(&post).send().await.expect(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Changes a post.
    pub async fn patch_post(&self, user: &str, post: &str, change: Value) {
        let patch = self.request("PATCH", &format!("/v1/posts/{post}")).user(user).await.json(&change);
        patch.send().await.expect(200);
    }

    /// Makes `follower` follow `followee`, or not.
    pub async fn set_follows(&self, follower: &str, followee: &str, follows: bool) {
        let method = if follows { "PUT" } else { "DELETE" };
        let path = format!("/v1/following/{followee}");
        self.request(method, &path).user(follower).await.send().await.expect(204);
    }

    /// Mints a link as a user; its URL.
    pub async fn link(&self, user: &str, image: &str, options: &str) -> String {
        let wanted = json!({"images": [{"id": image, "options": options}]});
        let answer = self.post("/v1/links").user(user).await.json(&wanted).send().await.expect(200);
        answer.json()["links"][0]["url"].as_str().expect("a link").to_owned()
    }

    /// Uploads a form as a user.
    pub async fn upload_form(&self, user: &str, parts: &[files::Part<'_>]) -> Reply {
        let form = files::form("x-boundary-x", parts);
        let upload = self.post("/v1/images").user(user).await;
        upload.header("content-type", "multipart/form-data; boundary=x-boundary-x").body(form).send().await
    }

    /// The request that sends bytes straight to the bucket as a grant says, its fields or headers
    /// changed a little by `change`.
    pub fn as_granted(
        &self,
        grant: &Value,
        bytes: &[u8],
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> TestRequest<'_> {
        let url = grant["url"].as_str().unwrap();
        let said = if grant["method"] == "put" { &grant["headers"] } else { &grant["fields"] };
        let mut said: BTreeMap<String, String> = serde_json::from_value(said.clone()).unwrap();
        change(&mut said);
        if grant["method"] == "put" {
            let request = self.request("PUT", url).body(bytes.to_vec());
            return said.iter().fold(request, |request, (name, value)| request.header(name, value));
        }
        let field = |name: &String| format!("Content-Disposition: form-data; name=\"{name}\"");
        let heads: Vec<String> = said.keys().map(field).collect();
        let mut parts: Vec<files::Part<'_>> =
            heads.iter().zip(said.values()).map(|(head, value)| (head.as_str(), value.as_bytes())).collect();
        parts.push(("Content-Disposition: form-data; name=\"file\"; filename=\"photo.jpg\"", bytes));
        let form = files::form("x-boundary-x", &parts);
        self.post(url).header("content-type", "multipart/form-data; boundary=x-boundary-x").body(form)
    }

    /// Waits until an erasure is done; its receipt.
    pub async fn erased(&self, erasure: &str) -> Value {
        let patience = Instant::now();
        loop {
            let receipt =
                self.get(&format!("/v1/erasures/{erasure}")).service().send().await.expect(200).json();
            if receipt["state"] == "done" {
                return receipt;
            }
            assert!(patience.elapsed() < PATIENCE, "{receipt}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The bucket, as the program itself reaches it.
    pub fn store(&self) -> Store {
        let embedded = || Bucket {
            endpoint: self.s3_url.clone(),
            region: "us-east-1".to_owned(),
            name: "pinhole".to_owned(),
            access_key_id: "pinhole-dev".to_owned(),
            secret_access_key: self.secret("s3_secret_key"),
            dev: None,
        };
        self.bucket.as_ref().map_or_else(|| embedded().store(), |bucket| bucket.store())
    }

    /// The key of every object in the bucket.
    pub async fn objects(&self) -> BTreeSet<String> {
        let (store, mut keys, mut after) = (self.store(), BTreeSet::new(), String::new());
        loop {
            let page = store.list("", &after, 1000).await.unwrap();
            keys.extend(page.objects.into_iter().map(|object| object.key));
            match page.next {
                Some(next) => after = next,
                None => return keys,
            }
        }
    }

    /// The ledger, opened beside the program.
    pub async fn ledger(&self) -> Db {
        let url = database_url(&self.data());
        match url.strip_prefix("sqlite:") {
            Some(path) => Db::open_sqlite(Path::new(path)).await.unwrap(),
            None => Db::open_postgres(&url).await.unwrap(),
        }
    }

    /// What the ledger answers to a question that no part of the program asks: rows of one text.
    pub async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows: Vec<(String,)> = match self.ledger_itself().await {
            Ledger::Sqlite(mut conn) => sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap(),
            Ledger::Postgres(mut conn) => sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap(),
        };
        rows.into_iter().map(|(text,)| text).collect()
    }

    /// The same, of one number.
    pub async fn number(&self, sql: &'static str) -> i64 {
        match self.ledger_itself().await {
            Ledger::Sqlite(mut conn) => sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap(),
            Ledger::Postgres(mut conn) => sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap(),
        }
    }

    /// Changes the ledger behind the program's back, as to let time pass in it.
    pub async fn alter(&self, sql: &'static str) {
        match self.ledger_itself().await {
            Ledger::Sqlite(mut conn) => drop(sqlx::raw_sql(sql).execute(&mut conn).await.unwrap()),
            Ledger::Postgres(mut conn) => drop(sqlx::raw_sql(sql).execute(&mut conn).await.unwrap()),
        }
    }

    async fn ledger_itself(&self) -> Ledger {
        let url = database_url(&self.data());
        if let Some(path) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
            Ledger::Sqlite(options.connect().await.unwrap())
        } else {
            Ledger::Postgres(PgConnection::connect(&url).await.unwrap())
        }
    }

    /// Sends bytes as they are over a connection of their own, all of them before anything is read.
    pub async fn send_raw(&self, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Reply {
        let mut stream = TcpStream::connect(&self.url["http://".len()..]).await.unwrap();
        let exchange = async {
            for piece in pieces {
                stream.write_all(piece.as_ref()).await.expect("the server reads on");
            }
            Reply::read(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Lets [`peak_memory`](Self::peak_memory) begin anew (proc(5), `clear_refs`).
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// The most memory that the process ever had in use, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The value of one line of `/metrics`.
    pub async fn metric(&self, name_and_labels: &str) -> f64 {
        let text = self.get(&format!("{}/metrics", self.ops_url)).send().await.expect(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request under construction.
#[must_use]
pub struct TestRequest<'a> {
    pub app: &'a TestApp,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    patience: Duration,
}

impl TestRequest<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// As a demo user, by bearer token.
    pub async fn user(self, user: &str) -> Self {
        let token = self.app.token(user).await;
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As the service.
    pub fn service(self) -> Self {
        self.header("authorization", &format!("Bearer {SERVICE_KEY}"))
    }

    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits longer for the answer than is usual.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The operation of the API's description that this is one of, if it is to the API.
    fn described(&self) -> Option<(Method, String)> {
        let path = self.url.strip_prefix(&self.app.url)?;
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let meant = self.headers.get("x-http-method-override").filter(|_| path.starts_with("/v1/tus"));
        let method = meant.map_or(Ok(self.method.clone()), |meant| Method::from_bytes(meant.as_bytes()));
        Some((method.ok()?, path.to_owned()))
    }

    pub async fn send(self) -> Reply {
        self.try_send().await.unwrap()
    }

    /// Sends to a server that may be gone.
    pub async fn try_send(self) -> Result<Reply, Box<dyn Error + Send + Sync>> {
        let described = self.described();
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.url.parse().unwrap();
        *request.headers_mut() = self.headers;
        let answer = async {
            let response = self.app.client.request(request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body })
        };
        let answer: Result<Reply, Box<dyn Error + Send + Sync>> =
            tokio::time::timeout(self.patience, answer).await.expect("an answer in time");
        if let (Some((method, path)), Ok(reply)) = (described, &answer) {
            openapi::check(&method, &path, reply);
        }
        answer
    }
}

/// A response, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Reads an answer that says its length.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let head_len = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection was closed");
        };
        let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let headers: HeaderMap = lines.map(header).collect();
        let length = headers.get("content-length").map_or(0, |n| n.to_str().unwrap().parse().unwrap());
        while bytes.len() < head_len + length {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection was closed");
        }
        Self { status, headers, body: Bytes::from(bytes).slice(head_len..) }
    }

    /// Insists on a status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Insists on a problem document with that status and code, which is never cacheable.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.header("cache-control"), "no-store");
        let problem = reply.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        reply
    }

    /// A header's value, or "" without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn etag(&self) -> &str {
        self.header(header::ETAG.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Decodes the body as an image; an AVIF by way of `avifdec`.
    #[track_caller]
    pub fn image(&self) -> image::DynamicImage {
        if self.header("content-type") == "image/avif" {
            return image::load_from_memory(&referee::avif_as_png(&self.body)).unwrap();
        }
        image::load_from_memory(&self.body).unwrap()
    }
}

/// What a program that was run wrote to stdout and stderr; it must have ended with this code.
#[track_caller]
pub fn expect_exit(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

/// Asks until it is so, or panics with what never came to be; how long it was known not to be so: until the last
/// question was asked that was answered with no. What a machine under load takes to answer does not count.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    let mut was_not = Duration::ZERO;
    loop {
        let asked = began.elapsed();
        if is_so().await {
            return was_not;
        }
        was_not = asked;
        assert!(was_not < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A free port of this machine, for a server that must be told. It is below those that the system gives to whoever
/// asks for any (`net.ipv4.ip_local_port_range`), so that nobody is given it meanwhile.
pub fn free_address() -> SocketAddr {
    let any = || SocketAddr::from(([127, 0, 0, 1], rand::random_range(16_384..32_768)));
    iter::repeat_with(any).find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// HMAC-SHA256 in unpadded base64url, as links and tokens are signed.
pub fn hmac_sha256(key: &[u8], text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text);
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// A user's token, good for an hour (RFC 7519, HS256).
pub fn user_token(secret: &str, user: &str) -> String {
    let claims = json!({"sub": user, "exp": now_secs() + 3600}).to_string();
    let signed =
        [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    format!("{signed}.{}", hmac_sha256(secret.as_bytes(), &signed))
}

/// A picture with some structure: `width` × `height`, different for every `seed`.
pub fn picture(width: u32, height: u32, seed: u8) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let ramp = |n: u32, of: u32| u8::try_from(n * 255 / of.max(1)).unwrap();
        image::Rgb([ramp(x, width), ramp(y, height), seed])
    })
}

/// [`picture`] as a JPEG file.
pub fn jpeg(width: u32, height: u32, seed: u8) -> Vec<u8> {
    encode(&picture(width, height, seed), image::ImageFormat::Jpeg)
}

/// [`picture`] as a PNG file.
pub fn png(width: u32, height: u32, seed: u8) -> Vec<u8> {
    encode(&picture(width, height, seed), image::ImageFormat::Png)
}

pub fn encode(picture: &image::RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}
