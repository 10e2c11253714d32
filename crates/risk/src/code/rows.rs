//! SQL that lies within code.

use super::act::{gap, inner};
use super::evaluate::Names;
use super::value::{HOLE, Value};
use crate::model::{Found, Undo};
use crate::sql;

const VERBS: [&str; 19] = [
    "select", "insert", "update", "delete", "drop", "alter", "create", "truncate", "grant", "revoke", "with",
    "copy", "call", "merge", "replace", "pragma", "attach", "vacuum", "set",
];

/// SQL that is written out; what is not known to be SQL is left alone.
pub fn statement(names: &Names<'_>, text: &Value) -> Found {
    let Value::Text(text) = text else { return Found::default() };
    let head: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    if !VERBS.contains(&head.to_lowercase().as_str()) {
        return Found::default();
    }
    if text.contains(HOLE) {
        return gap("code.sql.built", "a statement is put together when it runs");
    }
    let mut found = sql::statements("", &without_placeholders(text), "", &inner(names.context));
    // Rows that a value picks are what programs delete and change every day.
    if picks(text) {
        let rows = found
            .effects
            .iter_mut()
            .filter(|effect| matches!(effect.rule.as_str(), "sql.delete" | "sql.update"));
        rows.for_each(|effect| effect.undo = Undo::Easy);
    }
    found
}

/// Whether one statement names its rows by a value that is handed to the driver.
fn picks(text: &str) -> bool {
    let small = text.to_lowercase();
    let one = small.trim().trim_end_matches(';');
    let Some((_, condition)) = one.split_once(" where ").or_else(|| one.split_once("\nwhere ")) else {
        return false;
    };
    let condition: String = condition.chars().filter(|c| !c.is_whitespace()).collect();
    let placeholder = ["=?", "=$", "=%s", "=%(", "=:", "=@", "in(?", "in($", "any($", "in(%s"];
    !one.contains(';')
        && !condition.contains("or1=1")
        && placeholder.iter().any(|form| condition.contains(form))
}

/// `%s` and `%(name)s` are values that the driver fills in.
fn without_placeholders(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('s').or_else(|| {
            let (_, rest) = part.strip_prefix('(')?.split_once(')')?;
            rest.strip_prefix('s')
        });
        match rest {
            Some(rest) => {
                plain.push('?');
                plain.push_str(rest);
            }
            None => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}
