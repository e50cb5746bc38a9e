//! `pinhole serve --check`: what a start would find, one line each. Nothing is changed.

use std::{fmt::Display, io::Write as _};

use super::{
    Failure, NO_SERVICE_KEY, VERSIONS, bucket_failure, bucket_name, closed_endpoint, has_service_key,
    locked_out, no_page_reaches, not_its_bucket, pending,
};
use crate::{
    app::keys::LinkKeys,
    config::{Config, Place},
    db::Schema,
    store::{CorsRule, Settings, Store},
};

/// The report under way.
#[derive(Default)]
struct Report {
    has_failed: bool,
}

impl Report {
    fn ok(what: &str, found: impl Display) {
        print("ok", what, &found);
    }

    fn note(what: &str, found: impl Display) {
        print("note", what, &found);
    }

    fn fail(&mut self, what: &str, found: impl Display) {
        self.has_failed = true;
        print("FAIL", what, &found);
    }
}

fn print(verdict: &str, what: &str, found: &dyn Display) {
    // Nobody reading along is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{verdict:<5} {what:<9} {found}");
}

/// Looks at everything, so that all that is wrong is said at once. The settings are known to be good.
pub(super) async fn run(config: &Config, place: &Place, settings: &Settings) -> Result<(), Failure> {
    let mut report = Report::default();
    let public_url = match config.server.public_url.as_str() {
        "" => "the address listened on",
        url => url,
    };
    let server = &config.server;
    Report::ok(
        "server",
        format_args!("{public_url}, role {}, listening on {}", server.role.as_str(), server.listen),
    );
    if let Some((certificate, key)) = server.tls.files() {
        Report::ok("tls", format_args!("certificate {}, key {}", certificate.display(), key.display()));
    }
    let keys = LinkKeys::load(&config.links).map_or(0, |keys| keys.ring().kids().count());
    Report::ok(
        "secrets",
        format_args!("link keys: {keys}; service keys: {}", config.auth.service_key_hashes.len()),
    );
    edge(config);
    let is_new = database(&mut report, place, config).await;
    let store = Store::connect(settings);
    if bucket(&mut report, settings, &store).await {
        if is_new {
            new_ledger(&mut report, place, settings, &store).await;
        }
        versions(&mut report, &store).await;
        cors(&mut report, config, settings, &store).await;
    }
    if report.has_failed {
        return Err(Failure::failed("the check failed: mend what the lines with FAIL say"));
    }
    Ok(())
}

/// What copies outside are told. An app without any edge needs none.
fn edge(config: &Config) {
    let names = config.edge.names();
    if names.is_empty() {
        return Report::note(
            "edge",
            "edge.targets is empty: a copy at an edge is shown until its time is over",
        );
    }
    Report::ok("edge", format_args!("purges go to {}", names.join(", ")));
    if !config.edge.probe.url.is_empty() {
        Report::ok("edge", format_args!("the probe asks {}", config.edge.probe.url));
    }
}

/// Whether the ledger is new: nothing was ever in it.
async fn database(report: &mut Report, place: &Place, config: &Config) -> bool {
    let mut has_key = !config.auth.service_key_hashes.is_empty();
    if let Place::Sqlite(path) = place
        && !path.exists()
    {
        Report::ok("database", format_args!("{place} is not there yet; the first start makes it"));
        service_keys(has_key);
        return true;
    }
    let db = match super::super::look_at(place).await {
        Ok(db) => db,
        Err(failure) => {
            report.fail("database", failure.message);
            return false;
        }
    };
    let schema = db.schema().await;
    let is_new = matches!(schema, Ok(Schema { applied: 0, .. }));
    match schema {
        Ok(Schema { pending: names, applied }) if names.is_empty() => {
            Report::ok("database", format_args!("{place}, migrations: {applied}, none pending"));
            has_key |= has_service_key(&db).await.unwrap_or(true);
            if let Err(error) = db.clone().judged_by(&config.rules).await {
                report.fail("rules", super::super::bad_rules(&error).message);
            }
        }
        Ok(Schema { applied: 0, .. }) if matches!(place, Place::Sqlite(_)) => {
            Report::ok("database", format_args!("{place} is empty; the first start sets it up"));
        }
        Ok(Schema { pending: names, .. }) => report.fail("database", pending(place, &names)),
        Err(error) => report.fail("database", format_args!("{place}: {error}")),
    }
    db.close().await;
    service_keys(has_key);
    is_new
}

/// An app may have no backend; more often its operator forgot the key.
fn service_keys(has_key: bool) {
    if !has_key {
        Report::note("secrets", NO_SERVICE_KEY);
    }
}

/// Whether the bucket lets us in.
async fn bucket(report: &mut Report, settings: &Settings, store: &Store) -> bool {
    let found = store.ping().await;
    match &found {
        Ok(()) => Report::ok("bucket", bucket_name(settings)),
        Err(error) => report.fail("bucket", bucket_failure(settings, error).message),
    }
    found.is_ok()
}

async fn new_ledger(report: &mut Report, place: &Place, settings: &Settings, store: &Store) {
    match store.is_in_use().await {
        Ok(false) => {}
        Ok(true) => report.fail("database", not_its_bucket(place, settings)),
        Err(error) => report.fail("bucket", bucket_failure(settings, &error).message),
    }
}

async fn versions(report: &mut Report, store: &Store) {
    match store.keeps_versions().await {
        Ok(false) => Report::ok("versions", "none are kept of what is deleted"),
        Ok(true) => report.fail("versions", VERSIONS),
        Err(error) => {
            Report::note("versions", format_args!("it cannot be read whether they are kept ({error})"));
        }
    }
}

async fn cors(report: &mut Report, config: &Config, settings: &Settings, store: &Store) {
    let origins = &config.bucket.cors_origins;
    if origins.is_empty() {
        return Report::note(
            "cors",
            "bucket.cors_origins is empty: no web page may upload straight to the bucket",
        );
    }
    Report::note("cors", format_args!("needed: {}", CorsRule::document(origins)));
    if let Some(endpoint) = closed_endpoint(config, settings) {
        report.fail("cors", no_page_reaches(endpoint));
    }
    match locked_out(store, origins).await {
        Ok(locked) if locked.is_empty() => {
            Report::ok("cors", format_args!("pages of {} may upload", origins.join(", ")));
        }
        Ok(locked) => report.fail(
            "cors",
            format_args!(
                "pages of {} may not upload: add the rules above to the bucket's own, such as with \
                 aws s3api put-bucket-cors --bucket {} --cors-configuration file://cors.json",
                locked.join(", "),
                settings.bucket
            ),
        ),
        Err(error) => Report::note(
            "cors",
            format_args!("the bucket's rules cannot be read ({error}): compare them with the rules above"),
        ),
    }
}
