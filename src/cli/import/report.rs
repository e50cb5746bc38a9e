//! What came of an import: a line of JSON for each file, and a summary of all.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::{
    cli::{Failure, say},
    db::imports::End,
    id::{ImageId, UserId},
    import::{Line, Outcome, Tally},
};

/// A file with a line for each file that was looked at. Each line is written whole when it is known, so that the file
/// is of use wherever the run ends; a later run writes it anew, with all that are known.
pub(super) struct Report<'a> {
    file: Option<File>,
    public_url: &'a str,
}

#[derive(Serialize)]
struct Entry<'a> {
    path: &'a str,
    owner: Option<&'a UserId>,
    image_id: Option<ImageId>,
    /// Of the original; whoever asks for it must have a right of his own.
    url: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<ImageId>,
}

impl<'a> Report<'a> {
    /// Begins a report, if one is wanted.
    pub(super) fn open(path: Option<&Path>, public_url: &'a str) -> Result<Self, (PathBuf, io::Error)> {
        let file = path.map(|path| File::create(path).map_err(|error| (path.to_owned(), error)));
        Ok(Self { file: file.transpose()?, public_url })
    }

    /// Writes what came of one file.
    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let (image_id, outcome, why, replaces) = match &line.outcome {
            Outcome::Imported { image, replaces } => (*image, "imported", None, *replaces),
            Outcome::Known { image } => (Some(*image), "known", None, None),
            Outcome::Gone(End::Expired) => {
                (None, "expired", Some("nothing used its image in time; --again imports it anew"), None)
            }
            Outcome::Gone(End::Deleted) => {
                (None, "deleted", Some("its image was deleted since; --again-deleted imports it anew"), None)
            }
            Outcome::Refused { why, .. } => (None, "refused", Some(&**why), None),
        };
        let url = image_id.map(|image| format!("{}/i/{image}/original", self.public_url));
        let entry =
            Entry { path: &line.path, owner: line.owner.as_ref(), image_id, url, outcome, why, replaces };
        let mut text = serde_json::to_vec(&entry)?;
        text.push(b'\n');
        // In one write, so that whoever kills the program leaves whole lines.
        file.write_all(&text)
    }
}

/// How an import ended.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ended {
    /// What was brought in.
    pub(super) source: String,
    /// Whether it was only looked.
    pub(super) dry_run: bool,
    /// Whether it was stopped before its end.
    pub(super) interrupted: bool,
    /// How many files there are; not counted in a dry run, whose tally has them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<u64>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<f64>,
    /// What came of the files.
    #[serde(flatten)]
    pub(super) tally: Tally,
}

impl Ended {
    /// Prints the summary.
    pub(super) fn print(&self, is_json: bool, keep: Duration) -> Result<(), Failure> {
        let text = if is_json {
            format!("{}\n", serde_json::to_string(self).map_err(Failure::failed)?)
        } else {
            self.text(keep)
        };
        say::report(text)
    }

    fn text(&self, keep: Duration) -> String {
        let Tally {
            imported,
            imported_bytes,
            changed,
            known,
            deleted,
            expired,
            refused,
            no_pictures,
            passed,
        } = self.tally;
        let mib = imported_bytes.div_ceil(1 << 20);
        let again = if deleted > 0 { " (not brought back; --again-deleted does)" } else { "" };
        let rest = format!(
            "known already: {known}; deleted since: {deleted}{again}; expired: {expired}; refused: {refused}; no pictures: {no_pictures}; \
             hidden or links, passed over: {passed}\n"
        );
        if self.dry_run {
            return format!(
                "would be imported: {imported} files, {mib} MiB, of which {changed} have changed since they came in\n\
                 {rest}dry run: no file was read, and nothing was changed\n"
            );
        }
        let keep = humantime::format_duration(Duration::from_secs(keep.as_secs()));
        let verified =
            if imported > 0 { "; each was read back from the bucket, and has its hash" } else { "" };
        format!(
            "imported: {imported} pictures, {mib} MiB{}, of which {changed} have changed since they came in{verified}\n\
             {rest}kept for {keep} from now unless the app attaches them\n",
            self.pace()
        )
    }

    fn pace(&self) -> String {
        match self.seconds {
            Some(seconds) if self.tally.imported > 0 && seconds > 0.0 => {
                let imported = f64::from(u32::try_from(self.tally.imported).unwrap_or(u32::MAX));
                format!(" in {seconds:.1} s, {:.1} a second", imported / seconds)
            }
            _ => String::new(),
        }
    }
}
