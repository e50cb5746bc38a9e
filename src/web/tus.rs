//! What tus adds to HTTP: its version, the overriding of methods, and how its headers are read.
//!
//! <https://tus.io/protocols/resumable-upload>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::{error::Error, ingest::Checksum};

/// The one version that is spoken here.
pub(super) const VERSION: &str = "1.0.0";
/// What is spoken beside the core.
pub(super) const EXTENSIONS: &str = "creation,expiration,checksum,termination";
/// The type of a PATCH's body.
pub(super) const BODY_TYPE: &str = "application/offset+octet-stream";
/// The longest `Upload-Metadata`, in bytes.
const MAX_METADATA_BYTES: usize = 4 << 10;

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Whether a path is spoken tus on, in all its answers.
pub(super) fn is_path(path: &str) -> bool {
    path.strip_prefix("/v1/tus").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The method that a client means who cannot send every one. What is not one at all is none that a
/// path here has.
pub(super) fn overriding_method(headers: &HeaderMap) -> Option<Method> {
    let said = headers.get(METHOD_OVERRIDE)?;
    Some(Method::from_bytes(said.as_bytes()).unwrap_or(Method::TRACE))
}

/// What a creation asks besides its body and its path: all of it stands in headers. Nothing elsewhere.
pub(super) fn asked_in_headers<'h>(path: &str, headers: &'h HeaderMap) -> Vec<Option<&'h [u8]>> {
    let asked = [UPLOAD_LENGTH, UPLOAD_METADATA].map(|name| headers.get(name).map(HeaderValue::as_bytes));
    if is_path(path) { asked.to_vec() } else { Vec::new() }
}

/// Says on an answer which version it is of.
pub(super) fn say_version(headers: &mut HeaderMap) {
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
}

/// Refuses a request of another version, before anything is done.
pub(super) fn require_version(headers: &HeaderMap) -> Result<(), Error> {
    let mut said = headers.get_all(TUS_RESUMABLE).iter();
    match (said.next(), said.next()) {
        (Some(version), None) if version == VERSION => Ok(()),
        _ => Err(Error::tus_version(VERSION)),
    }
}

/// Refuses what only extensions have that are not spoken here.
pub(super) fn refuse_other_extensions(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(UPLOAD_DEFER_LENGTH) {
        return Err(Error::invalid_field("Upload-Defer-Length", "say the Upload-Length at once"));
    }
    if headers.contains_key(UPLOAD_CONCAT) {
        return Err(Error::invalid_field("Upload-Concat", "send the file as one upload"));
    }
    Ok(())
}

/// The bytes that a header counts.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName, spelled: &str) -> Result<i64, Error> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = only(headers, name).ok().flatten().filter(digits).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::invalid_field(spelled, "must be given once, as a number of bytes"))
}

/// The checksum that is promised of a body, if there is one.
pub(super) fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Error> {
    let name = "Upload-Checksum";
    let promised = only(headers, &UPLOAD_CHECKSUM).map_err(|rule| Error::invalid_field(name, rule))?;
    promised.map(Checksum::parse).transpose().map_err(|error| Error::invalid_field(name, error))
}

/// What a client says about a file: the header as it was sent, and the file's name in it.
///
/// Whatever else is said is kept and believed nowhere, `filetype` included: the bytes decide.
pub(super) fn metadata(headers: &HeaderMap) -> Result<(Option<&str>, Option<String>), Error> {
    let wrong = |rule: &str| Error::invalid_field("Upload-Metadata", rule);
    // Some clients send the header without anything in it.
    let sent = only(headers, &UPLOAD_METADATA).map_err(wrong)?.filter(|sent| !sent.trim().is_empty());
    let Some(sent) = sent else { return Ok((None, None)) };
    if sent.len() > MAX_METADATA_BYTES {
        return Err(wrong(&format!("must have at most {MAX_METADATA_BYTES} bytes")));
    }
    let (mut keys, mut filename) = (Vec::new(), None);
    for pair in sent.split(',') {
        let pair = pair.trim();
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() || keys.contains(&key) {
            return Err(wrong(
                "must be keys, each given once, with their values in base64, separated by commas",
            ));
        }
        keys.push(key);
        let value = STANDARD.decode(value.trim()).map_err(|_| wrong("a value is not base64"))?;
        if key == "filename" {
            filename = Some(String::from_utf8(value).map_err(|_| wrong("the `filename` must be UTF-8"))?);
        }
    }
    Ok((Some(sent), filename))
}

/// The text of a header that may be given once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("may be given once");
    }
    value.to_str().map(Some).map_err(|_| "must be visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn tus_is_spoken_under_its_path_alone() {
        for path in ["/v1/tus", "/v1/tus/", "/v1/tus/x", "/v1/tus/x/y"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/v1/tusx", "/v1/images", "/v1", "/", "/v1/uploads/tus"] {
            assert!(!is_path(path), "{path}");
        }
    }

    #[test]
    fn one_version_is_spoken_and_must_be_said() {
        assert!(require_version(&headers(&[("tus-resumable", "1.0.0")])).is_ok());
        for pairs in [
            &[][..],
            &[("tus-resumable", "0.2.2")],
            &[("tus-resumable", "1.0")],
            &[("tus-resumable", "1.0.0"), ("tus-resumable", "1.0.0")],
        ] {
            assert!(require_version(&headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn numbers_are_digits_and_fit() {
        let read =
            |text: &str| number(&headers(&[("upload-offset", text)]), &UPLOAD_OFFSET, "Upload-Offset").ok();
        for (text, expected) in [("0", 0), ("00", 0), ("70", 70), ("9223372036854775807", i64::MAX)] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["", "-1", "+1", "1.0", "0x1", "1 ", "١", "9223372036854775808"] {
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                let headers = HeaderMap::from_iter([(UPLOAD_OFFSET, value)]);
                assert!(number(&headers, &UPLOAD_OFFSET, "Upload-Offset").is_err(), "{text:?}");
            }
        }
        assert!(number(&HeaderMap::new(), &UPLOAD_OFFSET, "Upload-Offset").is_err());
    }

    #[test]
    fn metadata_is_kept_as_sent_and_gives_the_name() {
        let read = |text: &str| {
            let headers = headers(&[("upload-metadata", text)]);
            metadata(&headers).ok().map(|(sent, name)| (sent.unwrap().to_owned(), name))
        };
        for (text, name) in [
            (
                "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
                Some("world_domination_plan.pdf"),
            ),
            ("filetype aW1hZ2UvanBlZw==, filename w6QuanBn", Some("ä.jpg")),
            ("filename", Some("")),
            ("filename ,x", Some("")),
            ("x", None),
        ] {
            assert_eq!(read(text), Some((text.to_owned(), name.map(str::to_owned))), "{text}");
        }
        for text in
            [",", "filename d29ybGQ=,", "a,a", "filename d29ybGQ", "filename d29y bGQ=", "filename /w=="]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("x {}", "A".repeat(MAX_METADATA_BYTES))), None);
        for nothing in [HeaderMap::new(), headers(&[("upload-metadata", "")])] {
            assert!(matches!(metadata(&nothing), Ok((None, None))));
        }
    }

    #[test]
    fn the_overriding_method_counts_whatever_it_is() {
        let said = |text: &str| overriding_method(&headers(&[("x-http-method-override", text)]));
        assert_eq!(said("PATCH"), Some(Method::PATCH));
        assert_eq!(said("no method"), Some(Method::TRACE));
        assert_eq!(overriding_method(&HeaderMap::new()), None);
    }
}
