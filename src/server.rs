//! Accepting connections: limits, timeouts, drain. Knows nothing of what is served.

mod connection;
mod http2;
mod inherited;
mod streams;
mod threads;
mod tls;

pub use self::{
    inherited::{Inherited, InheritedError},
    threads::Threads,
    tls::{Tls, TlsError},
};

use std::{error::Error as StdError, future::Future, iter, net::IpAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use self::connection::Protocols;

/// How long to wait after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take for a request's headers, or for the TLS handshake, and idle between requests.
    pub header_timeout: Duration,
    /// How long a client may read nothing of an answer that is there.
    pub write_timeout: Duration,
    /// How long requests under way get once the listener is to stop.
    pub drain: Duration,
    /// How long connections without a request stay open then, for whoever is just sending one.
    pub linger: Duration,
}

/// Serves HTTP/1.1 and HTTP/2 until `stop` turns true, then lets what is under way finish. The listener is closed and
/// never shut down, so that another process that has the same socket takes what comes after. Connections are spread
/// over `threads`, or stay on the runtime that this is called on. With `tls` nothing else is spoken. The handler is
/// also told the address that the connection is with.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    tls: Option<&Tls>,
    threads: Option<&Threads>,
    mut stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    let mut loops: Box<dyn Iterator<Item = Handle> + Send> = match threads {
        Some(threads) => Box::new(threads.in_turn()),
        None => Box::new(iter::repeat(Handle::current())),
    };
    let protocols = Arc::new(Protocols::new(limits, tls));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), stream) = accepted else { break };
        let (stream, peer) = match stream {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without it, small answers wait for the client's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let Some(event_loop) = loops.next() else { break };
        // It is registered with the event loop that accepted it, and is to be with the one that serves it.
        let Ok(stream) = stream.into_std() else { continue };
        let (protocols, stop, handler) = (Arc::clone(&protocols), stop.clone(), handler.clone());
        let answer = move |request| handler(peer, request);
        let connection = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection::serve(&protocols, stream, stop, answer).await,
                Err(error) => tracing::warn!("cannot serve a connection: {error}"),
            }
            drop(place);
        };
        connections.spawn_on(connection, &event_loop);
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, ended).await.is_err() {
        tracing::warn!("requests were still under way after {:?}; they are cut off", limits.drain);
    }
    connections.shutdown().await;
}
