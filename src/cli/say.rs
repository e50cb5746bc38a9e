//! What commands print: text, in colours where somebody sees them, or JSON where programs read it.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Color, Style};
use serde::Serialize;

use super::Failure;

/// What is as it should be.
pub(super) const GOOD: Style = bold(AnsiColor::Green);
/// What is not.
pub(super) const BAD: Style = bold(AnsiColor::Red);
/// What is neither.
pub(super) const NOTE: Style = bold(AnsiColor::Yellow);

const fn bold(colour: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(Color::Ansi(colour)))
}

/// Prints what was done: it is done, whoever reads of it, so that nobody reading along is no reason to fail.
pub(super) fn print(text: impl AsRef<str>) {
    let _ = write(text.as_ref());
}

/// Prints a report, which is all that the command is for.
pub(super) fn report(text: impl AsRef<str>) -> Result<(), Failure> {
    write(text.as_ref()).map_err(Failure::failed)
}

/// Colours are left out unless it goes to a terminal; `NO_COLOR` (<https://no-color.org>) and `CLICOLOR_FORCE`
/// (<https://bixense.com/clicolors/>) count more.
fn write(text: &str) -> io::Result<()> {
    let mut out = AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Whether signs beyond ASCII may be printed: to a terminal, unless it is to be plain.
pub(super) fn has_signs() -> bool {
    let out = io::stdout();
    out.is_terminal() && AutoStream::choice(&out) != ColorChoice::Never
}

/// A value as JSON, to be read by people, too.
pub(super) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(Failure::failed)
}

/// Others' words may be among it: whatever a terminal would obey is a blank.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().replace(char::is_control, " ")
}
