//! Names in the bucket: every object's key, content type and cache control.

use crate::{
    id::{BlobKey, VariantName},
    render::{Format, Masters, Rung},
};

/// An object in the bucket. Nothing else in the crate spells out a key.
///
/// One prefix per kind lets bucket policies and lifecycle rules tell the kinds
/// apart. S3 spreads load by key on its own, so there is no fan-out prefix.
///
/// A content type is a `&'static str` on purpose: it comes from the closed list
/// of formats in this program, and can be built neither from a client's header
/// nor from a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// `raw/…`: exactly the bytes that were uploaded, metadata and all.
    Raw {
        /// Names the blob.
        key: BlobKey,
        /// What the bytes proved to be.
        content_type: &'static str,
    },
    /// `originals/…`: the upload, losslessly stripped of metadata.
    Original {
        /// Names the blob.
        key: BlobKey,
        /// What the bytes proved to be.
        content_type: &'static str,
    },
    /// `masters/…`: a web-sized rendition of an original, that variants are made
    /// from. It can be made again at any time, so it may be absent.
    Master {
        /// Names the blob.
        key: BlobKey,
        /// Which of the blob's masters.
        rung: Rung,
        /// What it was encoded as.
        content_type: &'static str,
    },
    /// `variants/…`: a rendition that was asked for. It can be made again at any
    /// time, so it may be absent.
    Variant {
        /// Names the blob that it shows.
        key: BlobKey,
        /// Which rendition of it.
        name: VariantName,
        /// What it was encoded as.
        content_type: &'static str,
    },
    /// `incoming/…`: bytes that nobody has verified, sent straight to the bucket
    /// by a client, or a piece of a resumable upload. Never served: ingest
    /// reads them, and publishes under another key.
    Incoming {
        /// Names this one upload, or piece. A fresh key for each, since a grant
        /// stays valid until it expires and may be used again until then, and
        /// so does a write that was given up.
        key: BlobKey,
        /// What the client says that it will send.
        content_type: &'static str,
    },
}

impl Object {
    /// The upload itself.
    pub fn raw(key: &BlobKey, content_type: &'static str) -> Self {
        Self::Raw { key: key.clone(), content_type }
    }

    /// Its stripped form.
    pub fn original(key: &BlobKey, content_type: &'static str) -> Self {
        Self::Original { key: key.clone(), content_type }
    }

    /// One of its masters.
    pub fn master(key: &BlobKey, rung: Rung, format: Format) -> Self {
        Self::Master { key: key.clone(), rung, content_type: format.content_type() }
    }

    /// One of its renditions.
    pub fn variant(key: &BlobKey, name: &VariantName, format: Format) -> Self {
        Self::Variant { key: key.clone(), name: name.clone(), content_type: format.content_type() }
    }

    /// What a client is to send, or has sent in part.
    pub fn incoming(key: &BlobKey, content_type: &'static str) -> Self {
        Self::Incoming { key: key.clone(), content_type }
    }

    /// What is stored of one upload, and can be had from nowhere else.
    pub fn published(key: &BlobKey, content_type: &'static str) -> [Self; 2] {
        [Self::raw(key, content_type), Self::original(key, content_type)]
    }

    /// Everything that is stored of one upload, but for its variants, which the ledger lists.
    pub fn all_of(key: &BlobKey, content_type: &'static str, masters: &Masters) -> Vec<Self> {
        let masters = masters.rungs().map(|rung| Self::master(key, rung, masters.format()));
        Self::published(key, content_type).into_iter().chain(masters).collect()
    }

    /// The full key in the bucket.
    pub fn key(&self) -> String {
        self.name().key()
    }

    /// The media type that the object is stored with.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Raw { content_type, .. }
            | Self::Original { content_type, .. }
            | Self::Master { content_type, .. }
            | Self::Variant { content_type, .. }
            | Self::Incoming { content_type, .. } => content_type,
        }
    }

    /// The `Cache-Control` that the object is stored with. The bucket is never
    /// public; should it be opened by mistake, no cache keeps what leaked.
    ///
    /// A grant does not ask a client for it: one more header for every client
    /// to get right, on bytes that live until they are ingested.
    pub fn cache_control(&self) -> &'static str {
        match self {
            Self::Raw { .. }
            | Self::Original { .. }
            | Self::Master { .. }
            | Self::Variant { .. }
            | Self::Incoming { .. } => "private, no-store",
        }
    }
}

/// Something with a key in the bucket: an [`Object`], or the [`ObjectName`] of
/// one of which nothing else is known.
pub trait Named {
    /// The object's name.
    fn name(&self) -> ObjectName;
}

impl Named for Object {
    fn name(&self) -> ObjectName {
        let (kind, key) = match self {
            Self::Raw { key, .. } => (Kind::Raw, key),
            Self::Original { key, .. } => (Kind::Original, key),
            Self::Master { key, rung, .. } => (Kind::Master(*rung), key),
            Self::Incoming { key, .. } => (Kind::Incoming, key),
            Self::Variant { key, name, .. } => return ObjectName::of_variant(key.clone(), name.clone()),
        };
        ObjectName::of(kind, key.clone())
    }
}

impl Named for ObjectName {
    fn name(&self) -> ObjectName {
        self.clone()
    }
}

/// A prefix in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// See [`Object::Raw`].
    Raw,
    /// See [`Object::Original`].
    Original,
    /// See [`Object::Master`].
    Master(Rung),
    /// See [`Object::Variant`].
    Variant,
    /// See [`Object::Incoming`].
    Incoming,
}

impl Kind {
    /// Every kind, for whoever walks the whole bucket.
    pub const ALL: [Self; 7] = [
        Self::Raw,
        Self::Original,
        Self::Master(Rung::First),
        Self::Master(Rung::Second),
        Self::Master(Rung::Third),
        Self::Variant,
        Self::Incoming,
    ];

    /// What the keys of this kind begin with, the slash included.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Raw => "raw/",
            Self::Original => "originals/",
            Self::Master(Rung::First) => "masters/1/",
            Self::Master(Rung::Second) => "masters/2/",
            Self::Master(Rung::Third) => "masters/3/",
            Self::Variant => "variants/",
            Self::Incoming => "incoming/",
        }
    }
}

/// What a key in the bucket says about its object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Under which prefix it lies.
    pub kind: Kind,
    /// Names the blob, the upload, or the piece of one.
    pub key: BlobKey,
    /// Which of the blob's variants; of that kind alone.
    pub variant: Option<VariantName>,
}

impl ObjectName {
    /// The name of an object that is no variant.
    pub fn of(kind: Kind, key: BlobKey) -> Self {
        Self { kind, key, variant: None }
    }

    /// The name of a variant of a blob.
    pub fn of_variant(key: BlobKey, name: VariantName) -> Self {
        Self { kind: Kind::Variant, key, variant: Some(name) }
    }

    /// Reads a key that a listing showed; `None` for one that is not ours.
    pub fn parse(key: &str) -> Option<Self> {
        Kind::ALL.into_iter().find_map(|kind| {
            let rest = key.strip_prefix(kind.prefix())?;
            if kind != Kind::Variant {
                return Some(Self::of(kind, BlobKey::parse(rest)?));
            }
            let (blob, name) = rest.split_once('/')?;
            Some(Self::of_variant(BlobKey::parse(blob)?, VariantName::parse(name)?))
        })
    }

    /// The full key in the bucket.
    pub fn key(&self) -> String {
        let blob = format!("{}{}", self.kind.prefix(), self.key);
        self.variant.as_ref().map_or_else(|| blob.clone(), |name| format!("{blob}/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "0123456789abcdef0123456789abcdef01234567";

    fn one_of_each() -> Vec<Object> {
        let key = BlobKey::parse(BLOB).unwrap();
        let masters = Masters::parse("png 2048 1024 512").unwrap();
        let mut all = Object::all_of(&key, "image/png", &masters);
        all.push(Object::variant(&key, &VariantName::of("width=1"), Format::Png));
        all.push(Object::incoming(&key, "image/png"));
        all
    }

    #[test]
    fn kinds_never_share_a_key() {
        let keys: Vec<String> = one_of_each().iter().map(Object::key).collect();
        let prefixes =
            ["raw/", "originals/", "masters/1/", "masters/2/", "masters/3/", "variants/", "incoming/"];
        for (key, prefix) in keys.iter().zip(prefixes) {
            let whose = format!("{prefix}{BLOB}");
            let own = key.strip_prefix(&whose).unwrap();
            let name = VariantName::of("width=1");
            assert_eq!(own, if prefix == "variants/" { format!("/{name}") } else { String::new() });
        }
        assert_eq!(keys.len(), prefixes.len());
        for object in one_of_each() {
            assert_eq!(object.content_type(), "image/png");
            assert_eq!(object.cache_control(), "private, no-store");
        }
    }

    #[test]
    fn a_key_reads_back_and_no_other_does() {
        for (object, kind) in one_of_each().into_iter().zip(Kind::ALL) {
            let name = ObjectName::parse(&object.key()).unwrap();
            assert_eq!((&name, name.kind), (&object.name(), kind));
        }
        for foreign in
            ["", "raw/", "raw", BLOB, "incoming/../raw/x", "masters/1/", &format!("masters/{BLOB}")]
        {
            assert_eq!(ObjectName::parse(foreign), None, "{foreign}");
        }
        assert_eq!(ObjectName::parse(&format!("raw/{BLOB}0")), None);
        assert_eq!(ObjectName::parse(&format!("raw//{BLOB}")), None);
        let name = VariantName::of("width=1");
        for foreign in
            [BLOB.to_owned(), format!("{BLOB}/"), format!("{BLOB}/{name}/"), format!("{name}/{BLOB}")]
        {
            assert_eq!(ObjectName::parse(&format!("variants/{foreign}")), None, "{foreign}");
        }
        assert_eq!(ObjectName::parse(&format!("raw/{BLOB}/{name}")), None);
    }
}
