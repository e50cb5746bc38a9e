//! One connection: what is spoken on it, and HTTP/1.1.

use std::{convert::Infallible, error::Error as StdError, future::Future, io, pin::pin, time::Duration};

use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;

use super::{Limits, http2, tls::Tls};

/// The last answer on a connection says so.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A connection's read buffer in bytes: bounds a request's head, and how much of a body waits in
/// memory.
const MAX_BUFFER_BYTES: usize = 128 << 10;

/// What a connection that speaks HTTP/2 begins with (RFC 9113, section 3.4), as far as tells it apart: no request
/// of HTTP/1.1 does, since the method is reserved (section 11.7).
const PREFACE: [u8; 4] = *b"PRI ";

/// How long to wait for the rest of what may become the preface. Hardly any client sends less than four bytes at
/// once.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// How long at most: it is doubled each time, so that a thousand who stop there cost nothing.
const PREFACE_PAUSE_MOST: Duration = Duration::from_secs(1);

/// What is spoken on a listener's connections, within its limits.
pub(super) struct Protocols {
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder,
    tls: Option<TlsAcceptor>,
}

impl Protocols {
    pub(super) fn new(limits: Limits, tls: Option<&Tls>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(MAX_BUFFER_BYTES);
        Self { limits, http1, http2: http2::builder(), tls: tls.map(Tls::acceptor) }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<H, F, B>(
    protocols: &Protocols,
    stream: TcpStream,
    stop: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let limits = protocols.limits;
    let ended = match &protocols.tls {
        None => match in_time(limits, stop.clone(), speaks_http2(&stream)).await {
            Ok(false) => serve_http1(protocols, within(limits, stream), stop, handler).await,
            // In a box, since it is large, and most connections are not of its kind.
            Ok(true) => {
                let stream = TokioIo::new(within(limits, stream));
                Box::pin(http2::serve(&protocols.http2, limits, stream, stop, handler)).await
            }
            Err(error) => Err(error.into()),
        },
        Some(tls) => match in_time(limits, stop.clone(), tls.accept(within(limits, stream))).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                let stream = TokioIo::new(stream);
                Box::pin(http2::serve(&protocols.http2, limits, stream, stop, handler)).await
            }
            Ok(stream) => Box::pin(serve_http1(protocols, stream, stop, handler)).await,
            Err(error) => Err(error.into()),
        },
    };
    if let Err(error) = ended {
        tracing::debug!("connection: {error}");
    }
}

/// How a connection ends.
pub(super) type Ended = Result<(), Box<dyn StdError + Send + Sync>>;

/// Serves HTTP/1.1. Once it is to stop, the next answer is the connection's last, and says so: closed at once,
/// while its client is just sending, it would lose him a request. One that is idle is closed after `linger`.
async fn serve_http1<S, H, F, B>(
    protocols: &Protocols,
    stream: S,
    stop: watch::Receiver<bool>,
    handler: H,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>> + 'static,
{
    // Not the one that is waited on, which then knows of the stop. This only loads a number, where looking at the
    // value would take a lock that all connections share. An error is a stop, too.
    let seen = stop.clone();
    let service = service_fn(move |mut request| {
        name_host(&mut request);
        let (answer, seen) = (handler(request), seen.clone());
        async move {
            let mut answer = answer.await;
            if seen.has_changed().unwrap_or(true) {
                answer.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(protocols.http1.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = parting(stop, protocols.limits.linger) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Completes when connections without a request are to be closed: so long after the stop.
async fn parting(mut stop: watch::Receiver<bool>, linger: Duration) {
    // Whoever could say so is gone: that is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(linger).await;
}

/// A connection whose client has to read what is sent.
fn within(limits: Limits, stream: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.write_timeout));
    Box::pin(stream)
}

/// What comes before the first request: within its time, and only as long as requests are taken.
async fn in_time<T>(
    limits: Limits,
    stop: watch::Receiver<bool>,
    begun: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        biased;
        // Who has begun is answered, even if it is just to stop.
        begun = tokio::time::timeout(limits.header_timeout, begun) => begun?,
        () = parting(stop, limits.linger) => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Whether the client begins with HTTP/2's preface. Nothing is taken out of the stream, so that whoever serves it
/// reads it as it came, without a buffer between.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let (mut begun, mut pause) = ([0; PREFACE.len()], PREFACE_PAUSE);
    loop {
        let bytes = stream.peek(&mut begun).await?;
        if bytes == PREFACE.len() || bytes == 0 || begun[..bytes] != PREFACE[..bytes] {
            return Ok(begun == PREFACE);
        }
        tokio::time::sleep(pause).await;
        pause = PREFACE_PAUSE_MOST.min(pause * 2);
    }
}

/// Sets a request's Host to what its target names, if it names one: always in HTTP/2, where Host mostly is not sent,
/// and in HTTP/1.1 in absolute form, where Host does not count (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
/// So whoever asks for the Host need not know how it was said.
pub(super) fn name_host(request: &mut Request<Incoming>) {
    let Some(authority) = request.uri().authority() else { return };
    let host = authority.as_str();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
}
