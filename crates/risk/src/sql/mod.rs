//! SQL statements.
//!
//! - [`clients`]: lines for psql, mysql and sqlite3, comments that a server runs
//! - [`walk`]: every statement of a tree, also those within others
//! - [`statement`]: what one statement does
//! - [`setting`]: settings and pragmas
//! - [`truth`]: conditions that leave nothing out
//! - [`table`]: what is known of names
//!
//! Invariant: what does not parse is a gap. A declared dialect is read beside the
//! generic one, and what either finds counts: the two may see other statements.

mod clients;
mod setting;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod truth;
mod walk;

use sqlparser::ast::Statement;
use sqlparser::dialect::{
    BigQueryDialect, ClickHouseDialect, Dialect, DuckDbDialect, GenericDialect, MsSqlDialect, MySqlDialect,
    PostgreSqlDialect, SQLiteDialect, SnowflakeDialect,
};
use sqlparser::parser::Parser;

use crate::model::{Context, DEPTH_MAX, Found, TEXT_MAX, Unresolved};
use crate::work;

/// Most operators of a text: a chain of them is a tree as deep as it is long.
const OPERATORS_MAX: usize = 500;
/// Units of work a byte: several dialects read it.
const BYTE: usize = 60;
/// Most statements of a text.
const STATEMENTS_MAX: usize = 200;

/// Expressions within expressions that are followed.
const NESTED_MAX: usize = 32;

/// What the statements do. `dialect`: as declared, or empty; `target`: the database, as far as known.
pub fn statements(dialect: &str, text: &str, target: &str, context: &Context) -> Found {
    let whole = 0..text.len();
    if text.len() > TEXT_MAX {
        return Found::from(Unresolved::new("limit.text", "the text is longer than is looked at")).at(&whole);
    }
    if context.depth > DEPTH_MAX {
        return Found::from(Unresolved::new("limit.depth", "statements lie too deep within others"))
            .at(&whole);
    }
    if operators(text) > OPERATORS_MAX {
        let gap = Unresolved::new("limit.operators", "the statements are longer than is looked at");
        return Found::from(gap).at(&whole);
    }
    let _watch = work::watch();
    work::spend(text.len() * BYTE);
    let (text, mut found) = clients::apart(text, context);
    let scope = statement::Base::of(target, context);
    let text = clients::planned(&text);
    match readings(dialect, &text) {
        Some(readings) => readings.iter().for_each(|reading| {
            let one = walk::effects(dialect, &text, reading, &scope, context);
            one.effects
                .into_iter()
                .filter(|effect| !found.effects.contains(effect))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|effect| found.push(effect));
            one.unresolved.into_iter().for_each(|gap| found.gap(gap));
        }),
        None => {
            let gap = Unresolved::new("sql.unparsed", "the statements could not be parsed");
            found.extend(Found::from(gap).at(&whole));
        }
    }
    work::close(found)
}

/// Operators, also those in texts and comments: where those end is the dialect's affair.
fn operators(text: &str) -> usize {
    let marks = text.bytes().filter(|byte| b"+-*/|=<>%^&~!:#@?.[;".contains(byte)).count();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let known = [
        "and",
        "or",
        "not",
        "union",
        "except",
        "intersect",
        "is",
        "like",
        "join",
        "collate",
        "at",
        "in",
        "between",
    ];
    marks + words.filter(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known))).count()
}

/// The trees of the text: as the generic dialect reads it and as the declared one does.
fn readings(dialect: &str, text: &str) -> Option<Vec<Vec<Statement>>> {
    if text.trim().is_empty() || clients::asking_pragma(text) {
        return Some(Vec::new());
    }
    let generic = parsed(&GenericDialect {}, text);
    if let Some(declared) = named(dialect) {
        let declared = parsed(declared.as_ref(), text);
        let mut both = [generic, declared].into_iter().flatten().collect::<Vec<_>>();
        // Usually they agree, and one says what there is to say.
        both.dedup();
        return (!both.is_empty()).then_some(both);
    }
    let mut readings: Vec<_> = generic.into_iter().collect();
    // Whether a quotation or a comment ends here or there is the dialect's affair: `\'`,
    // `--1`, `#`, comments within comments.
    if text.contains(['\\', '#']) || text.contains("--") || text.matches("/*").count() > 1 {
        readings.extend(parsed(&MySqlDialect {}, text));
        readings.extend(parsed(&PostgreSqlDialect {}, text));
    }
    // Only one dialect has functions that are written to.
    if text.to_ascii_lowercase().split_whitespace().any(|word| word == "function") {
        readings.extend(parsed(&ClickHouseDialect {}, text));
    }
    if readings.is_empty() {
        let others: [&dyn Dialect; 4] =
            [&PostgreSqlDialect {}, &MySqlDialect {}, &SQLiteDialect {}, &MsSqlDialect {}];
        readings.extend(others.into_iter().find_map(|dialect| parsed(dialect, text)));
    }
    if readings.is_empty() && table::Table::get().harmless(text) {
        return Some(Vec::new());
    }
    (!readings.is_empty()).then_some(readings)
}

fn parsed(dialect: &dyn Dialect, text: &str) -> Option<Vec<Statement>> {
    let parser = Parser::new(dialect).with_recursion_limit(NESTED_MAX).try_with_sql(text);
    parser.and_then(|mut parser| parser.parse_statements()).ok().filter(|read| read.len() <= STATEMENTS_MAX)
}

fn named(dialect: &str) -> Option<Box<dyn Dialect>> {
    Some(match dialect.trim().to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" | "psql" | "pg" | "redshift" | "cockroach" | "cockroachdb" => {
            Box::new(PostgreSqlDialect {})
        }
        "mysql" | "mariadb" => Box::new(MySqlDialect {}),
        "sqlite" | "sqlite3" => Box::new(SQLiteDialect {}),
        "mssql" | "sqlserver" | "tsql" | "sqlcmd" => Box::new(MsSqlDialect {}),
        "snowflake" => Box::new(SnowflakeDialect {}),
        "bigquery" => Box::new(BigQueryDialect {}),
        "duckdb" => Box::new(DuckDbDialect {}),
        "clickhouse" => Box::new(ClickHouseDialect {}),
        _ => return None,
    })
}
