//! The embedded bucket of a data folder, served as long as a command needs it.

use std::time::Duration;

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    super::{Failure, run::address},
    data,
};
use crate::{
    server::Limits,
    store::{self, Credentials, Store, embedded},
};

/// The bucket's name and the name of its only key.
pub(super) const NAME: &str = "pinhole";
pub(super) const ACCESS_KEY_ID: &str = "pinhole-dev";
/// How long one operation on it may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A bucket that is being served.
pub(in crate::cli) struct Bucket {
    /// Where, as `http://…`.
    pub(super) url: String,
    /// A client of it.
    pub(in crate::cli) store: Store,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Bucket {
    /// Serves the folder's bucket on this listener. The bucket itself is made by
    /// [`Store::ensure_bucket`], if need be.
    pub(in crate::cli) fn serve(
        data: &data::Dir,
        listener: TcpListener,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let url = format!("http://{}", address(&listener)?);
        let secret_key = &data.secrets().s3_secret_key;
        let server =
            embedded::Server::open(&data.bucket(), ACCESS_KEY_ID, secret_key).map_err(Failure::failed)?;
        let (stop, stops) = watch::channel(false);
        let ended = tokio::spawn(server.serve(listener, limits, stops));
        let store = Store::connect(&store::Settings {
            endpoint: Some(url.clone()),
            public_endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: NAME.to_owned(),
            credentials: Credentials::keys(ACCESS_KEY_ID, secret_key, None),
            force_path_style: true,
            operation_timeout: TIMEOUT,
        });
        Ok(Self { url, store, stop, ended })
    }

    /// Lets the requests under way end; the folder is free when this returns.
    pub(in crate::cli) async fn stop(self) {
        // An error means that nobody listens any more, which is what is wanted.
        let _ = self.stop.send(true);
        let _ = self.ended.await;
    }
}
