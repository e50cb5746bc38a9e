//! The ledger and the bucket that a command works on: those of the settings, or of a `pinhole dev` that is stopped.

use std::{net::Ipv4Addr, path::PathBuf};

use super::{Failure, dev, place, require_there, run as serving, serve};
use crate::{
    config::{Config, Place},
    db::Db,
    store::{Settings, Store},
};

/// Which ledger and which bucket.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The file with the settings (TOML); of a server, it is the same that the server has
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// Instead, the folder of a `pinhole dev` that is stopped
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

/// What a command works on, the ledger at the schema of this program.
pub(super) struct Pair {
    /// The settings, from file and environment.
    pub(super) config: Config,
    /// The ledger; it is closed when the command is done.
    pub(super) db: Db,
    /// The bucket.
    pub(super) store: Store,
    /// Where the bucket is; `None` of a folder's own.
    pub(super) bucket: Option<Settings>,
}

impl Where {
    /// The settings alone.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        super::load(self.config.as_deref(), &[])
    }

    /// Does something with both. To look at them only, the ledger is opened such that nothing can change it. A SQLite
    /// file may have its server meanwhile; a folder is locked, and its bucket served for so long.
    pub(super) fn with(
        &self,
        looks_only: bool,
        act: impl AsyncFnOnce(&Pair) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let config = self.config()?;
        let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
        let done = runtime.block_on(self.work(config, looks_only, act));
        // A picture that is being decoded for nobody any more is not waited for.
        runtime.shutdown_background();
        done
    }

    async fn work(
        &self,
        config: Config,
        looks_only: bool,
        act: impl AsyncFnOnce(&Pair) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match &self.data {
            None => {
                let place = place(&config)?;
                let settings = Settings::find(&config.bucket).await.map_err(Failure::usage)?;
                // A new ledger would know nothing of what is in the bucket.
                require_there(&place)?;
                let store = Store::connect(&settings);
                store.ping().await.map_err(|error| serve::bucket_failure(&settings, &error))?;
                self.act(&place, looks_only, config, store, Some(settings), act).await
            }
            Some(folder) => {
                let data = dev::data::Dir::open_existing(folder).map_err(Failure::failed)?;
                let listener = serving::bind("the bucket", (Ipv4Addr::LOCALHOST, 0).into()).await?;
                let bucket = dev::Bucket::serve(&data, listener, serving::limits(&config.server))?;
                let (place, store) = (Place::Sqlite(data.database()), bucket.store.clone());
                let done = self.act(&place, looks_only, config, store, None, act).await;
                bucket.stop().await;
                done
            }
        }
    }

    async fn act(
        &self,
        place: &Place,
        looks_only: bool,
        config: Config,
        store: Store,
        bucket: Option<Settings>,
        act: impl AsyncFnOnce(&Pair) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let db = if looks_only { super::look_at(place).await? } else { super::open(place).await? };
        let done = async {
            let schema = db.schema().await.map_err(|error| Failure::failed(format!("{place}: {error}")))?;
            if !schema.pending.is_empty() {
                return Err(Failure::failed(match self.data {
                    Some(_) => {
                        format!("{place}: older than this program; start pinhole dev with this folder once")
                    }
                    None => serve::pending(place, &schema.pending),
                }));
            }
            if let Some(settings) = &bucket {
                serve::require_own_bucket(&db, place, settings, &store).await?;
            }
            let db = db.clone().judged_by(&config.rules).await.map_err(|error| super::bad_rules(&error))?;
            let db = db.telling(config.edge.names());
            act(&Pair { config, db, store, bucket }).await
        };
        let done = done.await;
        db.close().await;
        done
    }
}
