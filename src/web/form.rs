//! Files that come with a request, to the spool as they come: as parts of a form (RFC 7578), or as the
//! body itself.

use std::{
    error::Error as StdError,
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, Stream},
};
use http::{HeaderMap, header};
use http_body_util::BodyStream;

use super::{
    body,
    paced::{Paced, Stopped},
};
use crate::{
    error::Error,
    ingest::{Spool, Spooled, Taken},
};

/// The longest text field, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// How many bytes around its parts' contents a form may have: boundaries and part headers.
const SLACK_BYTES: u64 = 64 << 10;
/// The longest file name kept, in characters.
const MAX_FILENAME_CHARS: usize = 255;
/// How many bytes may come without any of them being a part's content.
const MAX_BETWEEN_BYTES: usize = 512 << 10;
/// How much of a caller's own text an error repeats, in characters.
const MAX_ECHO_CHARS: usize = 40;

/// What a form may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The text fields, each at most once.
    pub(super) texts: &'static [&'static str],
    /// The field that files come in.
    pub(super) file: &'static str,
    /// How many files.
    pub(super) max_files: usize,
}

/// A form, received whole.
#[derive(Debug, Default)]
pub(super) struct Form {
    texts: Vec<(&'static str, String)>,
    /// The files, in order.
    pub(super) files: Vec<File>,
}

/// A file of a form.
#[derive(Debug)]
pub(super) struct File {
    /// Its bytes.
    pub(super) spooled: Spooled,
    /// What the client calls it.
    pub(super) filename: Option<String>,
}

impl Form {
    /// Takes a text field out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.texts.iter().position(|(field, _)| *field == name)?;
        Some(self.texts.swap_remove(at).1)
    }

    /// The text fields, in the order of their names.
    pub(super) fn texts_in_order(&self) -> Vec<(&str, &str)> {
        let mut texts: Vec<_> = self.texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        texts.sort_unstable();
        texts
    }
}

/// Whether a request carries a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    body::media_type(headers).as_deref() == Some("multipart/form-data")
}

/// The form of an upload.
const IMAGE_FORM: Shape = Shape { texts: &[], file: "file", max_files: 1 };

/// Receives one image: a multipart part called `file`, or the body itself under an `image/*` type.
pub(super) async fn image(headers: &HeaderMap, body: &mut Paced, max_file_bytes: u64) -> Result<File, Error> {
    if is_form(headers) {
        let form = read(headers, body, max_file_bytes, IMAGE_FORM).await?;
        let none = || Error::invalid_field(IMAGE_FORM.file, "the form has no part of that name");
        return form.files.into_iter().next().ok_or_else(none);
    }
    if !body::media_type(headers).is_some_and(|mime| mime.starts_with("image/")) {
        return Err(Error::unsupported_type(
            "Send the image as multipart/form-data with a part called `file`, or as the body with its image/* type.",
        ));
    }
    body::refuse_declared_size(body, max_file_bytes, max_file_bytes)?;
    let mut file = Spool::start(max_file_bytes).await.map_err(|e| Error::internal(&e))?;
    while let Some(chunk) = body::next(body).await? {
        take(&mut file, &chunk, max_file_bytes).await?;
    }
    Ok(File { spooled: file.finish().await.map_err(|e| Error::internal(&e))?, filename: None })
}

/// What of a client's name for a file is kept; it is a hint alone.
pub(super) fn filename(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_FILENAME_CHARS).collect()
}

/// Takes the next bytes of a file in.
async fn take(spool: &mut Spool, chunk: &Bytes, max_file_bytes: u64) -> Result<(), Error> {
    match spool.write(chunk).await.map_err(|e| Error::internal(&e))? {
        Taken::Yes => Ok(()),
        Taken::TooLarge => Err(Error::too_large("The image", max_file_bytes)),
    }
}

/// Receives a form. Each file may have `max_file_bytes`; none is ever held in memory.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Paced,
    max_file_bytes: u64,
    shape: Shape,
) -> Result<Form, Error> {
    let texts = shape.texts.len() * MAX_TEXT_BYTES;
    let max_body_bytes = max_file_bytes * shape.max_files as u64 + texts as u64 + SLACK_BYTES;
    body::refuse_declared_size(body, max_body_bytes, max_file_bytes)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content_type.unwrap_or_default())
        .map_err(|e| malformed(&e, max_file_bytes))?;
    let limits = multer::SizeLimit::new().whole_stream(max_body_bytes);
    let between = Arc::new(AtomicUsize::new(0));
    let frames = piecewise(body, Arc::clone(&between));
    let constraints = multer::Constraints::new().size_limit(limits);
    let mut parts = multer::Multipart::with_constraints(frames, boundary, constraints);

    let mut form = Form::default();
    while let Some(mut part) = parts.next_field().await.map_err(|e| malformed(&e, max_file_bytes))? {
        between.store(0, Ordering::Relaxed);
        let name = part.name().unwrap_or_default();
        if name == shape.file {
            if form.files.len() == shape.max_files {
                let rule = format!("at most {} may be sent", shape.max_files);
                return Err(Error::invalid_field(shape.file, rule));
            }
            let file = file(&mut part, max_file_bytes, &between).await?;
            // What a browser sends of a file field in which nothing was chosen.
            if file.spooled.is_empty() && file.filename.as_deref() == Some("") {
                continue;
            }
            form.files.push(file);
            continue;
        }
        let field = shape.texts.iter().find(|field| **field == name);
        let field = *field.ok_or_else(|| unknown(name, shape))?;
        if form.texts.iter().any(|(known, _)| *known == field) {
            return Err(Error::invalid_field(field, "may be given once"));
        }
        form.texts.push((field, text(&mut part, field, max_file_bytes).await?));
    }
    Ok(form)
}

/// A body's bytes for multer, which reads on for as long as there is something to read, and holds in
/// memory, and searches again and again, whatever is not a part's content. So it gets one piece at a
/// time, and no more than [`MAX_BETWEEN_BYTES`] before `between` is set back.
fn piecewise(
    body: &mut Paced,
    between: Arc<AtomicUsize>,
) -> impl Stream<Item = Result<Bytes, Box<dyn StdError + Send + Sync>>> + Send + '_ {
    let mut data = BodyStream::new(body)
        .map_err(Box::from)
        .try_filter_map(|frame| future::ready(Ok(frame.into_data().ok())))
        .boxed();
    let mut paused = false;
    stream::poll_fn(move |cx| {
        paused = !paused;
        if !paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(piece) = data.poll_next_unpin(cx) else {
            // Nothing was handed out, so the next poll need not pause.
            paused = false;
            return Poll::Pending;
        };
        let bytes = piece.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, Bytes::len);
        if between.fetch_add(bytes, Ordering::Relaxed) > MAX_BETWEEN_BYTES {
            return Poll::Ready(Some(Err("no part begins".into())));
        }
        Poll::Ready(piece)
    })
}

async fn file(
    part: &mut multer::Field<'_>,
    max_file_bytes: u64,
    between: &AtomicUsize,
) -> Result<File, Error> {
    let filename = part.file_name().map(filename);
    let mut spool = Spool::start(max_file_bytes).await.map_err(|e| Error::internal(&e))?;
    while let Some(chunk) = part.chunk().await.map_err(|e| malformed(&e, max_file_bytes))? {
        between.store(0, Ordering::Relaxed);
        take(&mut spool, &chunk, max_file_bytes).await?;
    }
    Ok(File { spooled: spool.finish().await.map_err(|e| Error::internal(&e))?, filename })
}

async fn text(part: &mut multer::Field<'_>, field: &str, max_file_bytes: u64) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(|e| malformed(&e, max_file_bytes))? {
        if bytes.len() + chunk.len() > MAX_TEXT_BYTES {
            return Err(Error::invalid_field(
                field,
                format_args!("must have at most {MAX_TEXT_BYTES} bytes"),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid_field(field, "must be UTF-8"))
}

fn unknown(name: &str, shape: Shape) -> Error {
    let known: Vec<String> =
        shape.texts.iter().chain([&shape.file]).map(|field| format!("`{field}`")).collect();
    let name: String = name.chars().take(MAX_ECHO_CHARS).collect();
    Error::invalid_field(&name, format_args!("is not a part of this form; it has {}", known.join(", ")))
}

fn malformed(error: &multer::Error, max_file_bytes: u64) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } => Error::too_large("The form", max_file_bytes),
        multer::Error::StreamReadFailed(cause) if matches!(cause.downcast_ref(), Some(Stopped::TooSlow)) => {
            Error::body_timeout()
        }
        _ => Error::bad_request("invalid_form", format!("The form cannot be read: {error}.")),
    }
}
