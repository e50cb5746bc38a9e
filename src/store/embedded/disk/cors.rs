//! A bucket's CORS rules, kept as JSON under `cors/BUCKET`.

use std::{fs, io, io::Write};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Disk, DiskError, bucket_folder, sync_folder};

/// A rule of a bucket's CORS configuration.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsRule {
    pub(crate) id: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) exposed: Vec<String>,
    pub(crate) max_age_secs: Option<i32>,
}

impl Disk {
    /// The bucket's rules, in order; none unless it was told some.
    pub(crate) fn cors(&self, bucket: &str) -> Result<Vec<CorsRule>, DiskError> {
        self.check_bucket(bucket)?;
        let path = bucket_folder(&self.cors, bucket)?;
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(e) => Err(e.into()),
            Ok(json) => serde_json::from_slice(&json).map_err(|_| DiskError::Damaged(path)),
        }
    }

    /// Replaces the bucket's rules, in one step and durably.
    pub(crate) fn put_cors(&self, bucket: &str, rules: &[CorsRule]) -> Result<(), DiskError> {
        self.check_bucket(bucket)?;
        let mut file = NamedTempFile::new_in(&self.tmp)?;
        file.write_all(&serde_json::to_vec(rules).map_err(io::Error::from)?)?;
        file.as_file().sync_all()?;
        file.persist(bucket_folder(&self.cors, bucket)?).map_err(|e| e.error)?;
        sync_folder(&self.cors)?;
        Ok(())
    }
}
