//! Who asks: a user by token, a service by key, or nobody.
//!
//! Purposes never mix: a token with a dot is a user's JWT, any other a service key; neither is
//! ever a link, and a link is never either.

mod jwks;
#[cfg(test)]
mod tests;
mod tokens;

pub use self::{
    jwks::{JwksError, KeySet},
    tokens::TokenError,
};

use http::{HeaderMap, HeaderName, Method, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;

use self::tokens::Tokens;
use crate::{
    access::Viewer,
    config::Config,
    error::Error,
    id::{UserId, hex, unhex},
};

/// The cookie that holds a user's token.
pub const COOKIE: &str = "pinhole_session";
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("on-behalf-of");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A user, or a service acting for him with exactly his rights.
    User {
        /// Who.
        id: UserId,
        /// Whether a service speaks for him: the app itself says so.
        by_service: bool,
    },
    /// The app's backend, for itself.
    Service,
}

impl Caller {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::Anonymous | Self::Service => None,
        }
    }

    /// The viewer that an access decision weighs.
    pub fn viewer(&self, follows_owner: bool) -> Viewer<'_> {
        match self {
            Self::Anonymous => Viewer::Anonymous,
            Self::User { id, .. } => Viewer::User { id, follows_owner },
            Self::Service => Viewer::Service,
        }
    }

    /// The user, for what only users do.
    pub fn require_user(self) -> Result<UserId, Error> {
        match self {
            Self::User { id, .. } => Ok(id),
            Self::Anonymous => Err(Error::unauthenticated("Sign in: send Authorization: Bearer <token>.")),
            Self::Service => Err(Error::bad_request(
                "on_behalf_of_required",
                "This is a user's call: a service says for whom with On-Behalf-Of: <user id>.",
            )),
        }
    }

    /// For what an owner may do with his own things and a service with anybody's: whose are meant.
    pub fn require_owner_or_service(self) -> Result<Option<UserId>, Error> {
        match self {
            Self::Service => Ok(None),
            other => other.require_user().map(Some),
        }
    }

    /// For what only a service does, for itself.
    pub fn require_service(&self) -> Result<(), Error> {
        match self {
            Self::Service => Ok(()),
            Self::User { .. } => {
                Err(Error::forbidden("service_only", "Only a service may do this, for itself."))
            }
            Self::Anonymous => {
                Err(Error::unauthenticated("Only a service may do this: send its key as a bearer token."))
            }
        }
    }
}

/// Who is asking, as far as can be told without the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is certain, and he may do whatever such a caller may.
    Caller(Caller),
    /// Somebody with a service key that the settings do not know; perhaps the ledger does.
    Key(ServiceKey),
}

/// A service key that was presented, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    /// As [`service_key_hash`] has it.
    pub hash: String,
    /// The user whom the service acts for, if what it says of him can be read.
    on_behalf_of: Result<Option<UserId>, UnreadableUser>,
}

/// On-Behalf-Of is given more than once, or is no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnreadableUser;

impl ServiceKey {
    /// Who asks, once the key is known to be good.
    pub fn caller(self) -> Result<Caller, Error> {
        match self.on_behalf_of {
            Ok(None) => Ok(Caller::Service),
            Ok(Some(id)) => Ok(Caller::User { id, by_service: true }),
            Err(UnreadableUser) => Err(Error::invalid_field(
                "On-Behalf-Of",
                format_args!("must be given once, and be {}", UserId::RULE),
            )),
        }
    }
}

/// What identities are checked with.
#[derive(Debug)]
pub struct Identity {
    tokens: Tokens,
    service_key_hashes: Vec<[u8; 32]>,
    public_origin: String,
    dev: bool,
}

/// Why the secrets are unusable.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Nothing good is there to check tokens with.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A hash is not one.
    #[error(
        "auth.service_key_hashes must hold SHA-256 hashes of 64 hexadecimal digits in lower case; \
         make one with: printf %s \"$SERVICE_KEY\" | sha256sum"
    )]
    BadHash,
}

/// What was presented, and whether the browser may have sent it unasked.
enum Presented<'a> {
    Bearer(&'a str),
    Cookie(&'a str),
    Nothing,
}

impl Identity {
    /// Takes the secrets from the settings.
    pub fn new(config: &Config, dev: bool) -> Result<Self, IdentityError> {
        let hashes = config.auth.service_key_hashes.iter().map(|text| unhex(text));
        Ok(Self {
            tokens: Tokens::new(&config.auth)?,
            service_key_hashes: hashes.collect::<Option<_>>().ok_or(IdentityError::BadHash)?,
            public_origin: config.server.public_url.clone(),
            dev,
        })
    }

    /// Who asks the control API. What is presented must be good, and a cookie that came along with an
    /// unsafe method must come from our own pages.
    pub fn caller(&self, method: &Method, headers: &HeaderMap, now_micros: i64) -> Result<Claimed, Error> {
        match presented(headers)? {
            Presented::Bearer(token) => self.bearer(token, headers, now_micros),
            Presented::Cookie(token) => {
                if !method.is_safe() && !self.is_same_origin(headers) {
                    return Err(Error::forbidden(
                        "cross_site",
                        "A request with the session cookie must come from this site: \
                         its Origin or Sec-Fetch-Site must say same-origin.",
                    ));
                }
                self.user(token, now_micros).map(Claimed::Caller).ok_or_else(bad_token)
            }
            Presented::Nothing => Ok(Claimed::Caller(Caller::Anonymous)),
        }
    }

    /// Who looks at an image. A bad cookie counts as none, since a browser sends it unasked; a bad
    /// bearer token was meant, so it is refused.
    pub fn viewer(&self, headers: &HeaderMap, now_micros: i64) -> Result<Claimed, Error> {
        match presented(headers)? {
            Presented::Bearer(token) => self.bearer(token, headers, now_micros),
            Presented::Cookie(token) => {
                Ok(Claimed::Caller(self.user(token, now_micros).unwrap_or(Caller::Anonymous)))
            }
            Presented::Nothing => Ok(Claimed::Caller(Caller::Anonymous)),
        }
    }

    /// A token for a user, good for so many seconds, signed with the newest secret.
    pub fn issue(&self, user: &UserId, ttl_secs: u64, now_micros: i64) -> Result<String, TokenError> {
        self.tokens.issue(user, ttl_secs, now_micros)
    }

    /// Takes over the keys that the tokens' issuer publishes now, in place of those before.
    pub fn publish(&self, keys: KeySet) {
        self.tokens.publish(keys);
    }

    /// Whether a token was presented that names a key which is not known: its issuer may have published it
    /// just now.
    pub fn misses_a_key(&self, headers: &HeaderMap) -> bool {
        match presented(headers) {
            Ok(Presented::Bearer(token) | Presented::Cookie(token)) => self.tokens.misses_key_of(token),
            _ => false,
        }
    }

    fn bearer(&self, token: &str, headers: &HeaderMap, now_micros: i64) -> Result<Claimed, Error> {
        if token.contains('.') {
            return self.user(token, now_micros).map(Claimed::Caller).ok_or_else(bad_token);
        }
        let key = ServiceKey { hash: service_key_hash(token), on_behalf_of: on_behalf_of(headers) };
        // Who has no good key is told so, and nothing of his other headers.
        if self.is_service_key(token) { key.caller().map(Claimed::Caller) } else { Ok(Claimed::Key(key)) }
    }

    /// The user of a good token.
    fn user(&self, token: &str, now_micros: i64) -> Option<Caller> {
        let id = self.tokens.user(token, now_micros)?;
        Some(Caller::User { id, by_service: false })
    }

    fn is_service_key(&self, key: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let found =
            self.service_key_hashes.iter().fold(Choice::from(0), |found, known| found | hash.ct_eq(known));
        found.into()
    }

    /// Whether the browser says that one of our own pages sent this.
    fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get(SEC_FETCH_SITE) {
            return site == "same-origin";
        }
        let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else {
            return false;
        };
        // In dev a loopback address has several names; the Host was checked to be one of them.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        origin == self.public_origin || (self.dev && origin.strip_prefix("http://") == Some(host))
    }
}

/// What is presented is not good, whatever is wrong with it.
pub fn bad_token() -> Error {
    Error::unauthenticated("The token or key is not valid, or has expired; sign in again.")
}

fn on_behalf_of(headers: &HeaderMap) -> Result<Option<UserId>, UnreadableUser> {
    let mut users = headers.get_all(ON_BEHALF_OF).iter();
    let Some(user) = users.next() else { return Ok(None) };
    let only = users.next().is_none().then_some(user);
    only.and_then(|user| user.to_str().ok()).and_then(UserId::parse).map(Some).ok_or(UnreadableUser)
}

fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Error> {
    let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = credentials.next() {
        // Two would let a proxy judge by one and us by the other.
        let only = credentials.next().is_none().then_some(value);
        let token = only.and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        return token.map(Presented::Bearer).ok_or_else(|| {
            Error::unauthenticated(
                "The Authorization header must have the form: Bearer <token or service key>.",
            )
        });
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs
        .find(|(name, _)| *name == COOKIE)
        .map_or(Presented::Nothing, |(_, token)| Presented::Cookie(token)))
}

/// The hash of the service key that was presented, as [`service_key_hash`] has it: what tells services
/// apart. Whether it is a good one is for [`Identity::caller`] to say.
pub fn presented_key_hash(headers: &HeaderMap) -> Option<String> {
    match presented(headers) {
        Ok(Presented::Bearer(token)) if !token.contains('.') => Some(service_key_hash(token)),
        _ => None,
    }
}

/// The hash of a service key, as `auth.service_key_hashes` holds it.
pub fn service_key_hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}
