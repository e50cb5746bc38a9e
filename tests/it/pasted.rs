//! What stands in the documentation to be pasted: the blocks of a page, and a shell to paste them into.

use std::{fs, path::Path, process::Command};

/// The project's own folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of documentation, by its path in the project. It is read now, so that a change of it compiles nothing anew.
pub fn page(path: &str) -> &'static str {
    fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}")).leak()
}

/// A fenced block of code.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// What its fence says: `sh` is run wherever it stands, others where a test asks for them (`sh,import`) or never
    /// (`sh,aws`).
    pub info: &'static str,
    pub text: &'static str,
}

/// All blocks of a page, in their order.
pub fn blocks(page: &'static str) -> Vec<Block> {
    let (mut found, mut rest) = (Vec::new(), page);
    while let Some((_, after)) = rest.split_once("\n```") {
        let (info, after) = after.split_once('\n').unwrap();
        let (text, after) = after.split_once("```").expect("a fence is closed");
        found.push(Block { info, text });
        rest = after;
    }
    found
}

/// The texts of the blocks whose fence says exactly this.
pub fn blocks_of(page: &'static str, info: &str) -> Vec<&'static str> {
    blocks(page).into_iter().filter(|block| block.info == info).map(|block| block.text).collect()
}

/// What stands below a heading, up to the next of its rank.
pub fn section(page: &'static str, heading: &str) -> &'static str {
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    section.split("\n## ").next().unwrap()
}

/// The statuses that a script says its `status` lines print.
pub fn expected(script: &str) -> Vec<&str> {
    let lines = script.lines().filter(|line| line.starts_with("status "));
    lines.map(|line| line.rsplit_once("# ").expect(line).1.split(' ').next().unwrap()).collect()
}

/// A shell with no more of the environment than it needs to find its tools, among them this program, and that
/// stops at the first failure.
pub fn bash(script: &str, folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_pinhole")).parent().unwrap();
    let mut path = program.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(folder).env_clear();
    command.env("PATH", path).envs(std::env::var_os("HOME").map(|home| ("HOME", home)));
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Runs a script to its end; what it prints.
#[track_caller]
pub fn paste(script: &str, folder: &Path) -> String {
    let output = bash(script, folder).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{printed}{complaints}");
    printed
}

/// Runs all `sh` blocks of a page as one script, and holds what their `status` lines print against what they say.
/// A block of another language whose first line names a file is put there first. `here` are the places of the page
/// that are others on this machine.
#[track_caller]
pub fn paste_page(page: &'static str, folder: &Path, here: &[(&str, &str)]) -> String {
    let mut script = String::new();
    for Block { info, text } in blocks(page) {
        if info == "sh" {
            script += text;
        } else if let Some(name) = file_name(text.lines().next().unwrap_or_default()) {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (there, here) in here {
        assert!(script.contains(there), "{there}");
        script = script.replace(there, here);
    }
    let printed = paste(&script, folder);
    let statuses: Vec<&str> =
        printed.lines().filter(|line| line.len() == 3 && line.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(statuses, expected(&script), "{printed}");
    printed
}

/// The file that a comment names and nothing else: `// token.mjs`.
fn file_name(line: &str) -> Option<&str> {
    let name =
        line.trim_start_matches("<?php ").strip_prefix("//").or_else(|| line.strip_prefix('#'))?.trim();
    let is_name =
        name.contains('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    is_name.then_some(name)
}
