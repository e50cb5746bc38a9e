//! `pinhole dev`: everything in one process, to try and to develop against.

mod bucket;
pub(super) mod data;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::net::TcpListener;

pub(super) use self::bucket::Bucket;
use super::{
    Failure,
    run::{self, Listeners, address, bind, stop_signal},
};
use crate::{
    app::App,
    clock,
    config::{Config, Role, Secret},
    db::{Db, ServerLock, users},
    id::UserId,
    identity,
    web::demo,
};

/// Runs everything in one process: database, bucket, demo page and demo users.
///
/// For development alone: it answers on loopback addresses, and signs anyone in as alice, bob or carol.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole dev
  pinhole dev --data /tmp/try --listen 127.0.0.1:0

Settings are taken from the environment, such as PINHOLE_UPLOAD__MAX_BYTES=1000000.")]
pub(super) struct Args {
    /// Where the database and the bucket are kept; made when absent
    #[arg(long, value_name = "DIR", default_value = "./pinhole-data")]
    data: PathBuf,
    /// Address of the API, the images and the demo page; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the embedded S3 server
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    s3_listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    ops_listen: SocketAddr,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let addresses =
        [("--listen", args.listen), ("--s3-listen", args.s3_listen), ("--ops-listen", args.ops_listen)];
    for (flag, address) in addresses {
        if !address.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "{flag} {address}: dev signs anyone in, so it answers on loopback alone; use 127.0.0.1 or [::1]"
            )));
        }
    }
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let data = data::Dir::open(&args.data).map_err(Failure::failed)?;
    let main = bind("--listen", args.listen).await?;
    let s3 = bind("--s3-listen", args.s3_listen).await?;
    let ops = bind("--ops-listen", args.ops_listen).await?;
    let config = config(&main, data.secrets())?;
    let limits = run::limits(&config.server);
    let ready_to_stop = stop_signal()?;

    let bucket = Bucket::serve(&data, s3, limits)?;
    let (store, s3_url) = (bucket.store.clone(), bucket.url.clone());
    store.ensure_bucket().await.map_err(Failure::failed)?;
    // A page of the API's origin may send uploads straight to the bucket, which has another.
    store.put_cors(&page_origins(&config.server.public_url)).await.map_err(Failure::failed)?;
    let _lock = ServerLock::take(&data.database()).map_err(Failure::failed)?;
    let db = Db::open_sqlite(&data.database()).await.map_err(Failure::failed)?;
    db.migrate().await.map_err(Failure::failed)?;
    let db = db.judged_by(&config.rules).await.map_err(|error| super::bad_rules(&error))?;
    let db = db.telling(config.edge.names());
    make_demo_users(&db).await?;

    let app = Arc::new(App::new(config, db.clone(), store, true).map_err(Failure::failed)?);
    announce(args, &main, &s3_url, &ops)?;
    run::until(ready_to_stop, app, Listeners { main, ops, ops_is_shared: false, tls: None }).await?;
    bucket.stop().await;
    db.close().await;
    Ok(())
}

/// The settings of dev: more is allowed than in production, and the data folder's own secrets are
/// used. The environment overrides all but the address.
fn config(main: &TcpListener, secrets: &data::Secrets) -> Result<Config, Failure> {
    // Nobody takes over from it, so nobody waits until it has ended.
    let defaults = [("follows", "open"), ("transform.unsigned", "any"), ("server.linger_secs", "0")];
    let mut config = super::load(None, &defaults)?;
    config.server.role = Role::All;
    config.server.public_url = format!("http://{}", address(main)?);
    if config.auth.jwt_secret == Secret::default() {
        config.auth.jwt_secret = secrets.jwt_secret.clone();
    }
    if config.links.keys.is_empty() && config.links.keys_file.is_none() {
        config.links.keys = vec![secrets.link_key.clone()];
    }
    config.auth.service_key_hashes.push(identity::service_key_hash(demo::SERVICE_KEY));
    Ok(config)
}

/// Where the demo page may have been opened: by address, or as `localhost`.
fn page_origins(public_url: &str) -> Vec<String> {
    let by_name = public_url.rsplit_once(':').map(|(_, port)| format!("http://localhost:{port}"));
    [public_url.to_owned()].into_iter().chain(by_name).collect()
}

async fn make_demo_users(db: &Db) -> Result<(), Failure> {
    let mut tx = db.begin().await.map_err(Failure::failed)?;
    for user in demo::USERS.iter().filter_map(|name| UserId::parse(name)) {
        users::ensure(&mut tx, &user, clock::now_micros()).await.map_err(Failure::failed)?;
    }
    tx.commit().await.map_err(Failure::failed)
}

fn announce(args: &Args, main: &TcpListener, s3_url: &str, ops: &TcpListener) -> Result<(), Failure> {
    let (url, ops) = (format!("http://{}", address(main)?), address(ops)?);
    let text = format!(
        "pinhole dev is ready.

  demo page, API, images   {url}/
  bucket (S3)              {s3_url}/{bucket}   (key id {key_id}; its secret is in {secrets})
  operations               http://{ops}/livez /readyz /metrics
  data                     {data}

Users {users} sign in without a password; the service key is {service_key}.
Try:

  TOKEN=$(curl -s {url}/dev/session --json '{{\"user\":\"alice\"}}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')
  curl -s {url}/demo/photo.jpg -o photo.jpg
  curl -s {url}/v1/images -H \"Authorization: Bearer $TOKEN\" -F file=@photo.jpg

Ctrl-C stops it.
",
        bucket = bucket::NAME,
        key_id = bucket::ACCESS_KEY_ID,
        secrets = data::secrets_path(&args.data).display(),
        data = args.data.display(),
        users = demo::USERS.join(", "),
        service_key = demo::SERVICE_KEY,
    );
    let mut out = std::io::stdout().lock();
    // Nobody reading along is no reason to stop.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}
