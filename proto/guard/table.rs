//! What the walk needs to know of each message, laid out for the walk.
//!
//! Built once by [`compile`](super::compile()); immutable afterwards.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::checks::{Checks, ScalarKind};
use super::wire::Wire;
use crate::descriptor_pool;

static GUARD: LazyLock<Result<Guard, String>> = LazyLock::new(|| super::compile(&descriptor_pool()));

/// The rules of the contract's message with this full name. `None` where there is
/// no such message, `Err` where the contract has a rule that the guard lacks.
pub fn rules(full_name: &str) -> Result<Option<MessageRules<'static>>, &'static str> {
    match &*GUARD {
        Ok(guard) => Ok(guard.rules(full_name)),
        Err(problem) => Err(problem),
    }
}

/// Fails, naming the place, unless all rules of the contract can be enforced on
/// every message that an RPC takes.
pub fn require_complete() -> Result<(), String> {
    let guard = GUARD.as_ref().map_err(Clone::clone)?;
    for service in
        descriptor_pool().services().filter(|service| service.package_name().starts_with("quarterdeck."))
    {
        for method in service.methods() {
            let (input, output) = (method.input(), method.output());
            // The codec knows by the name which side of a call decodes.
            if !input.name().ends_with("Request") || guard.rules(input.full_name()).is_none() {
                return Err(format!("{} takes no guarded ...Request", method.full_name()));
            }
            if output.name().ends_with("Request") {
                return Err(format!("{} answers with a ...Request", method.full_name()));
            }
        }
    }
    Ok(())
}

/// Compiled rules for all messages of the contract.
#[derive(Debug)]
pub struct Guard {
    pub(super) tables: Vec<Table>,
    pub(super) by_name: BTreeMap<String, usize>,
}

impl Guard {
    /// The rules of the message with this full name.
    pub fn rules(&self, full_name: &str) -> Option<MessageRules<'_>> {
        let table = self.tables.get(*self.by_name.get(full_name)?)?;
        Some(MessageRules { guard: self, table })
    }
}

/// Handle on the rules of one message; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct MessageRules<'g> {
    pub(super) guard: &'g Guard,
    pub(super) table: &'g Table,
}

/// One message.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By field number; a field's place here is its bit in the masks.
    pub(super) fields: Vec<Field>,
    /// Singular fields whose absence may break a rule.
    pub(super) needed: u128,
    /// Places of lists and maps whose emptiness may break a rule.
    pub(super) filled: Vec<usize>,
    /// Oneofs of which a member must be set.
    pub(super) oneofs: Vec<Oneof>,
}

impl Table {
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<(usize, &Field)> {
        // Numbers mostly run from 1 without gaps.
        let guess = number as usize - 1;
        if let Some(field) = self.fields.get(guess)
            && field.number == number
        {
            return Some((guess, field));
        }
        let place = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some((place, self.fields.get(place)?))
    }
}

/// A oneof of which one member must be set.
#[derive(Debug)]
pub(super) struct Oneof {
    pub(super) name: String,
    pub(super) members: u128,
    /// Names of the members, for the description.
    pub(super) choices: String,
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) required: bool,
    /// Whether unset can be told from zero.
    pub(super) presence: bool,
    /// Whether a list or map may be empty whatever its fewest elements are.
    pub(super) skip_empty: bool,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    One(Element),
    List(List),
    Map(Map),
}

impl Shape {
    /// Where elements are counted and the fewest of them, for lists and maps.
    pub(super) fn counted(&self) -> Option<(usize, u32)> {
        match self {
            Self::One(_) => None,
            Self::List(list) => Some((list.slot, list.min)),
            Self::Map(map) => Some((map.slot, map.min)),
        }
    }
}

/// A repeated field.
#[derive(Debug)]
pub(super) struct List {
    pub(super) item: Element,
    /// Place of its counter; lists and maps of a message share the numbering.
    pub(super) slot: usize,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) unique: bool,
}

/// A map field.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) key_kind: ScalarKind,
    pub(super) key: Element,
    pub(super) value: Element,
    pub(super) slot: usize,
    pub(super) min: u32,
    pub(super) max: u32,
}

/// A value: of a singular field, in a list, or a key or value of a map.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) kind: Kind,
    pub(super) checks: Checks,
    /// `IGNORE_IF_ZERO_VALUE`, where zero means unset.
    pub(super) skip_zero: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Scalar(ScalarKind),
    /// Place of the message's table.
    Message(usize),
    Duration,
    Timestamp,
    FieldMask,
}

impl Kind {
    pub(super) fn wire(self) -> Wire {
        match self {
            Self::Scalar(kind) => kind.wire(),
            Self::Message(_) | Self::Duration | Self::Timestamp | Self::FieldMask => Wire::Delimited,
        }
    }

    /// Whether lists of it may come packed.
    pub(super) fn packable(self) -> bool {
        self.wire() != Wire::Delimited
    }
}
