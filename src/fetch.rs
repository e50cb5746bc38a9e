//! Asking other servers by HTTP(S), within bounds: small documents, small requests, small answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::time::timeout;

/// How long it waits for a whole document.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection that nobody uses is kept for the next request.
const KEEP: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum FetchError {
    /// It is not at that address.
    #[error("it answers with {0}")]
    Status(StatusCode),
    /// It took too long.
    #[error("there was no answer within {:.0} s", .0.as_secs_f64())]
    Timeout(Duration),
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

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Fetcher {
    /// A client that trusts the certificates that this system trusts. Of connections that nobody uses it keeps
    /// so many to each host.
    pub fn new(idle_per_host: usize) -> Result<Self, FetchError> {
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP)
            .pool_max_idle_per_host(idle_per_host)
            .build(connector);
        Ok(Self { client })
    }

    /// A document of at most `max_bytes`. Redirects are not followed: the settings name where it is.
    pub async fn get(&self, url: &Uri, max_bytes: usize) -> Result<Bytes, FetchError> {
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(Bytes::new())?;
        let response = self.send(request, max_bytes, PATIENCE).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(FetchError::Status(status)),
        }
    }

    /// Whatever is answered to a request, with a body of at most `max_bytes`. Redirects are not followed.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        max_bytes: usize,
        patience: Duration,
    ) -> Result<Response<Bytes>, FetchError> {
        let whole = async {
            let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, max_bytes).collect().await.map_err(FetchError::Body)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(patience, whole).await.map_err(|_| FetchError::Timeout(patience))?
    }

    /// The status that a request is answered with; what would follow is not read.
    pub async fn status(
        &self,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<StatusCode, FetchError> {
        let head = timeout(patience, self.client.request(request.map(Full::new))).await;
        Ok(head.map_err(|_| FetchError::Timeout(patience))??.status())
    }
}
