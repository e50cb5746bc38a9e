//! `pinhole serve`: production, on a database and a bucket that are there.

mod check;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use super::{
    Failure, place,
    run::{self, Listeners, address, listen},
};
use crate::{
    app::{App, catalogue, keys::LinkKeys},
    config::{Config, Place, Role, is_loopback},
    db::{Db, ServerLock, service_keys},
    identity::Identity,
    issuer::Issuer,
    server::{Inherited, Tls},
    store::{CorsRule, Settings, Store, StoreError},
};

/// Serves from a database and a bucket of your own.
///
/// The database is a SQLite file, for exactly one server, or PostgreSQL; the bucket any that speaks S3.
/// Both must be there: a new SQLite file is made, anything else is never created or migrated at a start.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole serve --config pinhole.toml
  pinhole serve --config pinhole.toml --check
  pinhole serve --config pinhole.toml --check --json
  PINHOLE_BUCKET__NAME=photos pinhole serve --config pinhole.toml --role deliver --listen 0.0.0.0:8080

Settings come from the file, then from the environment, such as PINHOLE_SERVER__PUBLIC_URL, then from
the flags. Where the file has no keys for the bucket, the AWS SDK's own variables, profile and roles count.
Sockets that systemd has opened (LISTEN_FDS) count before all of them: the one called \"ops\" for --ops-listen,
the other one for --listen.

--check --json prints {\"failed\": 0, \"findings\": [{\"check\": \"bucket\", \"outcome\": \"pass\"|\"note\"|\"fail\", \"detail\": …}, …]}.")]
pub(super) struct Args {
    /// The file with the settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Looks at settings, database and bucket, says what it finds, and exits
    #[arg(long)]
    check: bool,
    /// Print what the check finds as JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// Which part of the work this process does: server.role
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Address of the API and the images: server.listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address of /livez, /readyz and /metrics: `server.ops_listen`
    #[arg(long, value_name = "ADDR")]
    ops_listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let inherited = Inherited::take().map_err(Failure::failed)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(serve(args, inherited))
}

async fn serve(args: &Args, inherited: Inherited) -> Result<(), Failure> {
    let mut config = super::load(args.config.as_deref(), &[])?;
    config.server.role = args.role.unwrap_or(config.server.role);
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    config.server.ops_listen = args.ops_listen.unwrap_or(config.server.ops_listen);
    if let Some(socket) = &inherited.main {
        config.server.listen = socket.local_addr().map_err(Failure::failed)?;
    }
    require_production(&config)?;
    let tls = tls(&config)?;
    let place = place(&config)?;
    let settings = Settings::find(&config.bucket).await.map_err(Failure::usage)?;
    if args.check {
        return check::run(&config, &place, &settings, args.json).await;
    }

    let _lock = match &place {
        Place::Sqlite(path) => Some(ServerLock::take(path).map_err(Failure::failed)?),
        Place::Postgres(_) => None,
    };
    let store = Store::connect(&settings);
    store.ping().await.map_err(|error| bucket_failure(&settings, &error))?;
    let db = open(&place, &settings, &store).await?;
    let db = db.judged_by(&config.rules).await.map_err(|error| super::bad_rules(&error))?;
    let db = db.telling(config.edge.names());
    if config.server.role.controls() {
        warn_of_missing_cors(&store, &config.bucket.cors_origins).await;
        warn_of_versions(&store).await;
        if let Some(endpoint) = closed_endpoint(&config, &settings) {
            tracing::warn!("{}", no_page_reaches(endpoint));
        }
    }
    if config.auth.service_key_hashes.is_empty() && !has_service_key(&db).await? {
        tracing::warn!("{NO_SERVICE_KEY}");
    }

    let main = listen(inherited.main, "--listen", config.server.listen).await?;
    let ops_is_shared = inherited.ops.is_some();
    let ops = listen(inherited.ops, "--ops-listen", config.server.ops_listen).await?;
    if config.server.public_url.is_empty() {
        config.server.public_url = own_url(&config, &main)?;
    }
    let app = Arc::new(App::new(config, db.clone(), store, false).map_err(Failure::usage)?);
    app.issuer.begin(&app.identity).await.map_err(Failure::failed)?;
    let stop = run::stop_signal()?;
    run::outlive_hangup()?;
    announce(&app.config, &main, &ops)?;
    run::until(stop, app, Listeners { main, ops, ops_is_shared, tls }).await?;
    db.close().await;
    Ok(())
}

/// What an operator of an app without a backend may leave out.
const NO_SERVICE_KEY: &str = "there is no service key, so no backend can act for users or say who follows whom; \
    make one with: pinhole key add NAME";

async fn has_service_key(db: &Db) -> Result<bool, Failure> {
    let mut conn = db.read().await.map_err(Failure::failed)?;
    let keys = service_keys::list(&mut conn).await.map_err(Failure::failed)?;
    Ok(keys.iter().any(|key| key.retired_micros.is_none()))
}

/// Refuses what is good enough to try things on, and not for production.
pub(super) fn require_production(config: &Config) -> Result<(), Failure> {
    let server = &config.server;
    // Of several processes or machines, only the operator knows which one users see.
    let is_alone = server.role == Role::All && server.listen.ip().is_loopback();
    if server.public_url.is_empty() && !is_alone {
        return Err(Failure::usage(
            "server.public_url is not set: name the origin that users see, such as https://img.example.org",
        ));
    }
    if !server.is_public_url_safe() {
        return Err(Failure::usage(format!(
            "server.public_url {}: tokens and links would cross the network unencrypted; \
             use https://, with TLS ending here (server.tls) or at the proxy in front",
            server.public_url
        )));
    }
    Identity::new(config, false).map_err(Failure::usage)?;
    Issuer::new(&config.auth).map_err(Failure::usage)?;
    if config.links.keys.is_empty() && config.links.keys_file.is_none() {
        return Err(Failure::usage(
            "links.keys is not set: name a key as kid:secret; make the secret with: \
             head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =",
        ));
    }
    LinkKeys::load(&config.links).map_err(Failure::usage)?;
    catalogue::load(&config.transform).map_err(Failure::usage)?;
    Ok(())
}

/// Certificate and key of the settings, if they name any.
fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Failure> {
    let files = config.server.tls.files();
    let tls = files.map(|(certificate, key)| Tls::load(certificate, key).map(Arc::new));
    tls.transpose().map_err(Failure::usage)
}

/// The URL of the address that is listened on.
fn own_url(config: &Config, main: &tokio::net::TcpListener) -> Result<String, Failure> {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", address(main)?))
}

/// Opens the database at the schema that this program needs. A new SQLite file has one server and nothing
/// to lose, so it is set up at once; anywhere else a migration is the operator's to time, since other
/// nodes may be serving from the same database.
async fn open(place: &Place, settings: &Settings, store: &Store) -> Result<Db, Failure> {
    let db = super::open(place).await?;
    let schema = db.schema().await.map_err(Failure::failed)?;
    require_own_bucket(&db, place, settings, store).await?;
    match place {
        _ if schema.pending.is_empty() => {}
        Place::Sqlite(_) if schema.applied == 0 => {
            db.migrate().await.map_err(Failure::failed)?;
        }
        _ => return Err(Failure::failed(pending(place, &schema.pending))),
    }
    Ok(db)
}

/// A new ledger has no business on a bucket that has been served from: the old one is elsewhere, and this
/// one would take all that it knows for orphans.
pub(super) async fn require_own_bucket(
    db: &Db,
    place: &Place,
    settings: &Settings,
    store: &Store,
) -> Result<(), Failure> {
    let is_new = db.is_unused().await.map_err(Failure::failed)?;
    if is_new && store.is_in_use().await.map_err(|error| bucket_failure(settings, &error))? {
        return Err(Failure::failed(not_its_bucket(place, settings)));
    }
    Ok(())
}

/// What to say of a database that is not up to date.
pub(super) fn pending(place: &Place, names: &[String]) -> String {
    format!("{place}: pending migrations: {}; run pinhole migrate first", names.join(", "))
}

/// What to say of an empty database on a bucket that is not.
fn not_its_bucket(place: &Place, settings: &Settings) -> String {
    format!(
        "{place} is new, and {} already holds pinhole's objects; mend database.url, or name an empty bucket",
        bucket_name(settings)
    )
}

/// What is wrong with the bucket, and what to change.
pub(super) fn bucket_failure(settings: &Settings, error: &StoreError) -> Failure {
    Failure::failed(format!("{}: {error}; {}", bucket_name(settings), bucket_mend(error)))
}

/// What to change where the bucket answers so.
pub(super) fn bucket_mend(error: &StoreError) -> &'static str {
    match error {
        StoreError::NoBucket => "create it, which pinhole never does, or mend bucket.name",
        StoreError::Region => "mend bucket.region",
        StoreError::Denied(_) => "mend the keys, the bucket's policy, bucket.region or this machine's clock",
        StoreError::Credentials(_) => "set bucket.access_key_id, or what the AWS SDK looks for",
        _ => "mend bucket.endpoint, or start the server there",
    }
}

pub(super) fn bucket_name(settings: &Settings) -> String {
    let endpoint = settings.endpoint.as_deref().unwrap_or("Amazon S3");
    format!("bucket {} at {endpoint} ({})", settings.bucket, settings.region)
}

/// The configured origins whose pages the bucket would not let upload.
async fn locked_out<'a>(store: &Store, origins: &'a [String]) -> Result<Vec<&'a str>, StoreError> {
    let rules = if origins.is_empty() { Vec::new() } else { store.get_cors().await? };
    Ok(origins.iter().map(String::as_str).filter(|origin| !CorsRule::let_upload(&rules, origin)).collect())
}

/// Uploads through this server work without it, so that it is no reason not to start.
async fn warn_of_missing_cors(store: &Store, origins: &[String]) {
    match locked_out(store, origins).await {
        Ok(origins) if origins.is_empty() => {}
        Ok(origins) => tracing::warn!(
            "the bucket has no CORS rule that lets pages of {} upload to it; \
             pinhole serve --check prints what it needs",
            origins.join(", ")
        ),
        Err(error) => tracing::warn!("the bucket's CORS rules cannot be read: {error}"),
    }
}

/// What to say of a bucket that keeps what was deleted.
pub(super) const VERSIONS: &str = "versions keep what was deleted: suspend versioning, or expire noncurrent versions by a \
    lifecycle rule";

async fn warn_of_versions(store: &Store) {
    match store.keeps_versions().await {
        Ok(false) => {}
        Ok(true) => tracing::warn!("the bucket's {VERSIONS}"),
        Err(error) => tracing::warn!("whether the bucket keeps versions cannot be read: {error}"),
    }
}

/// The endpoint that uploads are granted for, if pages are to upload and none will get there: from a page
/// that came by https, browsers send nothing to plain http, and loopback is the viewer's own machine.
pub(super) fn closed_endpoint<'a>(config: &Config, settings: &'a Settings) -> Option<&'a str> {
    let endpoint = settings.public_endpoint.as_deref().or(settings.endpoint.as_deref())?;
    let is_needed =
        !config.bucket.cors_origins.is_empty() && config.server.public_url.starts_with("https://");
    let is_closed = endpoint.starts_with("http://") || is_loopback(endpoint);
    (is_needed && is_closed).then_some(endpoint)
}

pub(super) fn no_page_reaches(endpoint: &str) -> String {
    format!(
        "no page can upload to {endpoint}: name the bucket's https:// address, as browsers reach it, in \
         bucket.public_endpoint"
    )
}

/// One line, words of `key=value`, for people and scripts.
fn announce(
    config: &Config,
    main: &tokio::net::TcpListener,
    ops: &tokio::net::TcpListener,
) -> Result<(), Failure> {
    let line = format!(
        "pinhole serve is ready: listen={} ops=http://{} public_url={} role={}\n",
        own_url(config, main)?,
        address(ops)?,
        config.server.public_url,
        config.server.role.as_str(),
    );
    let mut out = std::io::stdout().lock();
    // Nobody reading along is no reason to stop.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    Ok(())
}
