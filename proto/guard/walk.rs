//! The pass over the bytes of one message.
//!
//! Invariants: every length is checked before it is used; recursion ends at
//! [`MAX_DEPTH`]; counts are checked before the next element is looked at, so the
//! work on a message that is refused is bounded by its limits, not by its size.

use std::fmt::Display;

use super::broken::{Broken, Violation};
use super::checks::{Finding, Scalar, ScalarKind, Span};
use super::lists::Lists;
use super::path::Path;
use super::table::{Element, Field, Guard, Kind, List, Map, MessageRules, Shape, Table};
use super::wire::{Fault, Reader, Wire};

/// Most messages within each other, the outermost included. Map entries, which
/// nobody sees as messages, do not count; those of `google.protobuf.Value` do.
pub const MAX_DEPTH: u32 = 32;

/// Most fields in a message and all within it; elements of packed lists count.
pub const MAX_FIELDS: u32 = 200_000;

/// Most elements of a list or map that states no limit of its own.
pub const MAX_ELEMENTS: u32 = 10_000;

/// Most violations reported. The walk stops at the last one.
pub const MAX_VIOLATIONS: usize = 20;

/// Checks the encoded message against the wire format and its rules.
pub fn check(rules: &MessageRules<'_>, bytes: &[u8]) -> Result<(), Broken> {
    let mut walk = Walk { guard: rules.guard, fields_left: MAX_FIELDS, violations: Vec::new() };
    match walk.message(rules.table, bytes, MAX_DEPTH, &Path::ROOT) {
        Err(Stop::Malformed(text)) => Err(Broken::Malformed(text)),
        Ok(()) if walk.violations.is_empty() => Ok(()),
        Ok(()) | Err(Stop::Enough) => Err(Broken::Rules(walk.violations)),
    }
}

/// Why the walk ended early.
enum Stop {
    Malformed(String),
    /// The violations so far are all that is reported.
    Enough,
}

impl Stop {
    fn malformed(path: &Path<'_>, fault: impl Display) -> Self {
        let place = path.text();
        Self::Malformed(match place.is_empty() {
            true => format!("the message {fault}"),
            false => format!("{place} {fault}"),
        })
    }
}

struct Walk<'g> {
    guard: &'g Guard,
    fields_left: u32,
    violations: Vec<Violation>,
}

impl<'g> Walk<'g> {
    /// `depth` is how many messages may still be opened, this one included.
    fn message(&mut self, table: &'g Table, bytes: &[u8], depth: u32, path: &Path<'_>) -> Result<(), Stop> {
        let depth = descend(depth, path)?;
        let mut reader = Reader::new(bytes);
        let mut seen = 0_u128;
        let mut lists = Lists::default();
        while !reader.is_empty() {
            let (number, wire) = self.key(&mut reader, path)?;
            let Some((place, field)) = table.field(number) else {
                self.skip(&mut reader, number, wire, depth, path)?;
                continue;
            };
            let path = path.field(&field.name);
            let bit = 1 << place;
            match &field.shape {
                Shape::One(item) => {
                    if seen & bit != 0 && !matches!(item.kind, Kind::Scalar(_)) {
                        return Err(Stop::malformed(&path, "is sent more than once"));
                    }
                    self.singular(field, item, wire, &mut reader, depth, &path)?;
                }
                Shape::List(list) => self.list(list, wire, &mut reader, &mut lists, depth, &path)?,
                Shape::Map(map) => {
                    lists.count(map.slot, map.max).or_else(|max| {
                        let description = format!("must have at most {max} pairs: send fewer");
                        self.stop_at(&path, Finding::new("map.max_pairs", description))
                    })?;
                    let entry = delimited(&mut reader, wire, &path)?;
                    self.entry(map, entry, depth, &path)?;
                }
            }
            seen |= bit;
        }
        self.absent(table, seen, &lists, path)
    }

    fn singular(
        &mut self,
        field: &Field,
        item: &'g Element,
        wire: Wire,
        reader: &mut Reader<'_>,
        depth: u32,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        let Some(scalar) = self.value(item, wire, reader, depth, path)? else {
            return Ok(());
        };
        if field.required && !field.presence && scalar.is_zero() {
            return self.report(path, Finding::new("required", "must be set"));
        }
        self.judge(item, &scalar, path)
    }

    fn list<'a>(
        &mut self,
        list: &'g List,
        wire: Wire,
        reader: &mut Reader<'a>,
        lists: &mut Lists<'a>,
        depth: u32,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        if wire != Wire::Delimited || !list.item.kind.packable() {
            return self.item(list, wire, reader, lists, depth, path);
        }
        let mut packed = Reader::new(delimited(reader, wire, path)?);
        let wire = list.item.kind.wire();
        while !packed.is_empty() {
            self.spend(path)?;
            self.item(list, wire, &mut packed, lists, depth, path)?;
        }
        Ok(())
    }

    fn item<'a>(
        &mut self,
        list: &'g List,
        wire: Wire,
        reader: &mut Reader<'a>,
        lists: &mut Lists<'a>,
        depth: u32,
        list_path: &Path<'_>,
    ) -> Result<(), Stop> {
        let index = lists.count(list.slot, list.max).or_else(|max| {
            let description = format!("must have at most {max} items: send fewer");
            self.stop_at(list_path, Finding::new("repeated.max_items", description))
        })?;
        let path = list_path.index(index);
        let Some(scalar) = self.value(&list.item, wire, reader, depth, &path)? else {
            return Ok(());
        };
        self.judge(&list.item, &scalar, &path)?;
        if list.unique && lists.repeats(list.slot, &scalar) {
            let description = format!("must not repeat an item: remove [{index}], which was given before");
            self.report(list_path, Finding::new("repeated.unique", description))?;
        }
        Ok(())
    }

    /// One pair of a map. Key and value come in any order, or not at all.
    fn entry(&mut self, map: &'g Map, bytes: &[u8], depth: u32, map_path: &Path<'_>) -> Result<(), Stop> {
        let mut reader = Reader::new(bytes);
        let mut key = map.key_kind.zero();
        let mut value = None;
        let mut nested: Option<&[u8]> = None;
        while !reader.is_empty() {
            let (number, wire) = self.key(&mut reader, map_path)?;
            match (number, map.value.kind) {
                (1, _) => key = scalar(map.key_kind, wire, &mut reader, map_path)?,
                (2, Kind::Scalar(kind)) => {
                    value = Some(scalar(kind, wire, &mut reader, &map_path.key(key))?);
                }
                (2, _) if nested.is_some() => {
                    return Err(Stop::malformed(&map_path.key(key), "is sent more than once"));
                }
                (2, _) => nested = Some(delimited(&mut reader, wire, &map_path.key(key))?),
                _ => self.skip(&mut reader, number, wire, depth, map_path)?,
            }
        }
        let path = map_path.key(key);
        self.judge(&map.key, &key, &path)?;
        match map.value.kind {
            Kind::Scalar(kind) => self.judge(&map.value, &value.unwrap_or(kind.zero()), &path),
            _ => self.nested(&map.value, nested.unwrap_or_default(), depth, &path),
        }
    }

    /// A value of any type: messages are walked, scalars handed back unjudged.
    fn value<'a>(
        &mut self,
        item: &'g Element,
        wire: Wire,
        reader: &mut Reader<'a>,
        depth: u32,
        path: &Path<'_>,
    ) -> Result<Option<Scalar<'a>>, Stop> {
        match item.kind {
            Kind::Scalar(kind) => scalar(kind, wire, reader, path).map(Some),
            _ => {
                let bytes = delimited(reader, wire, path)?;
                self.nested(item, bytes, depth, path).map(|()| None)
            }
        }
    }

    fn nested(&mut self, item: &'g Element, bytes: &[u8], depth: u32, path: &Path<'_>) -> Result<(), Stop> {
        let guard = self.guard;
        match item.kind {
            // Invariant: the compiler hands out places of existing tables only.
            Kind::Message(place) => match guard.tables.get(place) {
                Some(table) => self.message(table, bytes, depth, path),
                None => Err(Stop::malformed(path, "has no rules")),
            },
            Kind::Duration => self.duration(item, bytes, depth, path),
            Kind::Timestamp => match self.span(bytes, depth, path)?.is_timestamp() {
                true => Ok(()),
                false => {
                    let description =
                        "must be a time of the years 1 to 9999 with nanos from 0 to 999,999,999";
                    self.report(path, Finding::new("timestamp.valid", description))
                }
            },
            Kind::FieldMask => self.mask(item, bytes, depth, path),
            Kind::Scalar(_) => Ok(()),
        }
    }

    fn duration(&mut self, item: &Element, bytes: &[u8], depth: u32, path: &Path<'_>) -> Result<(), Stop> {
        let span = self.span(bytes, depth, path)?;
        if !span.is_duration() {
            let description = "must be a duration of at most 315,576,000,000 seconds with nanos up to 999,999,999, both of one sign";
            return self.report(path, Finding::new("duration.valid", description));
        }
        let mut found = Vec::new();
        item.checks.judge_duration(span, &mut found);
        self.report_all(path, found)
    }

    /// Reads a `Duration` or `Timestamp`, which have the same fields.
    fn span(&mut self, bytes: &[u8], depth: u32, path: &Path<'_>) -> Result<Span, Stop> {
        let depth = descend(depth, path)?;
        let mut reader = Reader::new(bytes);
        let mut span = Span { seconds: 0, nanos: 0 };
        while !reader.is_empty() {
            match self.key(&mut reader, path)? {
                (1, wire) => {
                    if let Scalar::Int(seconds) =
                        scalar(ScalarKind::Int64, wire, &mut reader, &path.field("seconds"))?
                    {
                        span.seconds = seconds as i64;
                    }
                }
                (2, wire) => {
                    if let Scalar::Int(nanos) =
                        scalar(ScalarKind::Int32, wire, &mut reader, &path.field("nanos"))?
                    {
                        span.nanos = nanos as i32;
                    }
                }
                (number, wire) => self.skip(&mut reader, number, wire, depth, path)?,
            }
        }
        Ok(span)
    }

    fn mask(&mut self, item: &Element, bytes: &[u8], depth: u32, path: &Path<'_>) -> Result<(), Stop> {
        let depth = descend(depth, path)?;
        let mut reader = Reader::new(bytes);
        let mut lists = Lists::default();
        while !reader.is_empty() {
            let (number, wire) = self.key(&mut reader, path)?;
            if number != 1 {
                self.skip(&mut reader, number, wire, depth, path)?;
                continue;
            }
            let paths = path.field("paths");
            let index = lists.count(0, MAX_ELEMENTS).or_else(|max| {
                let description = format!("must have at most {max} paths: send fewer");
                self.stop_at(&paths, Finding::new("repeated.max_items", description))
            })?;
            let text = scalar(ScalarKind::String, wire, &mut reader, &paths.index(index))?;
            self.judge(item, &text, &paths.index(index))?;
            if let Scalar::Text(text) = text {
                let mut found = Vec::new();
                item.checks.judge_mask(text, &mut found);
                self.report_all(path, found)?;
            }
        }
        Ok(())
    }

    /// What the message lacks.
    fn absent(
        &mut self,
        table: &'g Table,
        seen: u128,
        lists: &Lists<'_>,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        let missing = table.needed & !seen;
        if missing != 0 {
            let fields = table.fields.iter().enumerate();
            for (_, field) in fields.filter(|(place, _)| missing & (1 << place) != 0) {
                let path = path.field(&field.name);
                match &field.shape {
                    _ if field.required => self.report(&path, Finding::new("required", "must be set"))?,
                    Shape::One(item) => {
                        if let Kind::Scalar(kind) = item.kind {
                            self.judge(item, &kind.zero(), &path)?;
                        }
                    }
                    Shape::List(_) | Shape::Map(_) => {}
                }
            }
        }
        for oneof in table.oneofs.iter().filter(|oneof| oneof.members & seen == 0) {
            let description = format!("must be set: give one of {}", oneof.choices);
            self.report(&path.field(&oneof.name), Finding::new("required", description))?;
        }
        for field in table.filled.iter().filter_map(|place| table.fields.get(*place)) {
            let Some((slot, min)) = field.shape.counted() else {
                continue;
            };
            let count = lists.counts[slot];
            if count >= min || (count == 0 && field.skip_empty && !field.required) {
                continue;
            }
            let finding = match &field.shape {
                _ if field.required && count == 0 => Finding::new("required", "must not be empty"),
                Shape::Map(_) => {
                    Finding::new("map.min_pairs", format!("must have at least {min} pairs, has {count}"))
                }
                _ => {
                    Finding::new("repeated.min_items", format!("must have at least {min} items, has {count}"))
                }
            };
            self.report(&path.field(&field.name), finding)?;
        }
        Ok(())
    }

    fn judge(&mut self, item: &Element, scalar: &Scalar<'_>, path: &Path<'_>) -> Result<(), Stop> {
        if item.skip_zero && scalar.is_zero() {
            return Ok(());
        }
        let mut found = Vec::new();
        item.checks.judge(scalar, &mut found);
        self.report_all(path, found)
    }

    #[inline]
    fn report_all(&mut self, path: &Path<'_>, found: Vec<Finding>) -> Result<(), Stop> {
        found.into_iter().try_for_each(|finding| self.report(path, finding))
    }

    #[cold]
    fn report(&mut self, path: &Path<'_>, finding: Finding) -> Result<(), Stop> {
        self.violations.push(Violation {
            field: path.text(),
            rule: finding.rule,
            description: finding.description,
        });
        match self.violations.len() < MAX_VIOLATIONS {
            true => Ok(()),
            false => Err(Stop::Enough),
        }
    }

    /// Reports a violation behind which it is not worth looking.
    #[cold]
    fn stop_at<T>(&mut self, path: &Path<'_>, finding: Finding) -> Result<T, Stop> {
        self.report(path, finding)?;
        Err(Stop::Enough)
    }

    #[inline]
    fn key(&mut self, reader: &mut Reader<'_>, path: &Path<'_>) -> Result<(u32, Wire), Stop> {
        self.spend(path)?;
        reader.key().map_err(|fault| Stop::malformed(path, fault))
    }

    #[inline]
    fn spend(&mut self, path: &Path<'_>) -> Result<(), Stop> {
        match self.fields_left.checked_sub(1) {
            Some(left) => self.fields_left = left,
            None => {
                return Err(Stop::malformed(
                    path,
                    format_args!("is beyond the limit of {MAX_FIELDS} fields"),
                ));
            }
        }
        Ok(())
    }

    fn skip(
        &mut self,
        reader: &mut Reader<'_>,
        number: u32,
        wire: Wire,
        depth: u32,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        reader.skip(number, wire, depth, &mut self.fields_left).map_err(|fault| Stop::malformed(path, fault))
    }
}

fn descend(depth: u32, path: &Path<'_>) -> Result<u32, Stop> {
    depth
        .checked_sub(1)
        .ok_or_else(|| Stop::malformed(path, format_args!("is nested deeper than {MAX_DEPTH} messages")))
}

#[inline]
fn scalar<'a>(
    kind: ScalarKind,
    wire: Wire,
    reader: &mut Reader<'a>,
    path: &Path<'_>,
) -> Result<Scalar<'a>, Stop> {
    if wire != kind.wire() {
        return Err(Stop::malformed(path, WRONG_WIRE));
    }
    kind.read(reader).map_err(|fault| Stop::malformed(path, fault))
}

#[inline]
fn delimited<'a>(reader: &mut Reader<'a>, wire: Wire, path: &Path<'_>) -> Result<&'a [u8], Stop> {
    if wire != Wire::Delimited {
        return Err(Stop::malformed(path, WRONG_WIRE));
    }
    reader.delimited().map_err(|fault| Stop::malformed(path, fault))
}

const WRONG_WIRE: Fault = "has another wire type than the contract says";
