//! What a line of the log looks like: words for people, or a JSON object for programs.

use std::{fmt, sync::atomic::Ordering};

use anstyle::{AnsiColor, Color, Style};
use serde::ser::{SerializeMap, Serializer as _};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{IS_JSON, Ids};
use crate::clock;

/// The members that every JSON line has, or those of a request's: no field of an event stands in their place.
const OURS: [&str; 5] = ["timestamp", "level", "target", "request_id", "trace_id"];

/// Writes an event as the settings say.
pub(super) struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = clock::rfc3339(clock::now_micros());
        if IS_JSON.load(Ordering::Relaxed) {
            let line = json(&now, event).map_err(|_| fmt::Error)?;
            return writeln!(writer, "{line}");
        }
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        let has_colours = writer.has_ansi_escapes();
        human(&mut writer, has_colours, &now, event, &said)
    }
}

fn human(
    out: &mut impl fmt::Write,
    has_colours: bool,
    now: &str,
    event: &Event<'_>,
    said: &str,
) -> fmt::Result {
    let metadata = event.metadata();
    let (dimmed, level) = if has_colours {
        (Style::new().dimmed(), Style::new().fg_color(Some(Color::Ansi(colour(*metadata.level())))))
    } else {
        (Style::new(), Style::new())
    };
    write!(out, "{dimmed}{now}{dimmed:#} {level}{:>5}{level:#} ", metadata.level().as_str())?;
    write!(out, "{dimmed}{}:{dimmed:#} ", metadata.target())?;
    // One line an event: what others' words begin anew is no line of ours.
    for c in said.chars() {
        match c {
            c if c.is_control() => write!(out, "{}", c.escape_default())?,
            c => out.write_char(c)?,
        }
    }
    Ids::current(|ids| {
        write!(out, " {dimmed}request_id={}", ids.request)?;
        if let Some(trace) = &ids.trace {
            write!(out, " trace_id={trace}")?;
        }
        write!(out, "{dimmed:#}")
    })
    .transpose()?;
    writeln!(out)
}

fn colour(level: Level) -> AnsiColor {
    match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG => AnsiColor::Blue,
        Level::TRACE => AnsiColor::Magenta,
    }
}

/// The event as an object: `timestamp`, `level`, `target`, `request_id` and `trace_id` where it belongs to a request,
/// `message`, and each of its fields.
fn json(now: &str, event: &Event<'_>) -> Result<String, serde_json::Error> {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut members = serializer.serialize_map(None)?;
    let metadata = event.metadata();
    members.serialize_entry("timestamp", now)?;
    members.serialize_entry("level", metadata.level().as_str())?;
    members.serialize_entry("target", metadata.target())?;
    Ids::current(|ids| {
        members.serialize_entry("request_id", &format_args!("{}", ids.request))?;
        match &ids.trace {
            Some(trace) => members.serialize_entry("trace_id", &format_args!("{trace}")),
            None => Ok(()),
        }
    })
    .transpose()?;
    let mut fields = Fields { members, written: Ok(()) };
    event.record(&mut fields);
    fields.written?;
    fields.members.end()?;
    Ok(String::from_utf8(line).unwrap_or_default())
}

/// Writes fields as members of an object.
struct Fields<M: SerializeMap> {
    members: M,
    written: Result<(), M::Error>,
}

impl<M: SerializeMap> Fields<M> {
    fn write(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        if self.written.is_ok() && !OURS.contains(&field.name()) {
            self.written = self.members.serialize_entry(field.name(), value);
        }
    }
}

impl<M: SerializeMap> Visit for Fields<M> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, &value);
    }
}
