//! Shell commands and scripts: parsed by tree-sitter, run by a small abstract evaluator.
//!
//! - `eval`: statements, branches, loops, pipelines; every branch counts, dead or not
//! - `expand`, `escape`: from the text of a word to what the shell makes of it
//! - `redirect`: where streams come from and go to
//! - `invoke`, `builtin`, `special`, `find`, `git`, `net`, `forge`, `interpret`: what a command with known words does
//! - `programs`, `args`: knowledge of programs, from `data/programs*.toml`
//! - `perl`, `awk`, `sed`: small programs within commands
//! - `project`: files of a project that tools run
//! - `secret`: secrets of the environment that reach the output
//! - `filter`: text filters whose input is known are simply computed
//!
//! Invariants: nothing is executed; what cannot be resolved where it would be run is
//! [`Unresolved`](crate::model::Unresolved); work is bounded by [`state::STEPS_MAX`].

mod args;
mod awk;
mod brace;
mod builtin;
mod effects;
mod escape;
mod eval;
mod expand;
mod filter;
mod find;
mod forge;
mod git;
mod interpret;
mod invoke;
mod net;
mod perl;
#[cfg(test)]
mod program_tests;
mod programs;
mod project;
mod redirect;
mod secret;
mod sed;
#[cfg(test)]
mod soundness;
mod special;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod vars;

use crate::model::{Context, Found};
use crate::work;
use state::State;
use stream::Stream;

/// What a script does.
pub fn script(text: &str, context: &Context) -> Found {
    let _watch = work::watch();
    let mut state = State::new(context);
    let out = state.run_text(text, None, &Stream::none());
    state.told(&out, 0..text.len());
    work::close(state.finish(0..text.len()))
}

/// What a program with these arguments does; nothing is expanded.
pub fn argv(words: &[String], context: &Context) -> Found {
    let end = words.iter().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
    let _watch = work::watch();
    let mut state = State::new(context);
    let out = state.invoke(words.to_vec(), &Stream::none(), 0..end);
    state.told(&out, 0..end);
    work::close(state.finish(0..end))
}
