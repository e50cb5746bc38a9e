//! Which client a request is from, as far as fair shares of the machine go: a user, or else an address.

use std::{
    hash::{BuildHasher as _, Hash},
    net::{IpAddr, Ipv6Addr},
};

use foldhash::quality::RandomState;
use http::{HeaderMap, HeaderName};

use crate::id::UserId;

/// A client's number in this process. Two clients may have the same one; they are then one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(u64);

impl Client {
    /// A client with this number, to test with.
    #[cfg(test)]
    pub(crate) fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// Tells clients apart.
#[derive(Debug)]
pub struct Clients {
    hasher: RandomState,
    address_header: Option<HeaderName>,
}

impl Clients {
    /// `address_header` is set by the proxy that every request comes through, to the client's address; without
    /// one, the client is whoever the connection is with.
    pub fn new(address_header: Option<HeaderName>) -> Self {
        Self { hasher: RandomState::default(), address_header }
    }

    /// Who sent a request over a connection with `peer`; if a user did, he.
    pub fn of(&self, user: Option<&UserId>, headers: &HeaderMap, peer: IpAddr) -> Client {
        match user {
            Some(user) => self.numbered((0, user.as_str())),
            None => self.numbered((1, network(self.forwarded(headers).unwrap_or(peer)))),
        }
    }

    /// The address in the header: of several, the last one, which the nearest proxy has added itself.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let line = headers.get_all(self.address_header.as_ref()?).iter().next_back()?;
        line.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    }

    fn numbered(&self, who: impl Hash) -> Client {
        Client(self.hasher.hash_one(who))
    }
}

/// What one client has: of IPv6 a whole /64 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn header(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("x-real-ip"), HeaderValue::from_static(value))])
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_user_is_one_client_wherever_he_is() {
        let clients = Clients::new(None);
        let of = |user: Option<&str>, peer| {
            let user = user.map(|name| UserId::parse(name).unwrap());
            clients.of(user.as_ref(), &HeaderMap::new(), address(peer))
        };
        assert_eq!(of(Some("alice"), "192.0.2.1"), of(Some("alice"), "192.0.2.2"));
        assert_ne!(of(Some("alice"), "192.0.2.1"), of(Some("bob"), "192.0.2.1"));
        assert_ne!(of(Some("192.0.2.1"), "192.0.2.1"), of(None, "192.0.2.1"));
        assert_ne!(of(None, "192.0.2.1"), of(None, "192.0.2.2"));
    }

    #[test]
    fn of_ipv6_a_client_has_a_whole_network() {
        for (address, its_network) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(network(self::address(address)), self::address(its_network));
        }
    }

    #[test]
    fn the_header_counts_where_the_settings_say_so() {
        let of = |clients: &Clients, value| clients.forwarded(&header(value));
        let trusting = Clients::new(Some(HeaderName::from_static("x-real-ip")));
        assert_eq!(of(&trusting, "192.0.2.7"), Some(address("192.0.2.7")));
        assert_eq!(of(&trusting, "198.51.100.1, 192.0.2.7"), Some(address("192.0.2.7")));
        assert_eq!(of(&trusting, "somebody"), None);
        assert_eq!(of(&Clients::new(None), "192.0.2.7"), None);
    }
}
