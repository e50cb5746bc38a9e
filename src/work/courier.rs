//! Sends purges to edges, and says what came of each: for the outbox, and for whoever tries an edge by hand.

use std::time::Duration;

use tokio::{sync::OnceCell, time::Instant};

use crate::{
    clock,
    config::edge::Cloudfront,
    db::outbox::PurgeRow,
    fetch::Fetcher,
    purge::{MAX_ANSWER_BYTES, Target, Verdict},
    store,
};

/// Who brings purges to edges.
#[derive(Debug)]
pub struct Courier {
    fetcher: Fetcher,
    /// What the AWS SDK's chain finds, once somebody needs it.
    chain: OnceCell<store::Credentials>,
}

impl Courier {
    /// One that sends by this client.
    pub fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, chain: OnceCell::new() }
    }

    /// Has an edge forget these images, no more than [`Target::images_per_request`], within `patience`.
    pub async fn send(&self, target: &Target, purges: &[PurgeRow], patience: Duration) -> Verdict {
        let begun = Instant::now();
        let credentials = match target.aws_keys() {
            None => None,
            Some(keys) => match tokio::time::timeout(patience, self.credentials(keys)).await {
                Ok(Ok(found)) => Some(found),
                Ok(Err(error)) => return Verdict::Failed(error, None),
                Err(_) => return Verdict::Failed("no credentials were found in time".to_owned(), None),
            },
        };
        let request = match target.request(purges, clock::now_micros(), credentials) {
            Ok(request) => request,
            Err(error) => return Verdict::Failed(error.to_string(), None),
        };
        let left = patience.saturating_sub(begun.elapsed());
        match self.fetcher.send(request, MAX_ANSWER_BYTES, left).await {
            Ok(answer) => target.judge(&answer),
            Err(error) => Verdict::Failed(error.to_string(), None),
        }
    }

    /// The keys of the settings, or what the SDK's chain finds.
    async fn credentials(&self, keys: &Cloudfront) -> Result<aws_credential_types::Credentials, String> {
        if !keys.access_key_id.is_empty() {
            let token = Some(keys.session_token.expose().to_owned()).filter(|token| !token.is_empty());
            let (id, secret) = (&keys.access_key_id, keys.secret_access_key.expose());
            return Ok(aws_credential_types::Credentials::new(id, secret, token, None, "pinhole settings"));
        }
        let none = || "the AWS SDK found no credentials: set access_key_id and secret_access_key".to_owned();
        let load = || async { store::Credentials::chain().await.ok_or_else(none) };
        let chain = self.chain.get_or_try_init(load).await?;
        chain.current(clock::now_micros()).await.map_err(|error| error.to_string())
    }
}
