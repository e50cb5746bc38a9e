//! Which settings a command that needs no server goes by: a file's, or those of a `pinhole dev`.

use std::path::{Path, PathBuf};

use super::{Failure, dev::data};
use crate::config::{Config, Secret};

/// Where `pinhole dev` keeps its data unless told otherwise.
const DEV_DATA: &str = "./pinhole-data";

/// The flags that say so.
#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The file with the settings (TOML)
    #[arg(long, value_name = "FILE", conflicts_with = "data", global = true)]
    config: Option<PathBuf>,
    /// Instead, the folder of a `pinhole dev`, which may be running; ./pinhole-data where there are no other settings
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl From {
    /// Reads them.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let config = super::load(self.config.as_deref(), &[])?;
        let has_settings = config.auth.jwt_secret != Secret::default()
            || !config.links.keys.is_empty()
            || config.links.keys_file.is_some()
            || config.database.url != Secret::default()
            || config.auth.jwks_url.is_some()
            || config.auth.jwks_file.is_some();
        match &self.data {
            Some(folder) => of_dev(config, folder),
            None if self.config.is_none() && !has_settings && Path::new(DEV_DATA).is_dir() => {
                of_dev(config, Path::new(DEV_DATA))
            }
            None => Ok(config),
        }
    }
}

fn of_dev(mut config: Config, folder: &Path) -> Result<Config, Failure> {
    let secrets = data::Secrets::read(folder).map_err(Failure::failed)?;
    config.database.url = Secret::new(format!("sqlite:{}", data::database_path(folder).display()));
    if config.auth.jwt_secret == Secret::default() {
        config.auth.jwt_secret = secrets.jwt_secret;
    }
    if config.links.keys.is_empty() && config.links.keys_file.is_none() {
        config.links.keys = vec![secrets.link_key];
    }
    Ok(config)
}
