//! Grants: what lets a client send one object straight to the bucket, and nothing else.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::{
    Client,
    config::Credentials as Signing,
    presigning::{PresignedRequest, PresigningConfig},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Object, Store, StoreError,
    post_policy::{self, Signer, Terms},
};
use crate::clock;

/// A form that a client may send: `multipart/form-data` with exactly these
/// fields, and then the bytes as `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostGrant {
    /// Where the form goes.
    pub url: String,
    /// Every field but `file`, which comes last: S3 ignores what follows it.
    pub fields: BTreeMap<&'static str, String>,
    /// When it expires, in microseconds since the Unix epoch.
    pub expires_micros: i64,
}

/// A PUT that a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutGrant {
    /// Where the bytes go.
    pub url: String,
    /// The headers that the client must set itself. `Content-Length` is signed
    /// too but never among them: every client sends it, and a browser lets no
    /// script set it.
    pub headers: BTreeMap<&'static str, String>,
    /// When it expires, in microseconds since the Unix epoch.
    pub expires_micros: i64,
}

impl Store {
    /// Lets whoever holds the result POST this object, with exactly `size` bytes
    /// and its own type, as often as he likes until it expires. Nothing is sent.
    /// It dies with the temporary credentials that signed it, if that is sooner.
    ///
    /// AWS, Garage and the embedded server enforce all of it; Garage lets no form
    /// live for more than a day, whatever its expiry says. R2 takes no forms:
    /// use [`Store::presign_put`] there
    /// (<https://developers.cloudflare.com/r2/api/s3/presigned-urls/>).
    pub async fn presign_post(
        &self,
        object: &Object,
        size: u64,
        expires_in: Duration,
        now_micros: i64,
    ) -> Result<PostGrant, StoreError> {
        check_grantable(object)?;
        let url = self.form_url.get_or_try_init(|| self.url(&self.public)).await?.clone();
        let credentials = self.settings.credentials.current(now_micros).await?;
        let expires_in = within(expires_in, &credentials, now_micros)?;
        let signer = Signer {
            access_key_id: credentials.access_key_id(),
            secret_access_key: credentials.secret_access_key(),
            session_token: credentials.session_token(),
            region: &self.settings.region,
        };
        let terms = Terms {
            bucket: &self.settings.bucket,
            key: &object.key(),
            content_type: object.content_type(),
            size,
            expires_in,
            now_micros,
        };
        let fields = post_policy::fields(&signer, &terms);
        Ok(PostGrant { url, fields, expires_micros: clock::after(now_micros, expires_in.as_secs()) })
    }

    /// Lets whoever holds the result PUT this object, with exactly `size` bytes
    /// and its own type, and the given SHA-256 if there is one, as often as he
    /// likes until it expires (seven days at most), or with the temporary
    /// credentials that signed it. Nothing is sent.
    ///
    /// Length and type are signed headers, so a request with others has another
    /// signature: that holds wherever `SigV4` does. The checksum is a signed
    /// header as well, which the bucket compares with the bytes.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    pub async fn presign_put(
        &self,
        object: &Object,
        size: u64,
        sha256: Option<[u8; 32]>,
        expires_in: Duration,
        now_micros: i64,
    ) -> Result<PutGrant, StoreError> {
        check_grantable(object)?;
        let length = i64::try_from(size).map_err(unsignable)?;
        // Should the SDK be given newer ones a moment later, they live the longer.
        let credentials = self.settings.credentials.current(now_micros).await?;
        let expires_in = within(expires_in, &credentials, now_micros)?;
        let key = object.key();
        let request = self
            .public
            .put_object()
            .bucket(&self.settings.bucket)
            .key(&key)
            .content_length(length)
            .content_type(object.content_type())
            .set_checksum_sha256(sha256.map(|sum| STANDARD.encode(sum)));
        let signed = request.presigned(lifetime(expires_in, now_micros)?).await;
        let signed = signed.map_err(|e| StoreError::from_sdk(&e, &key))?;
        Ok(PutGrant {
            url: signed.uri().to_owned(),
            headers: to_send(&signed)?,
            expires_micros: clock::after(now_micros, expires_in.as_secs()),
        })
    }

    /// The bucket's own URL, as pinhole reaches it and as clients do, without a trailing slash. Nothing is sent.
    pub async fn urls(&self) -> Result<[String; 2], StoreError> {
        Ok([self.url(&self.client).await?, self.url(&self.public).await?])
    }

    /// The bucket's own URL, where forms go. The SDK knows it (path or host style, a region's partition, names
    /// that fit no host), so it is cut out of a URL that the SDK made.
    async fn url(&self, client: &Client) -> Result<String, StoreError> {
        const KEY: &str = "/k";
        let request = client.head_object().bucket(&self.settings.bucket).key(&KEY[1..]);
        let signed = request.presigned(lifetime(Duration::from_secs(1), 0)?).await;
        let signed = signed.map_err(|e| StoreError::from_sdk(&e, KEY))?;
        let url = signed.uri().split_once('?').and_then(|(url, _)| url.strip_suffix(KEY));
        url.map(str::to_owned).ok_or_else(|| unsignable("the SDK's URL has another form"))
    }
}

/// No client ever holds the right to write where something is published.
fn check_grantable(object: &Object) -> Result<(), StoreError> {
    match object {
        Object::Incoming { .. } => Ok(()),
        Object::Raw { .. } | Object::Original { .. } | Object::Master { .. } | Object::Variant { .. } => {
            Err(unsignable("clients write under incoming/ alone"))
        }
    }
}

/// The lifetime that was asked for, or the whole seconds that the credentials still have.
fn within(expires_in: Duration, credentials: &Signing, now_micros: i64) -> Result<Duration, StoreError> {
    let Some(end) = credentials.expiry() else { return Ok(expires_in) };
    let left = end.duration_since(at(now_micros)?).map_or(0, |left| left.as_secs());
    if left == 0 {
        return Err(StoreError::Credentials("they have just expired".to_owned()));
    }
    Ok(expires_in.min(Duration::from_secs(left)))
}

fn at(micros: i64) -> Result<SystemTime, StoreError> {
    Ok(UNIX_EPOCH + Duration::from_micros(micros.try_into().map_err(unsignable)?))
}

fn lifetime(expires_in: Duration, now_micros: i64) -> Result<PresigningConfig, StoreError> {
    let config = PresigningConfig::builder().start_time(at(now_micros)?).expires_in(expires_in);
    config.build().map_err(unsignable)
}

/// The headers that were signed, less those that clients send anyway.
fn to_send(signed: &PresignedRequest) -> Result<BTreeMap<&'static str, String>, StoreError> {
    let mut headers = BTreeMap::new();
    for (name, value) in signed.headers() {
        let name = match name.to_ascii_lowercase().as_str() {
            "content-length" | "host" => continue,
            "content-type" => "Content-Type",
            "x-amz-checksum-sha256" => "x-amz-checksum-sha256",
            // What the client is not told of, it cannot send.
            other => return Err(unsignable(format!("the SDK signs {other} as well"))),
        };
        headers.insert(name, value.to_owned());
    }
    Ok(headers)
}

fn unsignable(why: impl std::fmt::Display) -> StoreError {
    StoreError::Rejected(format!("no grant could be made: {why}"))
}
