//! Source code that an agent wants to run.
//!
//! - [`grammar`]: trees, and how each language writes calls, members, bindings, texts
//! - [`value`]: what is known of an expression without running it
//! - [`evaluate`]: from expressions to values, through imports and constants
//! - [`scope`]: which variable a name stands for
//! - [`callers`]: functions that are read for what they are called with
//! - [`walk`]: every call in order, with what is bound before it
//! - [`foreign`]: what whoever asks sends
//! - [`guards`]: checks that are switched off
//! - [`texts`]: how texts are written, formatted, decoded
//! - [`answers`]: what calls answer
//! - [`act`]: what a known call does
//! - [`run`], [`files`], [`rows`], [`send`], [`services`]: the same for programs, files, SQL,
//!   requests and connections, and what services are told
//! - [`table`]: what calls are known
//!
//! Invariants: nothing is run; dead code counts; a call whose effect hangs on what is only
//! known at run time is a gap where it would run programs or delete.

mod act;
mod answers;
mod callers;
mod evaluate;
mod files;
mod foreign;
mod grammar;
mod guards;
mod rows;
mod run;
mod scope;
mod send;
mod services;
#[cfg(test)]
mod soundness;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod value;
mod walk;

use crate::model::{Context, DEPTH_MAX, Found, Unresolved};
use crate::work;

/// Bytes of code that are looked at: less than of other texts, as no grammar is slower where
/// it loses its way.
pub const CODE_MAX: usize = 48 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    TypeScript,
    Ruby,
    Go,
    Rust,
    Perl,
    Php,
    Lua,
}

impl Language {
    /// A language by its usual names and file endings.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "python" | "python3" | "python2" | "py" => Self::Python,
            "javascript" | "js" | "node" | "nodejs" | "jsx" | "mjs" | "cjs" => Self::JavaScript,
            "typescript" | "ts" | "tsx" | "deno" | "bun" => Self::TypeScript,
            "ruby" | "rb" => Self::Ruby,
            "go" | "golang" => Self::Go,
            "rust" | "rs" => Self::Rust,
            "perl" | "pl" => Self::Perl,
            "php" => Self::Php,
            "lua" => Self::Lua,
            _ => return None,
        })
    }
}

/// What running it does. Languages without a grammar are unresolved.
pub fn source(language: Language, text: &str, context: &Context) -> Found {
    let whole = 0..text.len();
    let gap = |rule: &str, why: &str| Found::from(Unresolved::new(rule, why)).at(&whole);
    if text.len() > CODE_MAX {
        return gap("limit.text", "the code is longer than is looked at");
    }
    if context.depth > DEPTH_MAX {
        return gap("limit.depth", "code lies too deep within other code");
    }
    let Some(grammar) = grammar::of(language) else {
        return gap("code.language", "no grammar for this language");
    };
    let _watch = work::watch();
    let Some((tree, grammar)) = grammar::parsed(language, grammar, text) else {
        return gap("limit.work", "the code takes more looking at than is done");
    };
    let _reading = grammar::reading(grammar, &tree);
    let mut found = walk::effects(language, text, &tree, context);
    if tree.root_node().has_error() {
        found.extend(gap("code.unparsed", "the code could not be parsed"));
    }
    work::close(found)
}
