//! Accepting connections: limits, timeouts, drain. Knows nothing of what is served.

mod threads;

pub use self::threads::Threads;

use std::{
    convert::Infallible, error::Error as StdError, future::Future, iter, net::IpAddr, sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutWriter;

/// How long to wait after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection's read buffer in bytes: bounds a request's head, and how much of a body waits in
/// memory.
const MAX_BUFFER_BYTES: usize = 128 << 10;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take for a request's headers, and idle between requests.
    pub header_timeout: Duration,
    /// How long a client may read nothing of an answer that is there.
    pub write_timeout: Duration,
    /// How long requests under way get once the listener is to stop.
    pub drain: Duration,
}

/// Serves HTTP/1.1 until `stop` turns true, then lets what is under way finish. The handler is also told the
/// address that the connection is with. Connections are spread over
/// `threads`, or stay on the runtime that this is called on.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    threads: Option<&Threads>,
    mut stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>, Data: Send> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut loops: Box<dyn Iterator<Item = Handle> + Send> = match threads {
        Some(threads) => Box::new(threads.in_turn()),
        None => Box::new(iter::repeat(Handle::current())),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_BUFFER_BYTES);
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
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(peer, request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let Some(event_loop) = loops.next() else { break };
        // It is registered with the event loop that accepted it, and is to be with the one that serves it.
        let Ok(stream) = stream.into_std() else { continue };
        let (http, watcher) = (http.clone(), graceful.watcher());
        let connection = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    let mut stream = TimeoutWriter::new(stream);
                    stream.set_timeout(Some(limits.write_timeout));
                    let stream = TokioIo::new(Box::pin(stream));
                    let connection = watcher.watch(http.serve_connection(stream, service));
                    if let Err(error) = connection.await {
                        tracing::debug!("connection: {error}");
                    }
                }
                Err(error) => tracing::warn!("cannot serve a connection: {error}"),
            }
            drop(place);
        };
        connections.spawn_on(connection, &event_loop);
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {:?}; they are cut off", limits.drain);
    }
    connections.shutdown().await;
}
