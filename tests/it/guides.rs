//! The guides say what is so: what can be pasted of them works, and what they name is there. (Those to backups and
//! to moving from public URLs are followed in `backup.rs` and `import.rs`.)

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    pasted::{blocks, blocks_of, page, paste_page, project},
    support::{Bucket, TestApp, jpeg},
};

/// Every guide, by its path, and the README, which is held to the same.
fn pages() -> Vec<(String, &'static str)> {
    let guides = fs::read_dir(project().join("src/guide")).unwrap().map(|entry| entry.unwrap().path());
    let guides = guides.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let guides = guides.map(|path| path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned());
    let pages: Vec<_> =
        guides.chain(["README.md".to_owned()]).map(|path| (path.clone(), page(&path))).collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// What stands in backticks and is no block.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

#[test]
fn an_app_is_integrated_as_the_guide_says() {
    let app = TestApp::serve();
    let secrets = format!("PINHOLE_AUTH__JWT_SECRET='{}'\n", app.secret("jwt_secret"));
    fs::write(app.data().join("pinhole.env"), secrets).unwrap();
    fs::write(app.data().join("photo.jpg"), jpeg(640, 480, 1)).unwrap();
    paste_page(page("src/guide/integrate.md"), &app.data(), &[("http://127.0.0.1:8080", &app.url)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_as_the_guide_says() {
    let data = tempfile::tempdir().unwrap();
    let keys = data.path().join("link.keys");
    fs::write(&keys, "k0:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n").unwrap();
    let file = keys.to_str().unwrap().to_owned();
    let app = TestApp::serve_on(data, &Bucket::of_dev(), &[("PINHOLE_LINKS__KEYS_FILE", &file)]);
    // The commands are told of the file as the server is.
    let settings = app.data().join("pinhole.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let with_file = text.replace("[links]\n", &format!("[links]\nkeys_file = \"{file}\"\n"));
    let with_url = with_file.replace("[server]\n", &format!("[server]\npublic_url = \"{}\"\n", app.url));
    fs::write(&settings, with_url).unwrap();
    let image = app.upload("alice", jpeg(640, 480, 1)).await;
    let here = [("http://127.0.0.1:8080", &*app.url), ("01890a5d-ac96-774b-bcce-b302099a8057", &*image)];
    tokio::task::block_in_place(|| paste_page(page("src/guide/keys.md"), &app.data(), &here));
}

#[test]
fn every_edge_gets_its_configuration_as_the_guide_says() {
    let app = TestApp::serve();
    let data = app.data();
    let settings = data.join("pinhole.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let with_url = text.replace("[server]\n", "[server]\npublic_url = \"https://img.example.org\"\n");
    fs::write(&settings, with_url).unwrap();
    let folder = data.display().to_string();
    let here = [
        ("/etc/pinhole-edge", &*format!("{folder}/edge")),
        ("/var/cache/pinhole-edge", &format!("{folder}/cache")),
    ];
    paste_page(page("src/guide/edge.md"), &data, &here);
    for file in ["pinhole.vcl", "cloudfront-function.js", "worker.js", "fastly.vcl", "edge/ask.conf"] {
        assert!(fs::metadata(data.join(file)).unwrap().len() > 1000, "{file}");
    }
    // What has to be set at CloudFront stands in both places, and is the same.
    let policy: Value = serde_json::from_str(blocks_of(page("src/guide/edge.md"), "json")[0]).unwrap();
    let said = fs::read_to_string(data.join("cloudfront-function.js")).unwrap();
    let key = &policy["ParametersInCacheKeyAndForwardedToOrigin"];
    let named = [
        &key["HeadersConfig"]["Headers"]["Items"],
        &key["CookiesConfig"]["Cookies"]["Items"],
        &key["QueryStringsConfig"]["QueryStrings"]["Items"],
    ];
    for name in named.iter().flat_map(|names| names.as_array().unwrap()) {
        assert!(said.contains(&format!("`{}`", name.as_str().unwrap())), "{name}");
    }
    assert!(said.contains(&format!("maximum TTL {}", policy["MaxTTL"])), "{policy}");
}

/// The SDK's calls, by the action that allows each.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>
const ACTIONS: [(&str, &str); 11] = [
    ("get_object", "s3:GetObject"),
    ("head_object", "s3:GetObject"),
    ("put_object", "s3:PutObject"),
    ("delete_object", "s3:DeleteObject"),
    ("list_objects_v2", "s3:ListBucket"),
    ("head_bucket", "s3:ListBucket"),
    ("get_bucket_cors", "s3:GetBucketCORS"),
    ("get_bucket_versioning", "s3:GetBucketVersioning"),
    // Of `pinhole dev` alone, whose bucket is its own.
    ("create_bucket", ""),
    ("put_bucket_cors", ""),
    ("delete_bucket_cors", ""),
];

#[test]
fn the_buckets_policy_allows_what_the_program_calls_and_nothing_else() {
    let mut called = BTreeSet::new();
    let rooms = fs::read_dir(project().join("src/store")).unwrap().map(|entry| entry.unwrap().path());
    for file in rooms
        .chain([project().join("src/store.rs")])
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(&file).unwrap();
        for word in text.split('.').filter_map(|rest| rest.split_once("()").map(|(word, _)| word)) {
            let is_call = [
                "get_",
                "head_",
                "put_",
                "delete_",
                "list_",
                "create_",
                "copy_",
                "upload_",
                "abort_",
                "complete_",
            ]
            .iter()
            .any(|verb| word.starts_with(verb))
                && ["_object", "_bucket", "_part", "_upload"].iter().any(|noun| word.contains(noun));
            if is_call && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()) {
                let known = ACTIONS.iter().find(|(call, _)| *call == word);
                let (_, action) =
                    known.unwrap_or_else(|| panic!("{}: which action allows {word}?", file.display()));
                called.insert((*action).to_owned());
            }
        }
    }
    called.remove("");
    let policy: Value = serde_json::from_str(blocks_of(page("src/guide/bucket.md"), "json")[0]).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowed: BTreeSet<String> = statements
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(allowed, called);
}

#[test]
fn every_guide_is_listed_and_a_page_of_the_documentation() {
    let module = fs::read_to_string(project().join("src/guide.rs")).unwrap();
    for (path, _) in pages().iter().filter(|(path, _)| path != "README.md") {
        assert!(page("README.md").contains(path), "the README does not name {path}");
        assert!(module.contains(path.trim_start_matches("src/")), "src/guide.rs does not name {path}");
    }
}

/// A heading as GitHub names it in a URL.
fn slug(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn whatever_a_page_links_to_or_names_is_there() {
    for (path, text) in pages() {
        let folder = project().join(&path).parent().unwrap().to_owned();
        // `[text](target)`, and definitions: `[name]: target`.
        let inline =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let defined =
            text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, to)| to);
        for target in inline.chain(defined).filter(|target| !target.contains("://")) {
            let (to, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if to.is_empty() { project().join(&path) } else { folder.join(to) };
            assert!(file.exists(), "{path}: {target} is not there");
            if !anchor.is_empty() {
                let there = fs::read_to_string(file).unwrap();
                let is_there =
                    there.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(is_there, "{path}: no heading for {target}");
            }
        }
        // `[text][name]` has a definition.
        for name in text.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name) {
            let name = name.replace('\n', " ");
            assert!(text.contains(&format!("\n[{name}]: ")), "{path}: [{name}] is not defined");
        }
        for named in code(text) {
            let is_ours =
                ["tests/", "src/", "nginx/", "benches/"].iter().any(|folder| named.starts_with(folder));
            let file = named.split([' ', ':', '\n']).next().unwrap_or_default();
            if is_ours && !file.contains(['*', '…']) {
                assert!(project().join(file).exists(), "{path}: {file} is not there");
            }
        }
    }
}

#[test]
fn whatever_test_a_page_names_is_there() {
    let mut named = 0;
    for (path, text) in pages() {
        for (file, test) in code(text).filter_map(|code| code.split_once("::")) {
            if file.starts_with("tests/it/") {
                let source = fs::read_to_string(project().join(file)).unwrap();
                let (before, _) = source.split_once(&format!("fn {test}()")).unwrap_or_else(|| {
                    panic!("{path}: there is no {file}::{test}");
                });
                let attribute = before.trim_end_matches("async ").trim_end().lines().next_back().unwrap();
                assert!(attribute.starts_with("#["), "{path}: {file}::{test} is no test: {attribute}");
                named += 1;
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn documents_of_machines_can_be_read_by_them() {
    for (path, text) in pages() {
        for block in blocks(text) {
            let read = match block.info {
                "json" => {
                    serde_json::from_str::<Value>(block.text).map(drop).map_err(|error| error.to_string())
                }
                "toml" => {
                    let file = config::File::from_str(block.text, config::FileFormat::Toml);
                    let read = config::Config::builder().add_source(file).build();
                    read.map(drop).map_err(|error| error.to_string())
                }
                _ => Ok(()),
            };
            assert_eq!(read, Ok(()), "{path}: {}", block.text);
        }
    }
}
