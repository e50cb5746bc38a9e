//! `[transform.presets]` and `[transform.watermarks]`: what option strings may call by name.
//!
//! A name has 1 to 32 characters of `a-z`, `0-9`, `_` and `-`; in the environment two underscores
//! end it, and everything is lower case.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// `[transform.presets]`: option strings by name, such as `avatar = "width=96,height=96,fit=cover"`.
/// `preset=avatar` is then the whole of a URL's options, with a signature or, where
/// `transform.unsigned` is `listed`, without.
pub type Presets = BTreeMap<String, String>;

/// `[transform.watermarks]`: pictures by name, for the option `watermark=NAME`.
pub type Watermarks = BTreeMap<String, Watermark>;

/// `[transform.watermarks.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// The picture, a PNG, WebP or JPEG; read once, at start. A margin is part of the picture.
    pub file: PathBuf,
    /// `center`, `left`, `right`, `top`, `bottom`, `top-left`, `top-right`, `bottom-left` or
    /// `bottom-right`, which is the default.
    pub position: Option<String>,
    /// How much of it is seen: above 0 and up to 1, which is the default.
    pub opacity: Option<String>,
    /// The part of an answer's width and height that it may fill: above 0 and up to 1. A quarter
    /// without it.
    pub scale: Option<String>,
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_file_writes_numbers_as_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pinhole.toml");
        let text = "[transform.presets]\navatar = \"width=96,height=96,fit=cover\"\n\
                    [transform.watermarks.logo]\nfile = \"logo.png\"\nopacity = 0.5\nscale = 1\n";
        std::fs::write(&file, text).unwrap();
        let transform = Config::load(Some(&file), &[]).unwrap().transform;
        assert_eq!(transform.presets["avatar"], "width=96,height=96,fit=cover");
        let logo = &transform.watermarks["logo"];
        assert_eq!(logo.file.to_str(), Some("logo.png"));
        assert_eq!((logo.opacity.as_deref(), logo.scale.as_deref()), (Some("0.5"), Some("1")));
        assert_eq!(logo.position, None);
    }
}
