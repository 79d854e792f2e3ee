//! What a command prints: the same rows for people, for programs and for a spreadsheet.
//!
//! Results go to standard output, everything that is said about them to standard error. Whoever stops reading early
//! (`simplejwt outstanding list | head`) is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Table, presets};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::exit::Failure;

/// How results are written. Comments, so that clap does not spread its help over pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // For people; it may change from version to version.
    #[default]
    Table,
    // For programs; its fields stay.
    Json,
    // The same fields for a spreadsheet.
    Csv,
}

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    pub(super) const fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// The same, as if with `--quiet`.
    pub(super) const fn silent(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Whether people read this, and not a program.
    pub(super) const fn is_for_people(self) -> bool {
        matches!(self.format, Format::Table)
    }

    /// Whether a progress bar would be seen, and is wanted.
    pub(super) fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A list.
    pub(super) fn rows(self, columns: &[&str], rows: &[Vec<Value>]) -> Result<(), Failure> {
        match self.format {
            Format::Table if rows.is_empty() => {
                self.aside("none");
                Ok(())
            }
            Format::Table => write(|out| writeln!(out, "{}", table(columns, rows))),
            Format::Json => {
                let list: Vec<_> = rows.iter().map(|cells| Fields { columns, cells }).collect();
                write(|out| json(out, &list))
            }
            Format::Csv => write(|out| csv(out, columns, rows)),
        }
    }

    /// One thing, with its fields.
    pub(super) fn record(self, fields: &[(&str, Value)]) -> Result<(), Failure> {
        let (columns, cells): (Vec<_>, Vec<_>) = fields.iter().cloned().unzip();
        match self.format {
            Format::Table => {
                let width = columns.iter().map(|name| name.len()).max().unwrap_or_default();
                write(|out| {
                    for (name, value) in columns.iter().zip(&cells) {
                        writeln!(out, "{:width$}  {}", title(name), shown(value))?;
                    }
                    Ok(())
                })
            }
            Format::Json => write(|out| json(out, &Fields { columns: &columns, cells: &cells })),
            Format::Csv => write(|out| csv(out, &columns, &[cells])),
        }
    }

    /// What was done, in a sentence for people. Programs get it as rows or as a record; nobody does with `--quiet`.
    pub(super) fn done(self, sentence: impl Display) -> Result<(), Failure> {
        if self.quiet || !self.is_for_people() {
            return Ok(());
        }
        write(|out| writeln!(out, "{}", clean(&sentence.to_string())))
    }

    /// Something that helps to read the result, beside it.
    pub(super) fn aside(self, sentence: impl Display) {
        if !self.quiet {
            complain("", &sentence);
        }
    }
}

/// A line that was asked for and is the same in every form.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    write(|out| writeln!(out, "{text}"))
}

/// Text as it is.
pub(super) fn text(bytes: &[u8]) -> Result<(), Failure> {
    write(|out| out.write_all(bytes))
}

/// A list that goes on: its rows as they come, a line each.
pub(super) struct Stream<'a> {
    output: Output,
    columns: &'a [&'a str],
    begun: bool,
}

impl Output {
    /// A list of which nobody knows yet how long it will be. JSON is one object a line.
    pub(super) fn stream<'a>(self, columns: &'a [&'a str]) -> Stream<'a> {
        Stream { output: self, columns, begun: false }
    }
}

impl Stream<'_> {
    /// Writes the next rows, and says whether somebody still reads.
    pub(super) fn rows(&mut self, rows: &[Vec<Value>]) -> Result<bool, Failure> {
        let Self { output, columns, begun } = *self;
        let written = write_to_reader(|out| match output.format {
            Format::Table => rows.iter().try_for_each(|cells| {
                let cells: Vec<_> = cells.iter().map(shown).collect();
                writeln!(out, "{}", cells.join("  "))
            }),
            Format::Json => rows.iter().try_for_each(|cells| {
                serde_json::to_writer(&mut *out, &Fields { columns, cells })?;
                writeln!(out)
            }),
            Format::Csv => csv(out, if begun { &[] } else { columns }, rows),
        })?;
        self.begun = true;
        Ok(written)
    }
}

/// Something that somebody should look at, although the command goes on. `--quiet` does not hide it: a command that is
/// run by cron is run with `--quiet`.
pub(super) fn warn(sentence: impl Display) {
    complain("warning: ", &sentence);
}

/// One line on standard error. If that cannot be written, there is nobody to tell.
pub(super) fn complain(mark: &str, sentence: &dyn Display) {
    drop(writeln!(io::stderr(), "{mark}{}", clean(&sentence.to_string())));
}

/// Writes to standard output as a whole.
fn write(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    write_to_reader(content).map(drop)
}

/// The same, and says whether somebody reads.
fn write_to_reader(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<bool, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match content(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output cannot be written", &error))
        }
        written => {
            // What a closed pipe did not take is not to be written again when the buffer is dropped.
            drop(out.into_parts());
            Ok(written.is_ok())
        }
    }
}

/// A row as a JSON object, its fields in order.
struct Fields<'a> {
    columns: &'a [&'a str],
    cells: &'a [Value],
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().zip(self.cells))
    }
}

fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn csv(out: &mut dyn Write, columns: &[&str], rows: &[Vec<Value>]) -> io::Result<()> {
    // Written to memory first: the writer's own error would not say that it was a closed pipe.
    let mut writer = csv::Writer::from_writer(Vec::new());
    if !columns.is_empty() {
        writer.write_record(columns)?;
    }
    for row in rows {
        writer.write_record(row.iter().map(plain))?;
    }
    out.write_all(&writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

fn table(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let bold = io::stdout().is_terminal() && wants_color();
    if bold {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let head = |name: &&str| {
        let cell = Cell::new(title(name).to_uppercase());
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.set_header(columns.iter().map(head).collect::<Vec<_>>());
    table.add_rows(rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `NO_COLOR` (no-color.org): set and not empty.
pub(super) fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn title(column: &str) -> String {
    column.replace('_', " ")
}

/// A value as plain text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => clean(&plain(other)),
    }
}

/// Text without what a terminal would obey: others write into the database too.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for char in text.chars() {
        // Besides control characters, those that turn the direction of what follows.
        let obeyed = char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if obeyed { clean.extend(char.escape_default()) } else { clean.push(char) }
    }
    clean
}

/// An instant, as every format has it: RFC 3339 in UTC, to the second.
pub(super) fn instant(at: DateTime<Utc>) -> Value {
    instant_text(at).into()
}

/// An instant that there may not be.
pub(super) fn maybe(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, instant)
}

/// An instant as text.
pub(super) fn instant_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows() -> Vec<Vec<Value>> {
        vec![vec![json!("a,\"b\""), Value::Null, json!(true)], vec![json!("e\u{1b}[31m\n"), json!(7), json!(false)]]
    }

    fn written(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        content(&mut bytes).expect("writing to memory");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn people_see_no_control_characters_and_no_trailing_space() {
        let text = table(&["jti", "expires_at", "known"], &rows());
        assert_eq!(
            text,
            "JTI            EXPIRES AT  KNOWN\na,\"b\"          -           yes\ne\\u{1b}[31m\\n  7           no"
        );
    }

    #[test]
    fn programs_see_everything_with_the_fields_in_order() {
        let (columns, rows) = (["jti", "id", "known"], rows());
        let list: Vec<_> = rows.iter().map(|cells| Fields { columns: &columns, cells }).collect();
        let text = written(|out| json(out, &list));
        assert!(text.find("\"jti\"") < text.find("\"id\""), "{text}");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read[1]["jti"], "e\u{1b}[31m\n");
        let text = written(|out| csv(out, &columns, &rows));
        assert_eq!(text, "jti,id,known\n\"a,\"\"b\"\"\",,true\n\"e\u{1b}[31m\n\",7,false\n");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(clean("two\nlines \u{202e}"), "two\\nlines \\u{202e}");
    }
}
