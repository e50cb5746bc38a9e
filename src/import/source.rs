//! What is brought in: the files of a folder, or the objects of somebody else's bucket, as they lie there.

use tokio::sync::mpsc::{self, Receiver};

use super::{
    bucket,
    file::{File, Found, Place, Read, ReadError, Reading, SourceError},
    folder,
};

/// How many files are found ahead of those that are taken in.
const FOUND_AHEAD: usize = 1000;

/// Where files are brought in from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder on this machine.
    Folder(folder::Folder),
    /// A bucket.
    Bucket(bucket::Prefix),
}

impl Source {
    /// What the ledger calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Folder(folder) => folder.name(),
            Self::Bucket(prefix) => prefix.name(),
        }
    }

    /// Walks it, in an order that is the same as long as it is. The walk ends when nobody takes what it finds.
    pub(super) fn walk(&self) -> Receiver<Result<Found, SourceError>> {
        let (found, finding) = mpsc::channel(FOUND_AHEAD);
        match self.clone() {
            Self::Folder(folder) => drop(tokio::task::spawn_blocking(move || folder.walk(&found))),
            Self::Bucket(prefix) => drop(tokio::spawn(async move { prefix.walk(&found).await })),
        }
        finding
    }

    /// Reads a file to a temporary one, with room for so many bytes.
    pub async fn read(&self, file: &File, max_bytes: u64) -> Result<Read, ReadError> {
        let reading = Reading::start(max_bytes).await?;
        match (&file.place, self) {
            (Place::Path(path, seen), _) => folder::read(path, *seen, &file.version, reading).await,
            (Place::Object(listed), Self::Bucket(prefix)) => prefix.read(listed, reading).await,
            (Place::Object(_), Self::Folder(_)) => Err(ReadError::Refused("it lies elsewhere".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test]
    async fn what_was_put_in_a_files_place_is_not_read() {
        let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["linked.jpg", "swapped.jpg", "below/a.jpg", "left.jpg"] {
            for folder in [&ours, &others] {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, b"twelve bytes").unwrap();
            }
        }
        let source = Source::Folder(folder::Folder::open(ours.path(), &[]).unwrap());
        let mut files = Vec::new();
        let mut walk = source.walk();
        while let Some(found) = walk.recv().await {
            let Found::File(file) = found.unwrap() else { panic!("a file") };
            files.push(file);
        }
        let (at, there) = (|name| ours.path().join(name), |name| others.path().join(name));
        fs::remove_file(at("linked.jpg")).unwrap();
        symlink(there("linked.jpg"), at("linked.jpg")).unwrap();
        fs::rename(there("swapped.jpg"), at("swapped.jpg")).unwrap();
        fs::rename(at("below"), at("was-below")).unwrap();
        symlink(there("below"), at("below")).unwrap();

        assert_eq!(files.len(), 4);
        for file in files {
            let read = source.read(&file, 1000).await;
            assert_eq!(read.is_ok(), file.path == "left.jpg", "{}", file.path);
        }
    }
}
