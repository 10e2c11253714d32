//! Values on their way into statements and out of rows, for both drivers.

use std::borrow::Cow;

use uuid::Uuid;

use super::db::Row;
use super::template::Type;
use crate::error::StoreError;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(i64),
    OptInt(Option<i64>),
    Text(String),
    OptText(Option<String>),
    Uuid(Uuid),
    OptUuid(Option<Uuid>),
    Bytes(Vec<u8>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
}

/// A value of one column of one row that is handed to a statement.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
    Uuid(Uuid),
    Bytes(Cow<'a, [u8]>),
}

/// Rows for one statement, each belonging to an item (a commit of the batch,
/// counted from 1 as SQL counts).
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub columns: &'static [(&'static str, Type)],
    pub items: Vec<i64>,
    /// Row by row, without `item`.
    pub cells: Vec<Cell<'a>>,
}

impl<'a> Rows<'a> {
    pub const fn new(columns: &'static [(&'static str, Type)]) -> Self {
        Self { columns, items: Vec::new(), cells: Vec::new() }
    }

    /// One cell a column, in order.
    pub fn push<const N: usize>(&mut self, item: i64, cells: [Cell<'a>; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.items.push(item);
        self.cells.extend(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The cells of one column.
    pub fn column(&self, place: usize) -> impl Iterator<Item = &Cell<'a>> {
        self.cells.iter().skip(place).step_by(self.columns.len().max(1))
    }

    /// The rows of those items that `number` gives a number, as a JSON array of
    /// arrays, the number first. `None` if there are none.
    pub fn to_json(&self, number: impl Fn(i64) -> Option<i64>) -> Option<String> {
        let mut out = Vec::with_capacity(self.cells.len() * 24 + 2);
        let rows = self.items.iter().zip(self.cells.chunks(self.columns.len().max(1)));
        for (&item, cells) in rows {
            let Some(number) = number(item) else { continue };
            out.extend_from_slice(if out.is_empty() { b"[[" } else { b",[" });
            out.extend_from_slice(number.to_string().as_bytes());
            for cell in cells {
                out.push(b',');
                cell.write_json(&mut out);
            }
            out.push(b']');
        }
        if out.is_empty() {
            return None;
        }
        out.push(b']');
        String::from_utf8(out).ok()
    }
}

impl<'a> Cell<'a> {
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }

    /// Sequences and counts are far below 2^63.
    pub fn int(value: u64) -> Self {
        Self::Int(stored(value))
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::Uuid(id) => write_hex(id.as_bytes(), out),
            Self::Bytes(bytes) => write_hex(bytes, out),
        }
    }
}

/// A sequence or count as it is stored.
pub(crate) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A JSON array for `{in}` on SQLite.
pub(crate) fn ids_to_json(ids: &[Uuid]) -> String {
    list_to_json(ids, |id, out| write_hex(id.as_bytes(), out))
}

pub(crate) fn ints_to_json(ints: &[i64]) -> String {
    list_to_json(ints, |int, out| out.extend_from_slice(int.to_string().as_bytes()))
}

pub(crate) fn texts_to_json(texts: &[String]) -> String {
    list_to_json(texts, |text, out| write_text(text, out))
}

fn list_to_json<T>(items: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> String {
    let mut out = vec![b'['];
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, &mut out);
    }
    out.push(b']');
    String::from_utf8(out).unwrap_or_default()
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 2);
    out.push(b'"');
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'"');
}

/// Reads a row column by column, in the order of the statement.
pub(crate) struct Reader<'a> {
    row: &'a Row,
    table: &'static str,
    next: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(row: &'a Row, table: &'static str) -> Self {
        Self { row, table, next: 0 }
    }

    fn take<T>(
        &mut self,
        column: &'static str,
        get: impl FnOnce(&Row, usize) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let place = self.next;
        self.next += 1;
        get(self.row, place).map_err(|error| self.corrupt(column, error))
    }

    /// What cannot be read, with the row's first column as its id.
    pub fn corrupt(&self, column: &'static str, why: impl ToString) -> StoreError {
        let id = self.row.uuid(0).map(|id| id.to_string()).unwrap_or_else(|_| "(no id)".to_owned());
        StoreError::Corrupt { table: self.table, column, id, why: why.to_string() }
    }

    pub fn int(&mut self, column: &'static str) -> Result<i64, StoreError> {
        self.take(column, Row::int)
    }

    /// A sequence, count or code: never negative.
    pub fn count<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let value = self.int(column)?;
        T::try_from(value).map_err(|_| self.corrupt(column, format!("{value} is out of range")))
    }

    pub fn opt_int(&mut self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.take(column, Row::opt_int)
    }

    pub fn text(&mut self, column: &'static str) -> Result<String, StoreError> {
        self.take(column, Row::text)
    }

    pub fn opt_text(&mut self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.take(column, Row::opt_text)
    }

    pub fn uuid(&mut self, column: &'static str) -> Result<Uuid, StoreError> {
        self.take(column, Row::uuid)
    }

    pub fn opt_uuid(&mut self, column: &'static str) -> Result<Option<Uuid>, StoreError> {
        self.take(column, Row::opt_uuid)
    }

    pub fn bytes(&mut self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.take(column, Row::bytes)
    }

    pub fn json<T: serde::de::DeserializeOwned>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|error| self.corrupt(column, error))
    }

    /// 32 bytes: a digest or hash.
    pub fn hash(&mut self, column: &'static str) -> Result<[u8; 32], StoreError> {
        let bytes = self.bytes(column)?;
        <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| self.corrupt(column, format!("{} bytes are not 32", bytes.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_dropped_items_are_not_written() {
        const COLUMNS: &[(&str, Type)] = &[("id", Type::Bytes), ("name", Type::Text), ("n", Type::Int)];
        let mut rows = Rows::new(COLUMNS);
        rows.push(1, [Cell::bytes(&[0xab, 1]), Cell::text("a\"b"), Cell::Null]);
        rows.push(2, [Cell::bytes(&[]), Cell::text(""), Cell::Int(-1)]);
        rows.push(3, [Cell::bytes(&[7]), Cell::text("c"), Cell::Int(i64::MAX)]);
        let json = rows.to_json(|item| (item != 2).then_some(item * 10));
        assert_eq!(json.unwrap(), r#"[[10,"ab01","a\"b",null],[30,"07","c",9223372036854775807]]"#);
        assert_eq!(rows.to_json(|_| None), None);
    }
}
