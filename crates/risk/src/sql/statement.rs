//! What one statement does, without those within it.

use std::collections::HashSet;

use sqlparser::ast::{
    AlterTable, AlterTableOperation, AssignmentTarget, CopySource, CopyTarget, CreateFunction,
    CreateFunctionBody, CreateTable, Delete, Expr, FromTable, Insert, Merge, MergeAction, ObjectName,
    ObjectType, Statement, TableFactor, TableWithJoins, Update,
};

use super::table::{Table, last};
use super::{setting, truth};
use crate::model::{Context, Effect, EffectKind, Environment, Found, Scope, Undo, Unresolved};
use crate::{path, shell};

/// The database.
pub struct Base {
    pub scope: Scope,
}

impl Base {
    /// A file of the project is the project's; anything else is a server's.
    pub fn of(target: &str, context: &Context) -> Self {
        let file = target == ":memory:"
            || target.starts_with("sqlite:")
            || target
                .rsplit_once('.')
                .is_some_and(|(_, ending)| matches!(ending, "db" | "sqlite" | "sqlite3" | "duckdb" | "db3"));
        let path = target.trim_start_matches("sqlite:").trim_start_matches("//");
        let scope = match (file, target, context.environment) {
            (true, ":memory:" | "sqlite::memory:", _) => Scope::Temp,
            (true, ..) => path::locate(path, context).scope,
            (_, _, Some(Environment::Production)) => Scope::Production,
            _ => Scope::Remote,
        };
        Self { scope }
    }
}

/// What a statement is judged by, beside itself.
pub struct Known<'a> {
    pub dialect: &'a str,
    pub base: &'a Base,
    pub context: &'a Context,
    /// Temporary tables made before, in small letters.
    pub own: &'a HashSet<String>,
    /// Routines that these statements call, in small letters.
    pub calls: &'a HashSet<String>,
}

impl Known<'_> {
    pub fn effect(
        &self,
        kind: EffectKind,
        target: impl ToString,
        undo: Undo,
        rule: &str,
        why: &str,
    ) -> Found {
        let target = target.to_string();
        let temporary = self.base.scope == Scope::Temp
            || self.own.contains(&target.to_lowercase())
            || Table::get().temporary(&target);
        let scope = if temporary { Scope::Temp } else { self.base.scope };
        let undo = if temporary { undo.min(Undo::Easy) } else { undo };
        Effect::new(kind, target, scope, undo, rule, why).into()
    }
}

/// `EXPLAIN` without `ANALYZE` runs nothing.
pub fn only_explained(statement: &Statement) -> bool {
    match statement {
        Statement::Explain { analyze, options, .. } => {
            let off =
                |value: &Expr| matches!(value.to_string().to_lowercase().as_str(), "false" | "off" | "0");
            let asked = options.iter().flatten().any(|option| {
                option.name.value.eq_ignore_ascii_case("analyze") && !option.arg.as_ref().is_some_and(off)
            });
            !analyze && !asked
        }
        Statement::ExplainTable { .. } => true,
        _ => false,
    }
}

/// What it does; statements of no effect at all answer nothing.
pub fn effects(statement: &Statement, known: &Known<'_>) -> Found {
    match statement {
        Statement::Query(_) => {
            known.effect(EffectKind::Read, "rows", Undo::Nothing, "sql.read", "reads rows")
        }
        Statement::Insert(insert) => inserted(insert, known),
        Statement::Update(update) => updated(update, known),
        Statement::Delete(delete) => deleted(delete, known),
        Statement::Merge(merge) => merged(merge, known),
        Statement::Truncate(truncate) => {
            let names = truncate.table_names.iter().map(|table| &table.name);
            each(names, |name| {
                known.effect(EffectKind::BulkData, name, Undo::Never, "sql.truncate", "empties a table")
            })
        }
        Statement::Drop { object_type, names, temporary, .. } => {
            dropped(object_type, names, *temporary, known)
        }
        Statement::CreateTable(table) => created(table, known),
        Statement::AlterTable(alter) => altered(alter, known),
        Statement::Copy { source, to, target, .. } => copied(source, *to, target, known),
        Statement::CreateFunction(function) => routine(function, known),
        Statement::CreateExtension(extension) => extended(&extension.name.value, known),
        Statement::Set(set) => setting::switched(set, known),
        Statement::Pragma { name, value, .. } => {
            setting::pragma(name, value.as_ref().map(|value| value.value.to_string()), known)
        }
        Statement::AttachDatabase { database_file_name, .. } => attached(database_file_name, known),
        Statement::Execute { name: Some(name), .. } if Table::get().looks(&name.to_string()) => {
            known.effect(EffectKind::Read, name, Undo::Nothing, "sql.procedure", "asks a server about itself")
        }
        Statement::Execute { immediate, parameters, .. } => executed(*immediate, parameters, known),
        other => by_name(other, known),
    }
}

fn each<'a>(names: impl Iterator<Item = &'a ObjectName>, effect: impl Fn(&ObjectName) -> Found) -> Found {
    names.fold(Found::default(), |mut found, name| {
        found.extend(effect(name));
        found
    })
}

/// Statements that need no look into them.
fn by_name(statement: &Statement, known: &Known<'_>) -> Found {
    use Statement as S;
    let text = || statement.to_string().chars().take(80).collect::<String>();
    match statement {
        S::CreateView { .. }
        | S::CreateIndex(_)
        | S::CreateSchema { .. }
        | S::CreateDatabase { .. }
        | S::CreateSequence { .. }
        | S::CreateType { .. }
        | S::CreateDomain(_)
        | S::CreateVirtualTable { .. }
        | S::CreateOperator(_)
        | S::CreateMacro { .. }
        | S::CreateCollation(_)
        | S::Comment { .. }
        | S::AlterIndex { .. }
        | S::AlterView { .. }
        | S::AlterType(_) => known.effect(
            EffectKind::Schema,
            text(),
            Undo::Easy,
            "sql.create",
            "adds to the shape of the database",
        ),
        S::CreateTrigger(_) | S::CreateProcedure { .. } => known.effect(
            EffectKind::Schema,
            text(),
            Undo::Hard,
            "sql.routine.create",
            "lets the database run code later",
        ),
        S::Grant(_)
        | S::Revoke(_)
        | S::Deny(_)
        | S::CreateRole(_)
        | S::CreateUser(_)
        | S::AlterRole { .. }
        | S::AlterUser(_)
        | S::CreatePolicy(_)
        | S::AlterPolicy(_)
        | S::DropPolicy(_)
        | S::CreateSecret { .. }
        | S::DropSecret { .. }
        | S::CreateServer(_)
        | S::CreateConnector(_) => {
            known.effect(EffectKind::Privilege, text(), Undo::Hard, "sql.rights", "changes who may do what")
        }
        S::Kill { .. } => {
            known.effect(EffectKind::Control, text(), Undo::Hard, "sql.kill", "ends a session of the server")
        }
        S::DropFunction(_)
        | S::DropProcedure { .. }
        | S::DropTrigger(_)
        | S::DropExtension(_)
        | S::DropDomain(_)
        | S::DropOperator(_) => {
            known.effect(EffectKind::Schema, text(), Undo::Hard, "sql.drop", "drops a part of the database")
        }
        S::Explain { .. }
        | S::Analyze(_)
        | S::Vacuum(_)
        | S::ShowVariable { .. }
        | S::ShowVariables { .. }
        | S::ShowStatus { .. }
        | S::ShowCreate { .. }
        | S::ShowColumns { .. }
        | S::ShowTables { .. }
        | S::ShowFunctions { .. }
        | S::ShowDatabases { .. }
        | S::ShowSchemas { .. }
        | S::ShowViews { .. }
        | S::ShowCollation { .. }
        | S::Use(_)
        | S::StartTransaction { .. }
        | S::Commit { .. }
        | S::Rollback { .. }
        | S::Savepoint { .. }
        | S::ReleaseSavepoint { .. }
        | S::Prepare { .. }
        | S::Deallocate { .. }
        | S::Declare { .. }
        | S::Fetch { .. }
        | S::Close { .. }
        | S::Open(_)
        | S::LISTEN { .. }
        | S::NOTIFY { .. }
        | S::UNLISTEN { .. }
        | S::Discard { .. }
        | S::Assert { .. }
        | S::If(_)
        | S::Case(_)
        | S::While(_)
        | S::Raise(_)
        | S::Print(_)
        | S::Return(_)
        | S::ExplainTable { .. }
        | S::UnlockTables
        | S::LockTables { .. } => Found::default(),
        other if other.to_string().to_ascii_lowercase().starts_with("show ") => Found::default(),
        _ => Unresolved::new("sql.unknown", "a statement whose effect is not known").into(),
    }
}

fn inserted(insert: &Insert, known: &Known<'_>) -> Found {
    let target = insert.table.to_string();
    let mut found = match insert.overwrite {
        true => {
            known.effect(EffectKind::BulkData, &target, Undo::Never, "sql.overwrite", "replaces all rows")
        }
        false => known.effect(EffectKind::Write, &target, Undo::Easy, "sql.insert", "adds rows"),
    };
    found.extend(catalogued(&target, known));
    let columns = insert.columns.iter().map(ToString::to_string).collect::<Vec<_>>();
    if columns.iter().any(|column| Table::get().rights(column)) && accounts(&target) {
        found.extend(given(&target, known));
    }
    found
}

/// Tables of people and what they may do, by the usual names.
fn accounts(table: &str) -> bool {
    let name = last(table);
    ["user", "account", "member", "role", "permission", "admin", "grant", "acl"]
        .iter()
        .any(|word| name.split('_').any(|part| part == *word || part.strip_suffix('s') == Some(word)))
}

fn given(target: &str, known: &Known<'_>) -> Found {
    known.effect(EffectKind::Privilege, target, Undo::Hard, "sql.rights.row", "changes who may do what")
}

fn catalogued(target: &str, known: &Known<'_>) -> Found {
    match Table::get().catalog(target) || Table::get().accounts(target) {
        true => known.effect(
            EffectKind::Privilege,
            target,
            Undo::Hard,
            "sql.catalog",
            "changes the server's own tables",
        ),
        false => Found::default(),
    }
}

fn updated(update: &Update, known: &Known<'_>) -> Found {
    let target = first(&update.table);
    let narrowed = update.limit.is_some();
    let all = update.selection.as_ref().is_none_or(truth::everything) && !narrowed;
    let mut found = match all {
        true => {
            known.effect(EffectKind::BulkData, &target, Undo::Never, "sql.update.all", "changes every row")
        }
        false => known.effect(
            EffectKind::Write,
            &target,
            Undo::Easy,
            "sql.update",
            "changes rows that a condition picks",
        ),
    };
    found.extend(catalogued(&target, known));
    for assignment in &update.assignments {
        let names = match &assignment.target {
            AssignmentTarget::ColumnName(name) => vec![name.to_string()],
            AssignmentTarget::Tuple(names) => names.iter().map(ToString::to_string).collect(),
        };
        found.extend(assigned(&names, &assignment.value.to_string(), &target, known));
    }
    found
}

/// What setting columns of rights or secrets means.
fn assigned(columns: &[String], value: &str, target: &str, known: &Known<'_>) -> Found {
    let table = Table::get();
    let rights = columns.iter().any(|column| table.rights(column)) && !table.rights_harmless(value);
    if rights && accounts(target) {
        return given(target, known);
    }
    if columns.iter().any(|column| table.secret(column)) {
        let why = "sets a column of secrets";
        return known.effect(EffectKind::Credential, target, Undo::Hard, "sql.secret.set", why);
    }
    Found::default()
}

fn first(table: &TableWithJoins) -> String {
    match &table.relation {
        TableFactor::Table { name, .. } => name.to_string(),
        other => other.to_string(),
    }
}

fn deleted(delete: &Delete, known: &Known<'_>) -> Found {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let target = match delete.tables.first() {
        Some(name) => name.to_string(),
        None => tables.first().map(first).unwrap_or_default(),
    };
    let all = delete.selection.as_ref().is_none_or(truth::everything);
    let mut found = match (all, Table::get().transient(&target)) {
        (true, _) => {
            known.effect(EffectKind::BulkData, &target, Undo::Never, "sql.delete.all", "deletes every row")
        }
        (_, true) => known.effect(
            EffectKind::Delete,
            &target,
            Undo::Easy,
            "sql.delete.transient",
            "deletes rows that expire",
        ),
        _ => known.effect(
            EffectKind::Delete,
            &target,
            Undo::Hard,
            "sql.delete",
            "deletes rows that a condition picks",
        ),
    };
    found.extend(catalogued(&target, known));
    found
}

fn merged(merge: &Merge, known: &Known<'_>) -> Found {
    let target = merge.table.to_string();
    let deletes = merge.clauses.iter().any(|clause| matches!(clause.action, MergeAction::Delete { .. }));
    match deletes {
        true => known.effect(
            EffectKind::Delete,
            target,
            Undo::Hard,
            "sql.merge.delete",
            "deletes rows by another table",
        ),
        false => known.effect(
            EffectKind::Write,
            target,
            Undo::Easy,
            "sql.merge",
            "adds and changes rows by another table",
        ),
    }
}

fn dropped(kind: &ObjectType, names: &[ObjectName], temporary: bool, known: &Known<'_>) -> Found {
    let (undo, why) = match kind {
        ObjectType::Role | ObjectType::User => {
            return each(names.iter(), |name| {
                known.effect(EffectKind::Privilege, name, Undo::Never, "sql.rights", "takes a role away")
            });
        }
        ObjectType::Table | ObjectType::Schema | ObjectType::Database => {
            (Undo::Never, "drops what holds rows")
        }
        _ => (Undo::Hard, "drops a part of the database"),
    };
    each(names.iter(), |name| match temporary {
        true => Effect::new(
            EffectKind::Schema,
            name.to_string(),
            Scope::Temp,
            Undo::Easy,
            "sql.drop.temporary",
            why,
        )
        .into(),
        false => known.effect(EffectKind::Schema, name, undo, "sql.drop", why),
    })
}

fn created(table: &CreateTable, known: &Known<'_>) -> Found {
    match table.or_replace && !table.temporary {
        true => known.effect(
            EffectKind::Schema,
            &table.name,
            Undo::Never,
            "sql.replace",
            "replaces a table and its rows",
        ),
        false => known.effect(EffectKind::Schema, &table.name, Undo::Easy, "sql.create", "adds a table"),
    }
}

fn altered(alter: &AlterTable, known: &Known<'_>) -> Found {
    use AlterTableOperation as Op;
    alter.operations.iter().fold(Found::default(), |mut found, operation| {
        found.extend(match operation {
            Op::AddColumn { .. }
            | Op::AddConstraint { .. }
            | Op::AddPartitions { .. }
            | Op::EnableTrigger { .. }
            | Op::EnableRowLevelSecurity
            | Op::ForceRowLevelSecurity
            | Op::AttachPartition { .. } => known.effect(
                EffectKind::Schema,
                &alter.name,
                Undo::Easy,
                "sql.alter.add",
                "adds to a table's shape",
            ),
            Op::DisableRowLevelSecurity
            | Op::NoForceRowLevelSecurity
            | Op::DisableTrigger { .. }
            | Op::DisableRule { .. }
            | Op::OwnerTo { .. } => known.effect(
                EffectKind::Privilege,
                &alter.name,
                Undo::Hard,
                "sql.guard",
                "takes a guard of a table away",
            ),
            Op::DropColumn { .. } | Op::DropPartitions { .. } => known.effect(
                EffectKind::Schema,
                &alter.name,
                Undo::Never,
                "sql.alter.drop",
                "drops a part with its data",
            ),
            _ => known.effect(
                EffectKind::Schema,
                &alter.name,
                Undo::Hard,
                "sql.alter",
                "changes a table's shape",
            ),
        });
        found
    })
}

fn copied(source: &CopySource, to: bool, target: &CopyTarget, known: &Known<'_>) -> Found {
    let table = match source {
        CopySource::Table { table_name, .. } => table_name.to_string(),
        CopySource::Query(_) => "an answer".to_owned(),
    };
    match (target, to) {
        (CopyTarget::Program { command }, _) => {
            let inner = Context { depth: known.context.depth.saturating_add(1), ..known.context.clone() };
            let mut found = shell::script(command, &inner);
            let (rule, why) = ("sql.copy.program", "runs a program on the database's machine");
            found.push(Effect::new(EffectKind::Exec, command, Scope::System, Undo::Hard, rule, why));
            found
        }
        (CopyTarget::File { filename }, true) => {
            let (rule, why) = ("sql.copy.file", "writes a file of the database's machine");
            Effect::new(EffectKind::Write, filename, Scope::System, Undo::Hard, rule, why).into()
        }
        (CopyTarget::File { filename }, false) => {
            let (rule, why) = ("sql.copy.file", "reads a file of the database's machine");
            Effect::new(EffectKind::Read, filename, Scope::System, Undo::Hard, rule, why).into()
        }
        (_, true) => known.effect(EffectKind::BulkData, table, Undo::Nothing, "sql.copy", "reads a table"),
        (_, false) => known.effect(EffectKind::Write, table, Undo::Easy, "sql.copy", "adds rows"),
    }
}

/// Languages whose routines stay within the database.
const CONFINED: [&str; 4] = ["sql", "plpgsql", "plv8", "javascript"];

fn routine(function: &CreateFunction, known: &Known<'_>) -> Found {
    let language = function.language.as_ref().map(|language| language.value.to_lowercase());
    if language.is_some_and(|language| !CONFINED.contains(&language.as_str())) {
        let why = "adds a routine that may do anything on the database's machine";
        return known.effect(EffectKind::Exec, &function.name, Undo::Hard, "sql.routine.untrusted", why);
    }
    if function.to_string().to_lowercase().contains("security definer") {
        let why = "adds a routine that runs with its owner's rights";
        return known.effect(EffectKind::Privilege, &function.name, Undo::Hard, "sql.routine.definer", why);
    }
    let undo = if function.function_body.is_some() { Undo::Easy } else { Undo::Hard };
    let mut found =
        known.effect(EffectKind::Schema, &function.name, undo, "sql.routine.create", "adds a routine");
    if known.calls.contains(&last(&function.name.to_string())) {
        found.extend(body(function, known));
    }
    found
}

/// What a routine does that the same text calls: its statements, as far as they are plain.
fn body(function: &CreateFunction, known: &Known<'_>) -> Found {
    let text = match &function.function_body {
        Some(CreateFunctionBody::AsBeforeOptions { body, .. } | CreateFunctionBody::AsAfterOptions(body)) => {
            truth::text(body)
        }
        _ => None,
    };
    let gap = || Unresolved::new("sql.routine.body", "what the routine does is not known").into();
    let Some(text) = text else { return gap() };
    let inner = Context { depth: known.context.depth.saturating_add(1), ..known.context.clone() };
    super::statements(known.dialect, block(text), "", &inner)
}

/// The statements between `BEGIN` and `END`.
fn block(text: &str) -> &str {
    let text = text.trim().trim_end_matches(';').trim_end();
    let head = text.get(..5).filter(|head| head.eq_ignore_ascii_case("begin"));
    let tail = text.get(text.len().saturating_sub(3)..).filter(|tail| tail.eq_ignore_ascii_case("end"));
    match (head, tail) {
        (Some(_), Some(_)) => text.get(5..text.len() - 3).unwrap_or_default(),
        _ => text,
    }
}

fn extended(name: &str, known: &Known<'_>) -> Found {
    match Table::get().trusted(name) {
        true => known.effect(EffectKind::Schema, name, Undo::Easy, "sql.extension", "adds an extension"),
        false => {
            known.effect(EffectKind::Privilege, name, Undo::Hard, "sql.extension", "adds code to the server")
        }
    }
}

fn attached(file: &Expr, known: &Known<'_>) -> Found {
    match truth::text(file) {
        Some(":memory:" | "") => Found::default(),
        Some(file) => {
            let found = path::operation(path::Operation::Append, file, known.context);
            match path::locate(file, known.context).scope {
                Scope::Project | Scope::Temp => Found::default(),
                _ => found,
            }
        }
        None => Unresolved::new("sql.attach", "which file is attached is not known").into(),
    }
}

/// `EXECUTE IMMEDIATE 'text'` is read; a prepared statement was read where it was prepared.
fn executed(immediate: bool, parameters: &[Expr], known: &Known<'_>) -> Found {
    let text = parameters.first().and_then(truth::text);
    match (immediate, text) {
        (true, Some(text)) => {
            let inner = Context { depth: known.context.depth.saturating_add(1), ..known.context.clone() };
            super::statements(known.dialect, text, "", &inner)
        }
        _ => Unresolved::new("sql.execute", "runs a statement that is not known here").into(),
    }
}
