//! Fetching small documents from other servers by HTTP(S), within bounds.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use thiserror::Error;
use tokio::time::timeout;

/// How long it waits for a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no document.
#[derive(Debug, Error)]
pub enum FetchError {
    /// It is not at that address.
    #[error("it answers with {0}")]
    Status(StatusCode),
    /// It took too long.
    #[error("there was no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// It is too large, or broke off.
    #[error("its body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The server could not be reached.
    #[error("{}", with_causes(.0))]
    Connect(#[from] hyper_util::client::legacy::Error),
    /// The request could not be made.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The system's certificates could not be read.
    #[error("the system's certificates: {0}")]
    Roots(#[from] std::io::Error),
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A client, which keeps no connection for long; cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// A client that trusts the certificates that this system trusts.
    pub fn new() -> Result<Self, FetchError> {
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) })
    }

    /// A document of at most `max_bytes`. Redirects are not followed: the settings name where it is.
    pub async fn get(&self, url: &Uri, max_bytes: usize) -> Result<Bytes, FetchError> {
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(Empty::new())?;
        let whole = async {
            let response = self.client.request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), max_bytes);
            Ok(body.collect().await.map_err(FetchError::Body)?.to_bytes())
        };
        timeout(PATIENCE, whole).await.map_err(|_| FetchError::Timeout)?
    }
}
