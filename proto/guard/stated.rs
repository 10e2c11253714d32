//! Reading the rules that descriptors state, into [`Checks`] and the like.
//!
//! Strict as [`compile`](super::compile()) wants it: each function takes all the
//! rules of one type and fails on the first that it does not know.

use std::ops::Bound;

use prost_reflect::{DynamicMessage, Kind as ProtoKind, Value};
use regex::Regex;

use super::checks::{Checks, Range, ScalarKind, Span};

/// Rules by name, as stated.
pub(super) type Stated = Vec<(String, Value)>;

/// A `buf.validate.FieldRules` taken apart.
#[derive(Default)]
pub(super) struct FieldRules {
    pub(super) required: bool,
    pub(super) skip_zero: bool,
    /// Name of the type, such as `string`, and its rules.
    pub(super) typed: Option<(String, DynamicMessage)>,
}

impl FieldRules {
    pub(super) fn read(rules: &DynamicMessage, place: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for (rule, value) in stated(rules, place)? {
            match (rule.as_str(), value) {
                ("required", Value::Bool(required)) => read.required = required,
                ("ignore", Value::EnumNumber(0)) => {}
                ("ignore", Value::EnumNumber(1)) => read.skip_zero = true,
                (_, Value::Message(typed)) => read.typed = Some((rule, typed)),
                _ => return Err(unsupported(place, &rule)),
            }
        }
        Ok(read)
    }

    /// The rules of the type, which must be the one expected.
    pub(super) fn typed(&self, expected: &str, place: &str) -> Result<Stated, String> {
        match &self.typed {
            None => Ok(Vec::new()),
            Some((kind, rules)) if kind == expected => stated(rules, place),
            Some((kind, _)) => Err(format!("{place}: is {expected}, but has rules for {kind}")),
        }
    }

    pub(super) fn refuse_required(&self, place: &str) -> Result<(), String> {
        match self.required {
            true => Err(unsupported(place, "required (of an element)")),
            false => Ok(()),
        }
    }
}

/// What a message of rules states, by name. Whatever is not a plain field of it
/// cannot be known here.
pub(super) fn stated(rules: &DynamicMessage, place: &str) -> Result<Stated, String> {
    if rules.extensions().next().is_some() || rules.unknown_fields().next().is_some() {
        return Err(format!("{place}: has predefined or unknown rules, which are not supported"));
    }
    Ok(rules.fields().map(|(field, value)| (field.name().to_string(), value.clone())).collect())
}

pub(super) fn message_of<'v>(value: &'v Value, place: &str) -> Result<&'v DynamicMessage, String> {
    value.as_message().ok_or_else(|| format!("{place}: its rules are no message"))
}

pub(super) fn unsupported(place: &str, rule: &str) -> String {
    format!("{place}: the guard does not know the rule `{rule}`; teach it in proto/guard")
}

pub(super) fn count(limit: u64, place: &str) -> Result<u32, String> {
    u32::try_from(limit).map_err(|_| format!("{place}: a limit of {limit} elements is no limit"))
}

pub(super) fn scalar_kind(kind: &ProtoKind) -> (ScalarKind, &'static str) {
    match kind {
        ProtoKind::Double => (ScalarKind::Double, "double"),
        ProtoKind::Float => (ScalarKind::Float, "float"),
        ProtoKind::Int32 => (ScalarKind::Int32, "int32"),
        ProtoKind::Int64 => (ScalarKind::Int64, "int64"),
        ProtoKind::Uint32 => (ScalarKind::Uint32, "uint32"),
        ProtoKind::Uint64 => (ScalarKind::Uint64, "uint64"),
        ProtoKind::Sint32 => (ScalarKind::Sint32, "sint32"),
        ProtoKind::Sint64 => (ScalarKind::Sint64, "sint64"),
        ProtoKind::Fixed32 => (ScalarKind::Fixed32, "fixed32"),
        ProtoKind::Fixed64 => (ScalarKind::Fixed64, "fixed64"),
        ProtoKind::Sfixed32 => (ScalarKind::Sfixed32, "sfixed32"),
        ProtoKind::Sfixed64 => (ScalarKind::Sfixed64, "sfixed64"),
        ProtoKind::Bool => (ScalarKind::Bool, "bool"),
        ProtoKind::String => (ScalarKind::String, "string"),
        ProtoKind::Bytes | ProtoKind::Message(_) => (ScalarKind::Bytes, "bytes"),
        ProtoKind::Enum(_) => (ScalarKind::Enum, "enum"),
    }
}

pub(super) fn scalar_checks(
    kind: ScalarKind,
    name: &str,
    rules: Stated,
    place: &str,
) -> Result<Checks, String> {
    if rules.is_empty() {
        return Ok(Checks::None);
    }
    match kind {
        ScalarKind::String | ScalarKind::Bytes => length_checks(kind, rules, place),
        ScalarKind::Double | ScalarKind::Float => {
            let float = |value: &Value| value.as_f64().or(value.as_f32().map(f64::from));
            let (low, high) = bounds(rules, place, float)?;
            range(name, low, high, place).map(Checks::Float)
        }
        ScalarKind::Bool | ScalarKind::Enum => Err(unsupported(place, name)),
        _ => {
            let (low, high) = bounds(rules, place, integer)?;
            range(name, low, high, place).map(Checks::Int)
        }
    }
}

fn length_checks(kind: ScalarKind, rules: Stated, place: &str) -> Result<Checks, String> {
    let (mut min, mut max, mut max_bytes, mut pattern) = (0, usize::MAX, usize::MAX, None);
    let text = kind == ScalarKind::String;
    for (rule, value) in rules {
        match (rule.as_str(), value) {
            ("min_len", Value::U64(limit)) => min = count(limit, place)? as usize,
            ("max_len", Value::U64(limit)) => max = count(limit, place)? as usize,
            ("max_bytes", Value::U64(limit)) if text => max_bytes = count(limit, place)? as usize,
            ("pattern", Value::String(source)) if text => {
                pattern = Some(Regex::new(&source).map_err(|error| format!("{place}: {error}"))?);
            }
            _ => return Err(unsupported(place, &rule)),
        }
    }
    Ok(match text {
        true => Checks::Text { min, max, max_bytes, pattern },
        false => Checks::Bytes { min, max },
    })
}

pub(super) fn enum_checks(
    rules: Stated,
    mut numbers: Vec<i32>,
    name: impl Fn(i32) -> Option<String>,
    place: &str,
) -> Result<Checks, String> {
    if rules.is_empty() {
        return Ok(Checks::None);
    }
    let (mut defined_only, mut not_in) = (false, Vec::new());
    for (rule, value) in rules {
        match (rule.as_str(), value) {
            ("defined_only", Value::Bool(stated)) => defined_only = stated,
            ("not_in", Value::List(list)) => not_in = list.iter().filter_map(Value::as_i32).collect(),
            _ => return Err(unsupported(place, &rule)),
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let allowed: Vec<_> = numbers
        .iter()
        .filter(|number| !not_in.contains(number))
        .filter_map(|number| Some(format!("{} ({number})", name(*number)?)))
        .collect();
    Ok(Checks::Enum { defined: defined_only.then_some(numbers), not_in, allowed: allowed.join(", ") })
}

pub(super) fn duration_checks(rules: Stated, place: &str) -> Result<Checks, String> {
    if rules.is_empty() {
        return Ok(Checks::None);
    }
    let span = |value: &Value| {
        let message = value.as_message()?;
        Some(Span {
            seconds: message.get_field_by_name("seconds")?.as_i64()?,
            nanos: message.get_field_by_name("nanos")?.as_i32()?,
        })
    };
    let (low, high) = bounds(rules, place, span)?;
    range("duration", low, high, place).map(Checks::Duration)
}

pub(super) fn mask_checks(rules: Stated, place: &str) -> Result<Checks, String> {
    let mut checks = Checks::None;
    for (rule, value) in rules {
        match (rule.as_str(), value) {
            ("in", Value::List(list)) => {
                let paths = list.iter().filter_map(Value::as_str).map(str::to_string);
                checks = Checks::FieldMask { paths: paths.collect() };
            }
            _ => return Err(unsupported(place, &rule)),
        }
    }
    Ok(checks)
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::I32(number) => Some((*number).into()),
        Value::I64(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::U64(number) => Some((*number).into()),
        _ => None,
    }
}

/// Reads `gt`, `gte`, `lt` and `lte`.
fn bounds<T>(
    rules: Stated,
    place: &str,
    convert: impl Fn(&Value) -> Option<T>,
) -> Result<(Bound<T>, Bound<T>), String> {
    let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
    for (rule, value) in rules {
        let limit = convert(&value).ok_or_else(|| unsupported(place, &rule))?;
        match rule.as_str() {
            "gt" => low = Bound::Excluded(limit),
            "gte" => low = Bound::Included(limit),
            "lt" => high = Bound::Excluded(limit),
            "lte" => high = Bound::Included(limit),
            _ => return Err(unsupported(place, &rule)),
        }
    }
    Ok((low, high))
}

fn range<T: PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    low: Bound<T>,
    high: Bound<T>,
    place: &str,
) -> Result<Range<T>, String> {
    Range::new(name, low, high).map_err(|problem| format!("{place}: {problem}"))
}
