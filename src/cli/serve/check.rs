//! `pinhole serve --check`: what a start would find, one line each. Nothing is changed.

use std::fmt::Display;

use serde::Serialize;

use super::{
    Failure, NO_SERVICE_KEY, VERSIONS, bucket_failure, bucket_name, closed_endpoint, has_service_key,
    locked_out, no_page_reaches, not_its_bucket, pending,
};
use crate::{
    app::keys::LinkKeys,
    cli::say,
    config::{Config, Place},
    db::Schema,
    store::{CorsRule, Settings, Store},
};

/// The report under way: each line as it is found, or all of it as JSON in the end.
#[derive(Serialize)]
struct Report {
    #[serde(skip)]
    as_json: bool,
    /// How many checks have failed.
    failed: usize,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    outcome: Outcome,
    /// What was found, and what to mend.
    detail: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Pass,
    Note,
    Fail,
}

impl Report {
    fn ok(&mut self, check: &'static str, found: impl Display) {
        self.write(Outcome::Pass, check, &found);
    }

    fn note(&mut self, check: &'static str, found: impl Display) {
        self.write(Outcome::Note, check, &found);
    }

    fn fail(&mut self, check: &'static str, found: impl Display) {
        self.failed += 1;
        self.write(Outcome::Fail, check, &found);
    }

    fn write(&mut self, outcome: Outcome, check: &'static str, found: &dyn Display) {
        let detail = say::one_line(found);
        if !self.as_json {
            let (style, verdict) = match outcome {
                Outcome::Pass => (say::GOOD, "ok"),
                Outcome::Note => (say::NOTE, "note"),
                Outcome::Fail => (say::BAD, "FAIL"),
            };
            say::print(format!("{style}{verdict:<5}{style:#} {check:<9} {detail}\n"));
        }
        self.findings.push(Finding { check, outcome, detail });
    }
}

/// Looks at everything, so that all that is wrong is said at once. The settings are known to be good.
pub(super) async fn run(
    config: &Config,
    place: &Place,
    settings: &Settings,
    as_json: bool,
) -> Result<(), Failure> {
    let mut report = Report { as_json, failed: 0, findings: Vec::new() };
    let public_url = match config.server.public_url.as_str() {
        "" => "the address listened on",
        url => url,
    };
    let server = &config.server;
    report.ok(
        "server",
        format_args!("{public_url}, role {}, listening on {}", server.role.as_str(), server.listen),
    );
    if let Some((certificate, key)) = server.tls.files() {
        report.ok("tls", format_args!("certificate {}, key {}", certificate.display(), key.display()));
    }
    let keys = LinkKeys::load(&config.links).map_or(0, |keys| keys.ring().kids().count());
    report.ok(
        "secrets",
        format_args!("link keys: {keys}; service keys: {}", config.auth.service_key_hashes.len()),
    );
    edge(&mut report, config);
    let is_new = database(&mut report, place, config).await;
    let store = Store::connect(settings);
    if bucket(&mut report, settings, &store).await {
        if is_new {
            new_ledger(&mut report, place, settings, &store).await;
        }
        versions(&mut report, &store).await;
        cors(&mut report, config, settings, &store).await;
    }
    if as_json {
        say::print(say::json(&report)?);
    }
    match report.failed {
        0 => Ok(()),
        _ if as_json => Err(Failure::failed("the check failed: mend what the findings that fail say")),
        _ => Err(Failure::failed("the check failed: mend what the lines with FAIL say")),
    }
}

/// What copies outside are told. An app without any edge needs none.
fn edge(report: &mut Report, config: &Config) {
    let names = config.edge.names();
    if names.is_empty() {
        return report
            .note("edge", "edge.targets is empty: a copy at an edge is shown until its time is over");
    }
    report.ok("edge", format_args!("purges go to {}", names.join(", ")));
    if !config.edge.probe.url.is_empty() {
        report.ok("edge", format_args!("the probe asks {}", config.edge.probe.url));
    }
}

/// Whether the ledger is new: nothing was ever in it.
async fn database(report: &mut Report, place: &Place, config: &Config) -> bool {
    let mut has_key = !config.auth.service_key_hashes.is_empty();
    if let Place::Sqlite(path) = place
        && !path.exists()
    {
        // Of a name alone the folder is the one that is worked in.
        if path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
            report.ok("database", format_args!("{place} is not there yet; the first start makes it"));
        } else {
            report.fail(
                "database",
                format_args!("{place}: its folder is not there; make it, or mend database.url"),
            );
        }
        service_keys(report, has_key);
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
    let is_new = db.is_unused().await.unwrap_or(false);
    match schema {
        Ok(Schema { pending: names, applied }) if names.is_empty() => {
            report.ok("database", format_args!("{place}, migrations: {applied}, none pending"));
            has_key |= has_service_key(&db).await.unwrap_or(true);
            if let Err(error) = db.clone().judged_by(&config.rules).await {
                report.fail("rules", super::super::bad_rules(&error).message);
            }
        }
        Ok(Schema { applied: 0, .. }) if matches!(place, Place::Sqlite(_)) => {
            report.ok("database", format_args!("{place} is empty; the first start sets it up"));
        }
        Ok(Schema { pending: names, .. }) => report.fail("database", pending(place, &names)),
        Err(error) => report.fail("database", format_args!("{place}: {error}")),
    }
    db.close().await;
    service_keys(report, has_key);
    is_new
}

/// An app may have no backend; more often its operator forgot the key.
fn service_keys(report: &mut Report, has_key: bool) {
    if !has_key {
        report.note("secrets", NO_SERVICE_KEY);
    }
}

/// Whether the bucket lets us in.
async fn bucket(report: &mut Report, settings: &Settings, store: &Store) -> bool {
    let found = store.ping().await;
    match &found {
        Ok(()) => report.ok("bucket", bucket_name(settings)),
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
        Ok(false) => report.ok("versions", "none are kept of what is deleted"),
        Ok(true) => report.fail("versions", VERSIONS),
        Err(error) => {
            report.note("versions", format_args!("it cannot be read whether they are kept ({error})"));
        }
    }
}

async fn cors(report: &mut Report, config: &Config, settings: &Settings, store: &Store) {
    let origins = &config.bucket.cors_origins;
    if origins.is_empty() {
        return report
            .note("cors", "bucket.cors_origins is empty: no web page may upload straight to the bucket");
    }
    report.note("cors", format_args!("needed: {}", CorsRule::document(origins)));
    if let Some(endpoint) = closed_endpoint(config, settings) {
        report.fail("cors", no_page_reaches(endpoint));
    }
    match locked_out(store, origins).await {
        Ok(locked) if locked.is_empty() => {
            report.ok("cors", format_args!("pages of {} may upload", origins.join(", ")));
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
        Err(error) => report.note(
            "cors",
            format_args!("the bucket's rules cannot be read ({error}): compare them with the rules above"),
        ),
    }
}
