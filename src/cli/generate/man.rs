//! `pinhole generate man`: a manual page for each command, with the sections that man-pages(7) has for commands.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::cli::{
    Cli, Failure,
    files::{File, Nature},
};

/// What a command's help begins its examples with.
const EXAMPLES: &str = "Examples:";

/// All pages, under the names by which man(1) looks for them.
pub(super) fn pages() -> Result<Vec<File>, Failure> {
    let root = root();
    let mut files = Vec::new();
    let mut commands = vec![&root];
    while let Some(command) = commands.pop() {
        files.push(file(&root, command)?);
        commands.extend(command.get_subcommands());
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// The page of one command, named by its words.
pub(super) fn page(words: &[String]) -> Result<File, Failure> {
    let root = root();
    let mut command = &root;
    for word in words.iter().flat_map(|words| words.split_whitespace()) {
        let found = command.find_subcommand(word);
        command = found.ok_or_else(|| {
            Failure::usage(format!("{word}: {} has no such command; see pinhole --help", name(command)))
        })?;
    }
    file(&root, command)
}

/// The commands, without the one that only prints help.
fn root() -> Command {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    root
}

/// A command's name as one word, such as `pinhole-key-add`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn file(root: &Command, command: &Command) -> Result<File, Failure> {
    let text = render(root, command).map_err(Failure::failed)?;
    Ok(File { name: format!("{}.1", name(command)).into(), text, nature: Nature::Ours })
}

fn render(root: &Command, command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    // No date: the same program makes the same pages.
    let title =
        format!(".TH {} 1 \"\" \"pinhole {}\" \"pinhole\"\n", name(command), env!("CARGO_PKG_VERSION"));
    page.extend_from_slice(title.as_bytes());
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    help(&mut roff, command);
    environment(&mut roff, command);
    exit_status(&mut roff);
    see_also(&mut roff, root, command);
    roff.to_writer(&mut page)?;
    // An empty line is a break by itself.
    Ok(String::from_utf8_lossy(&page).replace("\n.br\n\n.br\n", "\n\n"))
}

/// What stands behind a command's help: examples as they are typed, and what else there is to know.
fn help(roff: &mut Roff, command: &Command) {
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    let (examples, notes) = match after.trim().strip_prefix(EXAMPLES) {
        Some(rest) => rest.split_once("\n\n").unwrap_or((rest, "")),
        None => ("", &*after),
    };
    if !examples.trim().is_empty() {
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.trim_matches('\n').lines() {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
    }
    if !notes.trim().is_empty() {
        roff.control("SH", ["NOTES"]);
        for (number, paragraph) in notes.trim().split("\n\n").enumerate() {
            if number > 0 {
                roff.control("PP", []);
            }
            roff.text([roman(paragraph)]);
        }
    }
}

fn environment(roff: &mut Roff, command: &Command) {
    let takes_settings = command.get_arguments().any(|argument| argument.get_id() == "config");
    roff.control("SH", ["ENVIRONMENT"]);
    if takes_settings || !command.has_subcommands() {
        roff.control("TP", []).text([bold("PINHOLE_SECTION__NAME")]).text([roman(
            "A setting, before that of the configuration file: PINHOLE_BUCKET__NAME is name in [bucket]. \
             'pinhole generate config' prints all of them.",
        )]);
        roff.control("TP", [])
            .text([bold("AWS_*")])
            .text([roman("What the AWS SDK knows of the bucket and its keys, where no setting says it.")]);
    }
    roff.control("TP", [])
        .text([bold("RUST_LOG")])
        .text([roman("What is logged, to standard error, such as warn,pinhole=debug.")]);
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        ("0", "It is done."),
        ("1", "It failed; one line on standard error says why, and what to change."),
        ("2", "What was asked for makes no sense: the command line or a setting."),
    ] {
        roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
}

/// The commands below this one, those beside it, and the one above.
fn see_also(roff: &mut Roff, root: &Command, command: &Command) {
    let own = name(command);
    let above = own.rsplit_once('-').map(|(above, _)| above);
    let mut pages: Vec<&str> = Vec::new();
    let mut commands = vec![root];
    while let Some(other) = commands.pop() {
        let other_name = name(other);
        let parent = other_name.rsplit_once('-').map(|(parent, _)| parent);
        if other_name != own && (Some(other_name) == above || parent == Some(own) || parent == above) {
            pages.push(other_name);
        }
        commands.extend(other.get_subcommands());
    }
    pages.sort_unstable();
    let mut line = Vec::new();
    for page in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(page), roman("(1)")]);
    }
    roff.control("SH", ["SEE ALSO"]).text(line);
}
