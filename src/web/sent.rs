//! A request's body as a handler meets it: still to come, or received whole before him.

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    api::posts::POST_FORM,
    body,
    form::{self, File, Form, Shape},
    paced::Paced,
    route::Route,
};
use crate::{error::Error, id::hex};

/// A body, to be read once. Both kinds read the same, so that no handler can tell them apart.
pub(super) enum Sent<'b> {
    /// Nothing of it was read.
    Coming(&'b mut Paced),
    /// All of it was, since its request carries an idempotency key.
    Received(Received),
}

/// A body received whole.
pub(super) enum Received {
    /// Whatever is small.
    Bytes(Vec<u8>),
    /// A form, with its files in the spool.
    Form(Form),
    /// The file of an image, in the spool.
    File(File),
}

impl<'b> Sent<'b> {
    /// Reads a JSON object into `T`.
    pub(super) async fn json<T: DeserializeOwned>(self, headers: &HeaderMap) -> Result<T, Error> {
        body::require_json(headers)?;
        match self {
            Self::Coming(body) => body::parse_json(&body::bytes(body).await?),
            Self::Received(Received::Bytes(bytes)) => body::parse_json(&bytes),
            Self::Received(_) => Err(received_as_something_else()),
        }
    }

    /// The body itself, for methods that take no idempotency key.
    pub(super) fn coming(self) -> Result<&'b mut Paced, Error> {
        match self {
            Self::Coming(body) => Ok(body),
            Self::Received(_) => Err(received_as_something_else()),
        }
    }

    /// Receives a form.
    pub(super) async fn form(
        self,
        headers: &HeaderMap,
        max_file_bytes: u64,
        shape: Shape,
    ) -> Result<Form, Error> {
        match self {
            Self::Coming(body) => form::read(headers, body, max_file_bytes, shape).await,
            Self::Received(Received::Form(form)) => Ok(form),
            Self::Received(_) => Err(received_as_something_else()),
        }
    }

    /// Receives one image.
    pub(super) async fn image(self, headers: &HeaderMap, max_file_bytes: u64) -> Result<File, Error> {
        match self {
            Self::Coming(body) => form::image(headers, body, max_file_bytes).await,
            Self::Received(Received::File(file)) => Ok(file),
            Self::Received(_) => Err(received_as_something_else()),
        }
    }
}

impl Received {
    /// Receives a body as the route's handler will want it.
    pub(super) async fn receive(
        route: Route<'_>,
        headers: &HeaderMap,
        body: &mut Paced,
        max_file_bytes: u64,
    ) -> Result<Self, Error> {
        Ok(match route {
            Route::CreateImage => Self::File(form::image(headers, body, max_file_bytes).await?),
            Route::CreatePost if form::is_form(headers) => {
                Self::Form(form::read(headers, body, max_file_bytes, POST_FORM).await?)
            }
            _ => Self::Bytes(body::bytes(body).await?),
        })
    }

    /// What makes this body another than the next one, in little space.
    ///
    /// Bytes are told apart as they are. Of a form count the fields and the files with their names: its
    /// boundary, the order of its text fields, and what it says of its parts' types make no difference
    /// to what is done, and clients make up a new boundary when they try again.
    pub(super) fn summary(&self) -> Value {
        let file = |file: &File| json!([file.filename, file.spooled.sha256_hex()]);
        match self {
            Self::Bytes(bytes) => json!(["bytes", hex(&Sha256::digest(bytes))]),
            Self::File(one) => json!(["file", file(one)]),
            Self::Form(form) => {
                json!(["form", form.texts_in_order(), form.files.iter().map(file).collect::<Vec<_>>()])
            }
        }
    }
}

fn received_as_something_else() -> Error {
    Error::internal(&"a body was received as another kind than its handler reads")
}
