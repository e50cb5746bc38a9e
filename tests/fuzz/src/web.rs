//! Of `web` what reads headers and forms, with the laws that hold for whatever they read.

mod body;
mod conditional;
mod form;
mod route;
mod tus;

use std::{convert::Infallible, sync::mpsc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::{config::Role, error::Error};
use body::Bounds;
use conditional::Selection;
use form::Shape;

/// Headers from lines of `name: value`; what cannot be a header is left out, as hyper refuses it.
pub fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Finds a path's route in every role, or a refusal: no route without the role that has it.
pub fn find_route(method: &Method, path: &str) {
    for (role, dev) in [(Role::All, true), (Role::All, false), (Role::Upload, false), (Role::Deliver, false)]
    {
        if let Ok(route) = route::find(method, path, role, dev) {
            assert!(path.starts_with("/i/") || role.controls(), "{route:?}");
            assert!(!path.starts_with("/i/") || role.delivers(), "{route:?}");
            assert!(!route.label().is_empty());
        }
    }
}

/// What is sent of a representation lies within it, and to a HEAD nothing is cut.
pub fn select(headers: &HeaderMap, length: u64) {
    for etag in ["\"abc\"", "\"\""] {
        for method in [Method::GET, Method::HEAD] {
            let selection = conditional::evaluate(&method, headers, etag, length);
            if let Selection::Part(part) = &selection {
                assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
            }
            match selection {
                Selection::Whole | Selection::NotModified => {}
                Selection::PreconditionFailed => assert!(headers.contains_key(header::IF_MATCH)),
                Selection::Part(_) | Selection::Unsatisfiable => {
                    assert!(method == Method::GET && headers.contains_key(header::RANGE), "{selection:?}");
                }
            }
        }
    }
}

/// Reads every header that resumable uploads have.
pub fn read_tus(headers: &HeaderMap, path: &str) {
    let _ = (tus::require_version(headers), tus::refuse_other_extensions(headers));
    let _ = (tus::overriding_method(headers), tus::asked_in_headers(path, headers), tus::is_path(path));
    let _ = tus::checksum(headers);
    for name in [tus::UPLOAD_LENGTH, tus::UPLOAD_OFFSET] {
        let number = tus::number(headers, &name, "a number");
        assert!(number.as_ref().is_ok_and(|number| *number >= 0) || number.is_err(), "{number:?}");
    }
    if let Ok((sent, filename)) = tus::metadata(headers) {
        assert_eq!(
            sent.is_some(),
            headers
                .get(tus::UPLOAD_METADATA)
                .is_some_and(|sent| { sent.to_str().is_ok_and(|sent| !sent.trim().is_empty()) })
        );
        assert!(sent.is_some() || filename.is_none());
    }
}

/// Reads a JSON body by its declared type.
pub fn read_json(headers: &HeaderMap, bytes: &[u8]) {
    type Shape = std::collections::HashMap<String, Option<Vec<String>>>;
    if body::require_json(headers).is_ok() {
        let _ = body::parse_json::<Shape>(bytes);
    }
}

/// A form that was read: its texts, and of each file the name and the hash.
type Read = Result<(Vec<(String, String)>, Vec<(Option<String>, String)>), Error>;

const SHAPE: Shape = Shape { texts: &["text", "visibility"], file: "images", max_files: 3 };
const BOUNDS: Bounds = Bounds { idle: Duration::from_secs(5), max_file_bytes: 2_000 };

/// Reads a form as the program does: by hyper, from a connection. `pieces` are the lengths of the pieces it
/// comes in; without any it comes in one, with its length before it. `None` where hyper refuses it by itself.
pub fn read_form(content_type: &[u8], body: &[u8], pieces: &[u8]) -> Option<Read> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    let mut request = [b"POST / HTTP/1.1\r\nContent-Type: ", content_type, b"\r\n"].concat();
    if pieces.is_empty() {
        request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
        request.extend(body);
    } else {
        request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        let (mut lengths, mut rest) = (pieces.iter().cycle(), body);
        while let Some(length) = lengths.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at(usize::from(*length).clamp(1, rest.len()));
            rest = after;
            request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            request.extend(piece);
            request.extend(b"\r\n");
        }
        request.extend(b"0\r\n\r\n");
    }
    RUNTIME.with(|runtime| runtime.block_on(serve(request)))
}

async fn serve(request: Vec<u8>) -> Option<Read> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(&request).await.unwrap();
    let (tell, told) = mpsc::channel();
    let service = service_fn(|request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let _ = tell.send(read(&head.headers, &mut body).await);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(server), service);
    let _ = connection.await;
    told.try_recv().ok()
}

async fn read(headers: &HeaderMap, body: &mut Incoming) -> Read {
    if !form::is_form(headers) {
        let image = form::image(headers, body, BOUNDS).await?;
        return Ok((Vec::new(), vec![(image.filename, image.spooled.sha256_hex())]));
    }
    let form = form::read(headers, body, BOUNDS, SHAPE).await?;
    assert!(form.files.len() <= SHAPE.max_files);
    let named = |file: form::File| {
        let name = file.filename.as_deref().unwrap_or_default();
        assert!(name.chars().count() <= 255 && !name.contains(char::is_control), "{name:?}");
        (file.filename.clone(), file.spooled.sha256_hex())
    };
    let texts = form.texts_in_order().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
    Ok((texts.collect(), form.files.into_iter().map(named).collect()))
}
