//! The sample does not rot: it has every setting that the program knows, and every default that it says is true.

mod walk;

use std::{collections::BTreeMap, fmt::Write as _};

use self::walk::{Found, find};
use super::SAMPLE;
use crate::config::{
    Config, Watermark,
    edge::{Cloudflare, Cloudfront, Fastly, Servers, Webhook},
};

/// A setting as the sample has it.
#[derive(Debug)]
struct Written {
    /// As TOML has it.
    value: String,
    is_commented: bool,
    /// The comment above it, and above its neighbours of one paragraph.
    comment: String,
}

impl Written {
    fn is_example(&self) -> bool {
        self.comment.replace('\n', " ").to_lowercase().contains("for example:")
    }
}

/// The settings of the sample by path, in groups by their table.
fn written() -> BTreeMap<String, Written> {
    let (mut settings, mut table, mut comment) = (BTreeMap::new(), String::new(), String::new());
    for line in SAMPLE.lines() {
        let is_text = line.starts_with("# ") || line == "#";
        let code = line.strip_prefix('#').unwrap_or(line);
        if line.is_empty() {
            comment.clear();
        } else if is_text {
            // A new text after settings is about those that follow.
            writeln!(comment, "{}", code.trim()).unwrap();
        } else if let Some(name) = code.strip_prefix('[') {
            table = format!("{}.", name.strip_suffix(']').expect(line));
        } else {
            let (name, value) = code.split_once(" = ").expect(line);
            let is_commented = line.starts_with('#');
            let setting = Written { value: value.to_owned(), is_commented, comment: comment.clone() };
            let before = settings.insert(format!("{table}{name}"), setting);
            assert!(before.is_none(), "{table}{name} stands there twice");
        }
    }
    settings
}

/// The paths of all settings under a type, as its `Deserialize` asks for them.
fn all<T: serde::de::DeserializeOwned>(path: &[&str], into: &mut Vec<String>) {
    match find::<T>(path) {
        Found::Struct(fields) => {
            for field in fields {
                all::<T>(&[path, &[*field]].concat(), into);
            }
        }
        // What an operator names himself is looked at by type.
        Found::Map => {}
        Found::Enum(_) | Found::Leaf => into.push(path.join(".")),
    }
}

fn fields<T: serde::de::DeserializeOwned>(table: &str) -> Vec<String> {
    let mut paths = Vec::new();
    all::<T>(&[], &mut paths);
    paths.iter().map(|path| format!("{table}.{path}")).collect()
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pinhole.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), &[]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_setting_is_there_and_no_other() {
    let mut known = Vec::new();
    all::<Config>(&[], &mut known);
    assert!(known.len() > 90 && known.contains(&"server.tls.key".to_owned()), "{known:?}");
    let kinds = [
        ("edge.targets.front", fields::<Servers>("edge.targets.front")),
        ("edge.targets.accelerator", fields::<Servers>("edge.targets.accelerator")),
        ("edge.targets.at-fastly", fields::<Fastly>("edge.targets.at-fastly")),
        ("edge.targets.at-cloudflare", fields::<Cloudflare>("edge.targets.at-cloudflare")),
        ("edge.targets.at-cloudfront", fields::<Cloudfront>("edge.targets.at-cloudfront")),
        ("edge.targets.others", fields::<Webhook>("edge.targets.others")),
    ];
    for (table, fields) in kinds {
        known.push(format!("{table}.kind"));
        known.extend(fields);
    }
    known.extend(fields::<Watermark>("transform.watermarks.logo"));
    known.push("transform.presets.avatar".to_owned());
    known.sort_unstable();
    let written: Vec<String> = written().into_keys().collect();
    let missing: Vec<_> = known.iter().filter(|path| !written.contains(path)).collect();
    let unknown: Vec<_> = written.iter().filter(|path| !known.contains(path)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn commented_defaults_are_the_defaults() {
    let mut text = String::new();
    let mut table = String::new();
    let mut count = 0;
    // One table after the other, those at the top first.
    let mut settings: Vec<_> = written().into_iter().collect();
    settings.sort_by_key(|(path, _)| path.rsplit_once('.').map(|(table, _)| table.to_owned()));
    for (path, setting) in settings {
        if !setting.is_commented || setting.is_example() {
            continue;
        }
        let (of, name) = path.rsplit_once('.').unwrap_or(("", &path));
        if of != table {
            of.clone_into(&mut table);
            writeln!(text, "[{table}]").unwrap();
        }
        writeln!(text, "{name} = {}", setting.value).unwrap();
        count += 1;
    }
    assert!(count > 80, "{count}");
    let (read, default) = (format!("{:#?}", load(&text)), format!("{:#?}", Config::default()));
    for (read, default) in read.lines().zip(default.lines()) {
        assert_eq!(read, default);
    }
    assert_eq!(read, default);
}

#[test]
fn only_what_has_no_default_is_an_example() {
    // Left out they are nothing, or something that is no setting's default.
    let default = format!("{:?}", Config::default());
    for (path, setting) in written().into_iter().filter(|(_, setting)| setting.is_commented) {
        let name = path.rsplit_once('.').map_or(&*path, |(_, name)| name);
        let is_own = path.starts_with("edge.targets.")
            || path.starts_with("transform.watermarks.")
            || path.starts_with("transform.presets.");
        let is_none = default.contains(&format!(" {name}: None"));
        assert_eq!(setting.is_example(), is_own || is_none, "{path}");
    }
}

#[test]
fn every_choice_is_named() {
    let written = written();
    let mut paths = Vec::new();
    all::<Config>(&[], &mut paths);
    let mut choices = 0;
    for path in paths {
        let Found::Enum(variants) = find::<Config>(&path.split('.').collect::<Vec<_>>()) else { continue };
        for variant in variants {
            let comment = &written[&path].comment;
            assert!(comment.contains(&format!("\"{variant}\"")), "{path} may be {variant}: {comment}");
        }
        choices += 1;
    }
    assert!(choices >= 4, "{choices}");
}

#[test]
fn it_loads_as_it_is_and_with_every_line_uncommented() {
    let as_it_is = load(SAMPLE);
    assert_eq!(as_it_is.bucket.name, "pinhole");
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let code = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
        writeln!(text, "{}", code.unwrap_or(line)).unwrap();
    }
    let all = load(&text);
    assert_eq!(all.edge.targets.len(), 6);
    assert_eq!(all.transform.watermarks["logo"].opacity.as_deref(), Some("0.5"));
    assert_eq!(all.quota.images, Some(10_000));
}
