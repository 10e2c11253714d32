//! Every statement of a tree, also those within others, and the functions they call.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    Expr, Insert, ObjectName, Select, SelectItem, Spanned, Statement, TableFactor, TableObject, Visit,
    Visitor, visit_expressions,
};
use sqlparser::tokenizer::Location;

use super::statement::{self, Base};
use super::table::{Table, last};
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo};

/// What a text's statements do.
pub fn effects(dialect: &str, text: &str, statements: &[Statement], base: &Base, context: &Context) -> Found {
    let mut found = Found::default();
    let (mut own, mut prepared) = (HashSet::new(), HashSet::new());
    let calls = calls(statements);
    let lines = Lines::of(text);
    for one in statements {
        let found_here = Found::default();
        let mut walk = Walk { dialect, base, context, found: found_here, own, prepared, calls: &calls };
        let _ = one.visit(&mut walk);
        (own, prepared) = (walk.own, walk.prepared);
        found.extend(walk.found.at(&lines.span(one)));
    }
    found
}

struct Walk<'a> {
    dialect: &'a str,
    base: &'a Base,
    context: &'a Context,
    found: Found,
    /// Temporary tables made by these statements, in small letters.
    own: HashSet<String>,
    /// Statements that were prepared, and read, before.
    prepared: HashSet<String>,
    calls: &'a HashSet<String>,
}

/// The names of all routines that are called anywhere.
fn calls(statements: &[Statement]) -> HashSet<String> {
    let mut names = HashSet::new();
    let routines = statements.iter().any(|one| matches!(one, Statement::CreateFunction(_)));
    for one in statements.iter().filter(|_| routines) {
        let _ = visit_expressions(one, |expr| {
            if let Expr::Function(function) = expr {
                names.insert(last(&function.name.to_string()));
            }
            ControlFlow::<()>::Continue(())
        });
        if let Statement::Call(function) = one {
            names.insert(last(&function.name.to_string()));
        }
    }
    names
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, one: &Statement) -> ControlFlow<()> {
        if statement::only_explained(one) {
            return ControlFlow::Break(());
        }
        if let Statement::CreateTable(table) = one
            && (table.temporary || Table::get().temporary(&table.name.to_string()))
        {
            self.own.insert(table.name.to_string().to_lowercase());
        }
        match one {
            Statement::Prepare { name, .. } => {
                self.prepared.insert(name.value.to_lowercase());
            }
            Statement::Execute { name: Some(name), immediate: false, .. }
                if self.prepared.contains(&last(&name.to_string())) =>
            {
                return ControlFlow::Continue(());
            }
            Statement::Insert(Insert { table: TableObject::TableFunction(function), .. }) => {
                self.called(&function.name.to_string());
            }
            _ => {}
        }
        let known = statement::Known {
            dialect: self.dialect,
            base: self.base,
            context: self.context,
            own: &self.own,
            calls: self.calls,
        };
        self.found.extend(statement::effects(one, &known));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.called(&function.name.to_string());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.called(&name.to_string());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.to_string();
        if Table::get().secret(name.trim_end_matches('s')) || Table::get().secret(&name) {
            let (rule, why) = ("sql.secret.table", "touches a table of secrets");
            let effect =
                Effect::new(EffectKind::Credential, &name, self.base.scope, Undo::Nothing, rule, why);
            self.found.push(effect.possible());
        }
        if Table::get().accounts(&name) {
            let why = "touches the table of who may log in";
            self.push(EffectKind::Credential, &name, Undo::Nothing, "sql.accounts", why);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            self.projected(item);
        }
        if let Some(into) = &select.into {
            let scope = if into.temporary { Scope::Temp } else { self.base.scope };
            let (target, why) = (into.to_string(), "makes a table of an answer");
            self.found.push(Effect::new(
                EffectKind::Schema,
                target,
                scope,
                Undo::Easy,
                "sql.select.into",
                why,
            ));
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn push(&mut self, kind: EffectKind, target: &str, undo: Undo, rule: &str, why: &str) {
        self.found.push(Effect::new(kind, target, self.base.scope, undo, rule, why));
    }

    fn called(&mut self, name: &str) {
        let table = Table::get();
        if let Some(function) = table.function(name) {
            let effect =
                Effect::new(function.does, name, function.scope, Undo::Hard, "sql.function", &function.why);
            self.found.push(effect);
        } else if table.destroys(name) {
            let why = "calls a routine that is named after destruction";
            let effect =
                Effect::new(EffectKind::Delete, name, self.base.scope, Undo::Hard, "sql.routine", why);
            self.found.push(effect.possible());
        }
    }

    /// Secrets among what is answered; counting them shows none.
    fn projected(&mut self, item: &SelectItem) {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
        if matches!(expr, Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("count"))
        {
            return;
        }
        let mut secret = None;
        let _ = visit_expressions(expr, |part| {
            let name = match part {
                Expr::Identifier(name) => name.value.clone(),
                Expr::CompoundIdentifier(names) => {
                    names.last().map(|name| name.value.clone()).unwrap_or_default()
                }
                Expr::IsNull(_) | Expr::IsNotNull(_) => return ControlFlow::Break(()),
                _ => return ControlFlow::Continue(()),
            };
            if Table::get().secret(&name) {
                secret = Some(name);
            }
            ControlFlow::<()>::Continue(())
        });
        if let Some(name) = secret {
            let (rule, why) = ("sql.secret.column", "answers with a column of secrets");
            self.found.push(
                Effect::new(EffectKind::Credential, name, self.base.scope, Undo::Nothing, rule, why)
                    .possible(),
            );
        }
    }
}

/// Where the lines of a text begin: the parser tells places by line and column.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The bytes of a statement, or the whole text where the parser keeps no place.
    fn span(&self, statement: &Statement) -> Range<usize> {
        let span = statement.span();
        match (self.offset(&span.start), self.offset(&span.end)) {
            (Some(start), Some(end)) if start < end => start..end,
            _ => 0..self.text.len(),
        }
    }

    /// Lines and columns count from one, columns in characters.
    fn offset(&self, place: &Location) -> Option<usize> {
        let (line, column) = (usize::try_from(place.line).ok()?, usize::try_from(place.column).ok()?);
        let before = *self.starts.get(line.checked_sub(1)?)?;
        let within: usize =
            self.text.get(before..)?.chars().take(column.checked_sub(1)?).map(char::len_utf8).sum();
        Some(before + within)
    }
}
