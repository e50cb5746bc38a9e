//! The description of all that the outside can ask for (`OpenAPI` 3.1.1), as `GET /openapi.json` answers it: pure.
//!
//! It is written by hand in `src/openapi/*.json`, so that it reads as it is served; only what the settings decide, and
//! the header that every answer has, is filled in. <https://spec.openapis.org/oas/v3.1.1.html>

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::id::hex;

/// The document's parts: objects that are laid over each other.
const PARTS: [&str; 9] = [
    include_str!("openapi/document.json"),
    include_str!("openapi/schemas.json"),
    include_str!("openapi/images.json"),
    include_str!("openapi/uploads.json"),
    include_str!("openapi/tus.json"),
    include_str!("openapi/posts.json"),
    include_str!("openapi/people.json"),
    include_str!("openapi/links.json"),
    include_str!("openapi/delivery.json"),
];

/// The largest number of seconds that a JSON number is sure to carry exactly (RFC 8259 §6).
const MAX_EXACT: u64 = (1 << 53) - 1;

/// What the settings decide of it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The origin of all URLs, without a trailing slash.
    pub public_url: &'a str,
    /// The largest file that is taken, in bytes.
    pub max_file_bytes: u64,
    /// The names of presets, in order.
    pub presets: &'a [&'a str],
    /// The names of watermarks, likewise.
    pub watermarks: &'a [&'a str],
    /// The longest that a service's links may be asked to live, in seconds.
    pub max_link_secs: u64,
}

/// The document as it is sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// JSON.
    pub bytes: Bytes,
    /// A strong validator of these bytes (RFC 9110 §8.8.3).
    pub etag: String,
}

impl Document {
    /// Puts the document together. It fails only if a part is no JSON, which a test would have found.
    pub fn new(facts: Facts<'_>) -> Result<Self, serde_json::Error> {
        let bytes = serde_json::to_vec(&value(facts)?)?;
        let etag = format!("\"{}\"", &hex(&Sha256::digest(&bytes))[..32]);
        Ok(Self { bytes: bytes.into(), etag })
    }
}

fn value(facts: Facts<'_>) -> Result<Value, serde_json::Error> {
    let mut document = Map::new();
    for part in PARTS {
        lay_over(&mut document, serde_json::from_str(part)?);
    }
    let mut document = Value::Object(document);
    name_requests(&mut document);
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["servers"] = json!([{ "url": facts.public_url }]);
    let (parts, max_file_bytes) = (&mut document["components"], facts.max_file_bytes.min(MAX_EXACT));
    parts["parameters"]["upload_length"]["schema"]["maximum"] = json!(max_file_bytes);
    let options = &mut parts["parameters"]["options"]["schema"]["properties"];
    for (option, names) in [("preset", facts.presets), ("watermark", facts.watermarks)] {
        options[option]["enum"] = json!(names);
        // What nothing can be named by is no option.
        if names.is_empty()
            && let Some(options) = options.as_object_mut()
        {
            options.remove(option);
        }
    }
    let schemas = &mut parts["schemas"];
    schemas["NewUpload"]["properties"]["size"]["maximum"] = json!(max_file_bytes);
    schemas["LinksWanted"]["properties"]["expires_in"]["maximum"] = json!(facts.max_link_secs.min(MAX_EXACT));
    Ok(document)
}

/// Says of every answer that it names its request, and of what caches may share that it need not.
fn name_requests(document: &mut Value) {
    fn name(response: &mut Value) {
        if response.get("$ref").is_none() {
            let is_picture = response["headers"].get("Cache-Tag").is_some();
            let header = if is_picture { "SharedRequestId" } else { "RequestId" };
            response["headers"]["X-Request-Id"] = json!({ "$ref": format!("#/components/headers/{header}") });
        }
    }
    fn members(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
        value.and_then(Value::as_object_mut).into_iter().flat_map(|members| members.values_mut())
    }
    members(document.pointer_mut("/components/responses")).for_each(name);
    for item in members(document.get_mut("paths")) {
        for operation in members(Some(item)) {
            members(operation.get_mut("responses")).for_each(name);
        }
    }
}

/// Adds what a part says to what is there; where both have an object, both count.
fn lay_over(document: &mut Map<String, Value>, part: Map<String, Value>) {
    for (key, value) in part {
        match (document.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(added)) => lay_over(there, added),
            (_, value) => {
                document.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'static> = Facts {
        public_url: "https://img.example.org",
        max_file_bytes: 1000,
        presets: &["avatar", "card"],
        watermarks: &[],
        max_link_secs: 60,
    };

    /// All the places in a document.
    fn walk<'v>(value: &'v Value, seen: &mut impl FnMut(&'v str, &'v Value)) {
        match value {
            Value::Object(members) => members.iter().for_each(|(key, value)| {
                seen(key, value);
                walk(value, seen);
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(item, seen)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
        let document = value(FACTS).unwrap();
        let mut used = std::collections::BTreeSet::new();
        walk(&document, &mut |key, value| {
            if key == "$ref" {
                let to = value.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(document.pointer(to).is_some(), "{to}");
                used.insert(to);
            }
        });
        for kind in ["schemas", "parameters", "headers", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let place = format!("/components/{kind}/{name}");
                assert!(used.contains(&*place), "nothing refers to {place}");
            }
        }
    }

    #[test]
    fn every_answer_names_its_request() {
        let document = value(FACTS).unwrap();
        let mut answers = 0;
        walk(&document, &mut |key, value| {
            let responses = if key == "responses" { value.as_object() } else { None };
            for response in responses.into_iter().flat_map(|responses| responses.values()) {
                let header = &response["headers"]["X-Request-Id"]["$ref"];
                assert!(response.get("$ref").is_some() || header.is_string(), "{response}");
                answers += 1;
            }
        });
        assert!(answers > 100, "{answers}");
        let picture = &document["components"]["responses"]["NotModified"]["headers"]["X-Request-Id"];
        assert_eq!(picture["$ref"], "#/components/headers/SharedRequestId");
    }

    #[test]
    fn what_the_settings_decide_is_filled_in() {
        let document = value(FACTS).unwrap();
        assert_eq!(document["servers"][0]["url"], "https://img.example.org");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["NewUpload"]["properties"]["size"]["maximum"], 1000);
        let parameters = &document["components"]["parameters"];
        assert_eq!(parameters["upload_length"]["schema"]["maximum"], 1000);
        let options = &parameters["options"]["schema"]["properties"];
        assert_eq!(options["preset"]["enum"], json!(["avatar", "card"]));
        assert_eq!(options.get("watermark"), None);
        let wanted = &document["components"]["schemas"]["LinksWanted"]["properties"];
        assert_eq!(wanted["expires_in"]["maximum"], 60);
        assert!(Document::new(Facts { max_file_bytes: u64::MAX, ..FACTS }).is_ok());
    }

    #[test]
    fn its_validator_is_of_its_bytes() {
        let (one, same) = (Document::new(FACTS).unwrap(), Document::new(FACTS).unwrap());
        let other = Document::new(Facts { max_link_secs: 61, ..FACTS }).unwrap();
        assert_eq!(one.etag, same.etag);
        assert_ne!(one.etag, other.etag);
    }
}
