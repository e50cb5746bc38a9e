//! Sockets that were opened before the program was: systemd's protocol (`sd_listen_fds(3)`). Who holds them open
//! meanwhile, it or another process that serves from them too, refuses no connection while this one starts or ends.

use std::{env, io, net::TcpListener, os::fd::AsFd as _};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use thiserror::Error;

/// What the operations listener's socket is called (`FileDescriptorName=`). Any other name is the main one's.
const OPS: &str = "ops";

/// The sockets that came with the process, if any did.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Where requests are taken.
    pub main: Option<TcpListener>,
    /// The operations listener.
    pub ops: Option<TcpListener>,
}

/// Why a socket that came with the process is of no use; the message says what to change in the unit.
#[derive(Debug, Error)]
pub enum InheritedError {
    /// It is no TCP socket.
    #[error(
        "the inherited socket {0:?} is none of TCP: {1}; mend ListenStream= in the socket unit, ADDRESS:PORT"
    )]
    NotTcp(String, io::Error),
    /// It is a connection, or not listening yet.
    #[error("the inherited socket {0:?} does not listen; set Accept=no in the socket unit")]
    NotListening(String),
    /// There is another one for the same.
    #[error(
        "the inherited socket {0:?} is one too many: there is one for requests, and one with \
         FileDescriptorName={OPS} for the operations listener"
    )]
    TooMany(String),
}

impl Inherited {
    /// Takes them over. It changes the environment, so that no child takes them for its own: call it while there is
    /// but one thread.
    pub fn take() -> Result<Self, InheritedError> {
        let names =
            env::var_os("LISTEN_FDNAMES").and_then(|names| names.into_string().ok()).unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        // Names are there for all or for none.
        let mut names = names.split(':');
        let mut taken = Self::default();
        for number in 0..sockets.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let socket = match sockets.take_tcp_listener(number) {
                Ok(Some(socket)) => socket,
                Ok(None) => continue,
                Err(error) => return Err(InheritedError::NotTcp(name, error)),
            };
            if !socket_acceptconn(socket.as_fd()).unwrap_or(false) {
                return Err(InheritedError::NotListening(name));
            }
            let place = if name == OPS { &mut taken.ops } else { &mut taken.main };
            if place.is_some() {
                return Err(InheritedError::TooMany(name));
            }
            *place = Some(socket);
        }
        Ok(taken)
    }
}
