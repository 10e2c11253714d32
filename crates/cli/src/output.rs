//! Data on standard output, as tables or ProtoJSON; talk goes to standard error.
//!
//! Invariant: with `-o json` nothing but JSON reaches standard output.

use std::io::{IsTerminal as _, Write as _};
use std::time::SystemTime;

use comfy_table::{ContentArrangement, Table, presets};
use quarterdeck_client::Error;
use serde_json::Value;

use crate::clock;
use crate::failure::Failure;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// ProtoJSON for programs.
    Json,
}

/// Something that lists show.
pub trait Row {
    /// Heads of the columns.
    const HEAD: &'static [&'static str];
    /// One cell a column.
    fn cells(&self, now: SystemTime) -> Vec<String>;
    /// The message as ProtoJSON.
    fn json(&self) -> Result<Value, Error>;
}

/// Writes a list: a table, or a JSON array. `empty` is said where there is nothing.
pub fn list<T: Row>(format: Format, items: &[T], empty: &str) -> Result<(), Failure> {
    if format == Format::Json {
        let items: Result<Vec<Value>, Error> = items.iter().map(Row::json).collect();
        return json(&Value::Array(items?));
    }
    if items.is_empty() {
        say(empty);
        return Ok(());
    }
    let now = clock::now();
    let rows = items.iter().map(|item| item.cells(now)).collect();
    emit(&table(T::HEAD, rows))
}

/// Columns without lines, so that they can be cut and pasted.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Writes one JSON value, indented.
pub fn json(value: &Value) -> Result<(), Failure> {
    emit(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// Writes one JSON value on one line.
pub fn json_line(value: &Value) -> Result<(), Failure> {
    emit(&value.to_string())
}

/// Writes data and a line break to standard output.
///
/// A reader that has seen enough (`| head`) is no failure: the process ends quietly.
pub fn emit(text: &str) -> Result<(), Failure> {
    raw(text.as_bytes())?;
    raw(b"\n")
}

/// Writes bytes to standard output as they are.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Says something to the person, not to the program reading standard output.
pub fn say(words: &str) {
    // A closed standard error is nobody to complain to.
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

/// Whether colours are wanted on standard error: a terminal, and no `NO_COLOR`.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && !refused()
}

/// The same for standard output.
pub fn colour_of_data() -> bool {
    std::io::stdout().is_terminal() && !refused()
}

fn refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// An enum's name without its prefix: `TASK_STATE_RUNNING` becomes `running`.
pub fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_lines_and_no_trailing_blanks() {
        let text =
            table(&["ID", "NAME"], vec![vec!["tsk_1".into(), "a b".into()], vec!["x".into(), String::new()]]);
        assert_eq!(text, "ID     NAME\ntsk_1  a b\nx");
    }

    #[test]
    fn enum_names_lose_their_prefix() {
        assert_eq!(lower("TASK_STATE_RUNNING", "TASK_STATE_"), "running");
        assert_eq!(lower("STOP_CODE_NO_AGENT", "STOP_CODE_"), "no agent");
    }
}
