//! One SQL text for two dialects.
//!
//! Texts are written once; where the dialects differ they hold a marker in
//! braces, which is replaced here and nowhere else:
//!
//! | marker | PostgreSQL | SQLite |
//! |---|---|---|
//! | `{now}` | the clock, read when evaluated | one more parameter, given by the store |
//! | `{in $1 uuid}` | `= ANY($1)` | `IN (...)` over a JSON array; also `int`, `text` |
//! | `{any}` ... `{end}` | `= ANY(ARRAY(...))` | `IN (...)` |
//! | `{rows}` | `unnest` of one array a column, as `r` | `json_each` of one JSON text, as `r` |
//! | `{live}` | keeps rows of surviving items | nothing: only those are sent |
//! | `{position}`, `{at}` | what the commit drew | the row's item number, `$1` |
//! | `{?a~b}` | `a` | `b` |
//!
//! An unknown marker is left as it is and fails when the statement is prepared,
//! which a test does with every one on both engines.

use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

/// Type of a column of rows that are handed to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Text,
    Uuid,
    Bytes,
}

/// Microseconds since the Unix epoch, exact: `extract` is numeric.
pub(crate) const POSTGRES_NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

impl Type {
    const fn array(self) -> &'static str {
        match self {
            Self::Int => "bigint[]",
            Self::Text => "text[]",
            Self::Uuid => "uuid[]",
            Self::Bytes => "bytea[]",
        }
    }

    /// How SQLite gets the value out of JSON; ids and bytes travel as hexadecimals.
    fn out_of_json(self, value: &str) -> String {
        match self {
            Self::Int | Self::Text => value.to_owned(),
            Self::Uuid | Self::Bytes => format!("unhex({value})"),
        }
    }
}

/// Replaces all markers but those about rows.
pub(crate) fn expand(dialect: Dialect, text: &str) -> String {
    let now = match dialect {
        Dialect::Postgres => POSTGRES_NOW.to_owned(),
        Dialect::Sqlite => format!("${}", last_parameter(text) + 1),
    };
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        let marker = &rest[start + 1..start + length];
        match replacement(dialect, marker, &now) {
            Some(replacement) => out.push_str(&replacement),
            None => out.push_str(&rest[start..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out
}

fn replacement(dialect: Dialect, marker: &str, now: &str) -> Option<String> {
    let postgres = dialect == Dialect::Postgres;
    if let Some(both) = marker.strip_prefix('?') {
        let (ours, theirs) = both.split_once('~')?;
        return Some(if postgres { ours } else { theirs }.to_owned());
    }
    if let Some(list) = marker.strip_prefix("in ") {
        let (parameter, kind) = list.split_once(' ')?;
        let kind = match kind {
            "int" => Type::Int,
            "text" => Type::Text,
            "uuid" => Type::Uuid,
            _ => return None,
        };
        return Some(if postgres {
            format!("= ANY({parameter}::{})", kind.array())
        } else {
            format!("IN (SELECT {} FROM json_each({parameter}))", kind.out_of_json("value"))
        });
    }
    Some(match (marker, postgres) {
        ("now", _) => now.to_owned(),
        ("any", true) => "= ANY(ARRAY(".to_owned(),
        ("end", true) => "))".to_owned(),
        ("any", false) => "IN (".to_owned(),
        ("end", false) => ")".to_owned(),
        ("position", true) => "(SELECT position FROM ok)[r.item]".to_owned(),
        ("at", true) => "(SELECT at FROM ok)".to_owned(),
        // An array and a subscript, not a join: planned without statistics, a
        // join with a hundred items is a nested loop over all pairs.
        ("live", true) => "WHERE (SELECT position FROM ok)[r.item] > 0".to_owned(),
        ("position", false) => "r.item".to_owned(),
        ("at", false) => "$1".to_owned(),
        // Not empty: `ON CONFLICT` after a bare FROM would be read as a join.
        ("live", false) => "WHERE true".to_owned(),
        _ => return None,
    })
}

/// The source of rows with a column `item` and those given, called `r`. Parameters
/// are counted from `first`: one a column on PostgreSQL, one in all on SQLite.
pub(crate) fn rows(dialect: Dialect, columns: &[(&str, Type)], first: usize) -> String {
    let mut out = String::new();
    match dialect {
        Dialect::Postgres => {
            let _ = write!(out, "unnest(${first}::bigint[]");
            for (place, (_, kind)) in columns.iter().enumerate() {
                let _ = write!(out, ", ${}::{}", first + 1 + place, kind.array());
            }
            out.push_str(") AS r(item");
            for (name, _) in columns {
                let _ = write!(out, ", {name}");
            }
            out.push(')');
        }
        Dialect::Sqlite => {
            out.push_str("(SELECT value->>0 AS item");
            for (place, (name, kind)) in columns.iter().enumerate() {
                let value = kind.out_of_json(&format!("value->>{}", place + 1));
                let _ = write!(out, ", {value} AS {name}");
            }
            let _ = write!(out, " FROM json_each(${first})) AS r");
        }
    }
    out
}

/// The highest `$n` in the text.
pub(crate) fn last_parameter(text: &str) -> usize {
    text.split('$')
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits].parse().ok()
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_become_what_each_dialect_needs() {
        let text = "UPDATE t SET a = {now} WHERE id {in $1 uuid} AND b {any}SELECT $2{end} AND {?x~y}";
        assert_eq!(
            expand(Dialect::Postgres, text),
            format!(
                "UPDATE t SET a = {POSTGRES_NOW} WHERE id = ANY($1::uuid[]) AND b = ANY(ARRAY(SELECT $2)) AND x"
            )
        );
        assert_eq!(
            expand(Dialect::Sqlite, text),
            "UPDATE t SET a = $3 WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND b IN (SELECT $2) AND y"
        );
    }

    #[test]
    fn rows_come_from_arrays_or_out_of_json() {
        let columns = [("key", Type::Bytes), ("due", Type::Int)];
        assert_eq!(
            rows(Dialect::Postgres, &columns, 5),
            "unnest($5::bigint[], $6::bytea[], $7::bigint[]) AS r(item, key, due)"
        );
        assert_eq!(
            rows(Dialect::Sqlite, &columns, 1),
            "(SELECT value->>0 AS item, unhex(value->>1) AS key, value->>2 AS due FROM json_each($1)) AS r"
        );
    }
}
