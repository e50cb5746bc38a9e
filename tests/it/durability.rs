//! What survives `kill -9`: all that was acknowledged, whole, and nothing that nobody knows of.
//!
//! Clients upload in every way, attach, delete and erase, each for users of its own, while the server
//! is killed at random moments, `PINHOLE_TEST_KILLS` times. Then the server is asked for all that it
//! acknowledged, and ledger and bucket are held against each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pinhole::{
    app::App,
    clock,
    config::{Config, Secret},
    work::Sweeper,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    files,
    support::{Reply, TestApp, TestRequest, jpeg, until},
};

/// How often the server is killed unless the environment says so.
const KILLS: usize = 16;
/// How many clients are at work at once.
const CLIENTS: usize = 4;
/// A life ends after fewer acknowledgements than this, and a pause.
const LONGEST_LIFE: usize = 40;
/// The longest pause; a request takes some milliseconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// Longer than any reservation or grant lives, shorter than an image without a use is kept.
const TWO_HOURS_MICROS: i64 = 2 * 3600 * 1_000_000;

/// What a client holds the server to.
#[derive(Default)]
struct Client {
    number: usize,
    people: Vec<Person>,
    requests: usize,
    cut_off: usize,
}

/// A user, as his app knows him.
#[derive(Default)]
struct Person {
    name: String,
    images: Vec<Image>,
    posts: Vec<String>,
    erasure: Erasure,
}

struct Image {
    id: String,
    bytes: Vec<u8>,
    fate: Fate,
}

/// What became of an image, as far as its client was told.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    /// Its deletion was asked for, and never answered.
    Going,
    Gone,
}

#[derive(Default)]
enum Erasure {
    #[default]
    None,
    /// Asked for, and never answered.
    Asked,
    /// Under way or done; the id of its receipt.
    Acknowledged(String),
}

/// The server's, from one kill to the next.
#[derive(Default)]
struct Life {
    acknowledged: AtomicUsize,
    killed: AtomicBool,
}

/// The server was killed before it answered.
struct CutOff;

/// Sends; whatever is answered must be the expected status.
async fn send(request: TestRequest<'_>, status: u16) -> Result<Reply, CutOff> {
    request.try_send().await.map(|reply| reply.expect(status)).map_err(|_| CutOff)
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

impl Client {
    /// Works for one user after another until the server is gone.
    async fn work(&mut self, app: &TestApp, life: &Life, mut random: StdRng) {
        while !life.killed.load(Ordering::Relaxed) {
            // Every hundred requests somebody else; half of the users are erased before.
            let next = random.random_range(0..200) == 0;
            if next || self.people.last().is_none_or(|person| !matches!(person.erasure, Erasure::None)) {
                let name = format!("user-{}-{}", self.number, self.people.len());
                self.people.push(Person { name, ..Person::default() });
            }
            let person = self.people.last_mut().unwrap();
            self.requests += 1;
            match person.act(app, &mut random).await {
                Ok(()) => _ = life.acknowledged.fetch_add(1, Ordering::Relaxed),
                Err(CutOff) => self.cut_off += 1,
            }
        }
    }
}

impl Person {
    fn request<'a>(&self, app: &'a TestApp, method: &str, path: &str) -> TestRequest<'a> {
        app.request(method, path).service().header("on-behalf-of", &self.name)
    }

    /// Does one thing, chosen at random.
    async fn act(&mut self, app: &TestApp, random: &mut StdRng) -> Result<(), CutOff> {
        // Few pictures, so that one user often uploads the same again.
        let photo = jpeg(160, 120, random.random_range(0..24));
        match random.random_range(0..220) {
            0..35 => self.upload(app, photo).await,
            35..60 => self.upload_resumable(app, photo, random).await,
            60..90 => self.upload_presigned(app, photo, random.random()).await,
            90..120 => self.post_with_files(app, photo).await,
            120..150 => self.attach(app, random).await,
            150..174 => self.delete_image(app, random).await,
            174..199 => self.delete_post(app, random).await,
            199 => self.erase(app).await,
            _ => self.look(app, random).await,
        }
    }

    fn keep(&mut self, id: String, bytes: Vec<u8>) {
        self.images.push(Image { id, bytes, fate: Fate::Kept });
    }

    async fn upload(&mut self, app: &TestApp, photo: Vec<u8>) -> Result<(), CutOff> {
        let upload = self.request(app, "POST", "/v1/images").header("content-type", "image/jpeg");
        let image = send(upload.body(photo.clone()), 201).await?.json();
        self.keep(id(&image), photo);
        Ok(())
    }

    async fn upload_presigned(&mut self, app: &TestApp, photo: Vec<u8>, put: bool) -> Result<(), CutOff> {
        let method = if put { "put" } else { "post" };
        let wanted = json!({"content_type": "image/jpeg", "size": photo.len(), "method": method});
        let grant = send(self.request(app, "POST", "/v1/uploads").json(&wanted), 201).await?.json();
        let sent = app.as_granted(&grant, &photo, |_| {}).try_send().await.map_err(|_| CutOff)?;
        assert!(sent.status.is_success(), "{}", sent.text());
        let image = grant["image_id"].as_str().unwrap().to_owned();
        let complete = self.request(app, "POST", &format!("/v1/uploads/{image}/complete"));
        send(complete, 201).await?;
        self.keep(image, photo);
        Ok(())
    }

    /// In two pieces by tus.
    async fn upload_resumable(
        &mut self,
        app: &TestApp,
        photo: Vec<u8>,
        random: &mut StdRng,
    ) -> Result<(), CutOff> {
        let tus = |method: &str, path: &str| self.request(app, method, path).header("tus-resumable", "1.0.0");
        let create = tus("POST", "/v1/tus").header("upload-length", &photo.len().to_string());
        let path = send(create, 201).await?.header("location").to_owned();
        let cut = random.random_range(1..photo.len());
        for (offset, piece) in [(0, &photo[..cut]), (cut, &photo[cut..])] {
            let patch = tus("PATCH", &path).header("upload-offset", &offset.to_string());
            let patch = patch.header("content-type", "application/offset+octet-stream").body(piece.to_vec());
            send(patch, 204).await?;
        }
        let image = path.rsplit('/').next().unwrap().to_owned();
        self.keep(image, photo);
        Ok(())
    }

    async fn post_with_files(&mut self, app: &TestApp, photo: Vec<u8>) -> Result<(), CutOff> {
        let parts = [
            ("Content-Disposition: form-data; name=\"visibility\"", &b"public"[..]),
            ("Content-Disposition: form-data; name=\"images\"; filename=\"a.jpg\"", &photo),
            ("Content-Disposition: form-data; name=\"images\"; filename=\"b.jpg\"", &photo),
        ];
        let form = files::form("x-boundary-x", &parts);
        let post = self.request(app, "POST", "/v1/posts");
        let post = post.header("content-type", "multipart/form-data; boundary=x-boundary-x").body(form);
        let post = send(post, 201).await?.json();
        self.posts.push(id(&post));
        for image in post["images"].as_array().unwrap() {
            self.keep(id(image), photo.clone());
        }
        Ok(())
    }

    async fn attach(&mut self, app: &TestApp, random: &mut StdRng) -> Result<(), CutOff> {
        let Some(image) = self.any_kept(random) else { return Ok(()) };
        let post = json!({"text": "", "visibility": "followers", "images": [self.images[image].id]});
        let post = send(self.request(app, "POST", "/v1/posts").json(&post), 201).await?.json();
        self.posts.push(id(&post));
        Ok(())
    }

    /// Has a variant rendered, which is written into the bucket behind the answer.
    async fn look(&self, app: &TestApp, random: &mut StdRng) -> Result<(), CutOff> {
        let Some(image) = self.any_kept(random) else { return Ok(()) };
        let path = format!("/i/{}/width={}", self.images[image].id, random.random_range(20..100));
        send(self.request(app, "GET", &path), 200).await?;
        Ok(())
    }

    async fn delete_image(&mut self, app: &TestApp, random: &mut StdRng) -> Result<(), CutOff> {
        let Some(image) = self.any_kept(random) else { return Ok(()) };
        self.images[image].fate = Fate::Going;
        let path = format!("/v1/images/{}", self.images[image].id);
        send(self.request(app, "DELETE", &path), 204).await?;
        self.images[image].fate = Fate::Gone;
        Ok(())
    }

    async fn delete_post(&mut self, app: &TestApp, random: &mut StdRng) -> Result<(), CutOff> {
        if self.posts.is_empty() {
            return Ok(());
        }
        let post = self.posts.swap_remove(random.random_range(0..self.posts.len()));
        send(self.request(app, "DELETE", &format!("/v1/posts/{post}")), 204).await?;
        Ok(())
    }

    async fn erase(&mut self, app: &TestApp) -> Result<(), CutOff> {
        self.erasure = Erasure::Asked;
        let erase = app.request("DELETE", &format!("/v1/users/{}", self.name)).service();
        self.erasure = Erasure::Acknowledged(id(&send(erase, 202).await?.json()));
        Ok(())
    }

    fn any_kept(&self, random: &mut StdRng) -> Option<usize> {
        let kept = |image: &usize| self.images[*image].fate == Fate::Kept;
        let kept: Vec<usize> = (0..self.images.len()).filter(kept).collect();
        (!kept.is_empty()).then(|| kept[random.random_range(0..kept.len())])
    }

    /// Asks the server for all that it acknowledged.
    async fn check(&self, app: &TestApp, counts: &mut BTreeMap<&'static str, usize>) {
        let mut count = |what| *counts.entry(what).or_default() += 1;
        match &self.erasure {
            Erasure::Asked => return count("erasures never answered"),
            Erasure::Acknowledged(_) => {
                count("users erased");
                for image in &self.images {
                    app.get(&format!("/i/{}/raw", image.id)).service().send().await.expect(404);
                    count("images of erased users, gone");
                }
                return;
            }
            Erasure::None => {}
        }
        for image in &self.images {
            let raw = app.get(&format!("/i/{}/raw", image.id)).service().send().await;
            match image.fate {
                Fate::Going => count("deletions never answered"),
                Fate::Gone => {
                    raw.expect(404);
                    count("images deleted, gone");
                }
                Fate::Kept => {
                    assert_eq!(raw.expect(200).body, image.bytes, "the uploaded bytes");
                    count("images acknowledged, whole");
                }
            }
        }
        self.check_all_shown(app).await;
    }

    /// Whatever else the ledger shows is whole as well: finished just before a kill.
    async fn check_all_shown(&self, app: &TestApp) {
        let mut cursor = String::new();
        loop {
            let page = self.request(app, "GET", &format!("/v1/images?limit=200{cursor}"));
            let page = page.send().await.expect(200).json();
            for image in page["items"].as_array().unwrap() {
                let path = format!("/i/{}/width=64", id(image));
                let shown = app.get(&path).service().send().await.expect(200).image();
                assert_eq!((shown.width(), shown.height()), (64, 48));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_and_nothing_is_left_behind() {
    let kills = std::env::var_os("PINHOLE_TEST_KILLS");
    let kills = kills.map_or(KILLS, |kills| kills.to_str().unwrap().parse().unwrap());
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|number| Client { number, ..Client::default() }).collect();

    let mut app = TestApp::start();
    for _ in 0..kills {
        let (shared, life) = (Arc::new(app), Arc::<Life>::default());
        let working: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (app, life, random) =
                    (Arc::clone(&shared), Arc::clone(&life), StdRng::from_rng(&mut random));
                tokio::spawn(async move {
                    client.work(&app, &life, random).await;
                    client
                })
            })
            .collect();
        let length = random.random_range(0..LONGEST_LIFE);
        until("so much is done", async || life.acknowledged.load(Ordering::Relaxed) >= length).await;
        tokio::time::sleep(random.random_range(Duration::ZERO..LONGEST_PAUSE)).await;
        shared.signal("KILL");
        life.killed.store(true, Ordering::Relaxed);
        clients = Vec::new();
        for client in working {
            clients.push(client.await.unwrap());
        }
        app = Arc::into_inner(shared).unwrap().restart();
    }

    let mut counts = BTreeMap::new();
    for person in clients.iter().flat_map(|client| &client.people) {
        person.check(&app, &mut counts).await;
    }
    let cut_off: usize = clients.iter().map(|client| client.cut_off).sum();
    let requests: usize = clients.iter().map(|client| client.requests).sum();
    println!("{kills} kills, {requests} requests, {cut_off} of them cut off: {counts:?}");
    assert!(cut_off > kills / 2, "hardly anything was under way at the kills");
    assert!(counts["images acknowledged, whole"] > kills, "too few to mean anything");

    // What is being written has two hours' time below, which the clock of the test does not give it.
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    let app = app.restart();
    let later = clock::now_micros() + TWO_HOURS_MICROS;
    let swept = sweeper(&app).await.sweep(later).await.unwrap();
    println!("one sweep, two hours later: {swept:?}");
    for person in clients.iter().flat_map(|client| &client.people) {
        if let Erasure::Acknowledged(receipt) = &person.erasure {
            app.erased(receipt).await;
        }
    }
    let (rows, objects) = (rows(&app).await, app.objects().await);
    println!("then: {} rows, {} objects", rows.len(), objects.len());
    assert_eq!(objects.difference(&rows).collect::<Vec<_>>(), Vec::<&String>::new(), "objects without a row");
    assert_eq!(
        rows.difference(&objects).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "rows without an object"
    );
}

async fn sweeper(app: &TestApp) -> Sweeper {
    let mut config = Config::default();
    config.auth.jwt_secret = Secret::new(app.secret("jwt_secret"));
    config.links.keys = vec![Secret::new(app.secret("link_key"))];
    App::new(config, app.ledger().await, app.store(), true).unwrap().sweeper
}

/// The key of every object that the ledger says is there.
async fn rows(app: &TestApp) -> BTreeSet<String> {
    let keys = "SELECT 'raw/' || key FROM blobs UNION SELECT 'originals/' || key FROM blobs
                UNION SELECT 'incoming/' || incoming_key FROM uploads WHERE incoming_key IS NOT NULL
                UNION SELECT 'incoming/' || key FROM upload_chunks
                UNION SELECT 'variants/' || blob_key || '/' || name FROM variants";
    let broken = "SELECT i.id FROM images i LEFT JOIN blobs b ON b.key = i.blob_key AND b.state = 'live'
                  WHERE i.state = 'ready' AND b.key IS NULL";
    assert_eq!(app.texts(broken).await, [""; 0], "images without bytes");
    app.texts(keys).await.into_iter().collect()
}
