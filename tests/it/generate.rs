//! What `pinhole generate` prints is taken, without a complaint, by those whom it is for.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn pinhole(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinhole")).env_clear().args(args).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Everything that a command says of a file.
fn complaints(command: &str, args: &[&str], file: &Path) -> Vec<String> {
    let mut command = Command::new(command);
    let output = command.args(args).arg(file).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
}

#[test]
fn there_is_a_page_for_every_command_and_nobody_complains_of_it() {
    let folder = tempfile::tempdir().unwrap();
    said(&pinhole(&["generate", "man", "--out", folder.path().to_str().unwrap()]));
    let mut pages: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    pages.sort_unstable();
    assert!(pages.contains(&"pinhole.1".into()) && pages.contains(&"pinhole-key-add.1".into()), "{pages:?}");
    for page in &pages {
        let path = folder.path().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(text.contains(&format!(".SH {section}\n")), "{page:?} lacks {section}");
        }
        // A page without a date is as good the next time that it is made.
        let linted = complaints("mandoc", &["-Tlint", "-W", "warning"], &path);
        let linted: Vec<_> = linted.iter().filter(|line| !line.contains("missing date")).collect();
        assert!(linted.is_empty(), "{linted:?}");
        let formatted = complaints("groff", &["-man", "-ww", "-z", "-K", "utf8"], &path);
        assert!(formatted.is_empty(), "{formatted:?}");
    }
    let page = said(&pinhole(&["generate", "man", "serve"]));
    assert!(
        page.contains(".SH EXAMPLES\n") && page.contains("pinhole serve \\-\\-config pinhole.toml"),
        "{page}"
    );
    let output = pinhole(&["generate", "man", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing: pinhole has no such command"));
}

#[test]
fn shells_complete_commands_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let bash = said(&pinhole(&["generate", "completions", "bash"]));
    let script = folder.path().join("pinhole");
    std::fs::write(&script, bash).unwrap();
    let complete = |words: &str, cword: usize| {
        let asked = format!(
            ". \"$0\"; COMP_WORDS=({words}); COMP_CWORD={cword}; \
             _pinhole pinhole \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        said(&Command::new("bash").args(["-c", &asked]).arg(&script).output().unwrap())
    };
    assert_eq!(complete("pinhole gen", 1).trim(), "generate");
    assert_eq!(complete("pinhole generate completions fi", 3).trim(), "fish");
    assert!(complete("pinhole serve --", 2).contains("--ops-listen"));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = said(&pinhole(&["generate", "completions", shell]));
        assert!(script.contains("ops-listen") && script.contains("generate"), "{shell}");
    }
}

#[test]
fn what_an_operator_has_edited_stays_until_he_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let file = folder.path().join("pinhole.toml");
    assert!(said(&pinhole(&["generate", "config", "--out", out])).contains("pinhole.toml: written"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), said(&pinhole(&["generate", "config"])));
    std::fs::write(&file, "# mine").unwrap();
    assert!(said(&pinhole(&["generate", "config", "--out", out])).contains("kept"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine");
    said(&pinhole(&["generate", "config", "--out", out, "--force"]));
    assert_ne!(std::fs::read_to_string(&file).unwrap(), "# mine");
}

/// The most that systemd may find exposed, in tenths of 10: below 2 it calls a service "OK".
const EXPOSURE: &str = "20";

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    said(&pinhole(&["generate", "systemd", "--out", folder.path().to_str().unwrap()]));
    let service = folder.path().join("pinhole@.service");
    let text = std::fs::read_to_string(&service).unwrap();
    // What is not installed here cannot be verified.
    let here = text.replace("/usr/bin/pinhole", env!("CARGO_BIN_EXE_pinhole"));
    std::fs::write(folder.path().join("pinhole@1.service"), &here).unwrap();
    std::fs::write(&service, &here).unwrap();
    for unit in ["pinhole@1.service", "pinhole.socket"] {
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(folder.path().join(unit));
        let output =
            verify.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display())).output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours: Vec<_> = complaints.lines().filter(|line| line.contains("pinhole")).collect();
        assert!(output.status.success() && ours.is_empty(), "{complaints}");
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE]).arg(&service);
    let output = security.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// How long systemd waits is longer than the program takes.
#[test]
fn the_unit_waits_for_the_drain() {
    let unit = said(&pinhole(&["generate", "systemd"]));
    let waits = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let server = pinhole::config::Server::default();
    assert!(waits.parse::<u64>().unwrap() > server.drain_secs);
}
