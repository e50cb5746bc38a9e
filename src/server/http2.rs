//! HTTP/2 (RFC 9113): its bounds, and letting a connection go on which nothing moves.

use std::{
    convert::Infallible, error::Error as StdError, future::Future, pin::pin, sync::Arc, time::Duration,
};

use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Limits,
    connection::{Ended, name_host},
    streams::{Streams, Watched},
};

/// Requests at once on one connection. A hundred is the least that RFC 9113, section 6.5.2, recommends, and more
/// than a browser asks for at once.
const MAX_STREAMS: u32 = 100;
/// The largest head of a request, in bytes as RFC 9113, section 6.5.2, counts them: a token, a signed link, and
/// all the cookies of a site. Beyond it h2 answers 431.
const MAX_HEADERS_BYTES: u32 = 32 << 10;
/// Bytes of one request's body that may wait in memory: 256 KiB let 2.5 MB/s through at 100 ms there and back.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// The same of all requests of a connection: four times what one of HTTP/1.1 may hold.
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
/// Bytes of one answer that are taken from its source ahead of what the client has granted. What lies in memory
/// anyway is handed out whole, and not copied.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// Requests that were taken back before anybody looked at them; with more the connection ends in
/// `ENHANCE_YOUR_CALM`. It is the rapid reset of CVE-2023-44487; clients take back a few when a page is left.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we had to reset since the client broke the rules; with more the connection ends likewise
/// (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 100;
/// How often a client is asked for a sign of life, so that one that is gone without a word is noticed while its
/// request is worked on, and how long it may take for it.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// For how many times `write_timeout` an answer may wait of which nothing is taken while others move. A slow line
/// serves a hundred pictures in turn, so this is longer than for a whole connection; yet it is bounded, since
/// every answer that waits holds a picture in memory.
const MAX_TURNS: u32 = 20;

/// Serves connections of HTTP/2, each request in a task on its connection's thread.
pub(super) type Builder = http2::Builder<TokioExecutor>;

/// The bounds of all connections.
pub(super) fn builder() -> Builder {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Serves a connection to its end.
///
/// It is told to go (GOAWAY) once it had no request for `header_timeout`, the half of a preface included, and
/// cut off if it stays for as long again. It is cut off, too, when there are answers, and for `write_timeout` the
/// client granted no window for a byte of any. What is looked at periodically ends after twice its time at most.
pub(super) async fn serve<S, H, F, B>(
    builder: &Builder,
    limits: Limits,
    stream: S,
    mut stop: watch::Receiver<bool>,
    handler: H,
) -> Ended
where
    S: Read + Write + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let streams = Arc::new(Streams::default());
    let begins = Arc::clone(&streams);
    let service = service_fn(move |mut request| {
        name_host(&mut request);
        let is_head = request.method() == Method::HEAD;
        let (answer, stream) = (handler(request), begins.begin());
        async move {
            let answer = answer.await;
            let answer = if is_head { without_body(answer) } else { answer.map(Some) };
            Ok::<_, Infallible>(answer.map(|body| Watched::new(body, stream)))
        }
    });
    let mut connection = pin!(builder.serve_connection(stream, service));

    let every = limits.header_timeout.min(limits.write_timeout);
    let start = Instant::now();
    let mut looks = tokio::time::interval_at(start + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_ending = false;
    let mut begun = 0;
    let (mut idle_since, mut moved_at) = (start, start);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return Ok(ended?),
            _ = stop.wait_for(|stop| *stop), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            now = looks.tick() => {
                let seen = streams.look(&mut begun);
                // At the first look it may have begun to wait only just before.
                if seen.has_moved || seen.still < 2 {
                    moved_at = now;
                }
                if now - moved_at >= limits.write_timeout || every * seen.still > limits.write_timeout * MAX_TURNS {
                    return Err("the client takes no more of its answers".into());
                }
                if seen.has_requests {
                    idle_since = now;
                }
                if now - idle_since >= limits.header_timeout {
                    if is_ending {
                        return Err("nothing is asked any more".into());
                    }
                    is_ending = true;
                    idle_since = now;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The answer to a HEAD, with the length that the body would have. In HTTP/1.1 hyper sees to it; in HTTP/2 it sends
/// the body, which no client takes.
fn without_body<B: Body>(answer: Response<B>) -> Response<Option<B>> {
    let (mut head, body) = answer.into_parts();
    if let Some(bytes) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(bytes));
    }
    Response::from_parts(head, None)
}
