//! From descriptors to tables.
//!
//! Strict on purpose: whatever a descriptor states and this file does not read is
//! an error that names the place, never a rule that nobody enforces.

use std::collections::{BTreeMap, VecDeque};

use prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor, Value,
};

use super::checks::{Checks, ScalarKind};
use super::lists::MAX_LISTS;
use super::stated::{
    FieldRules, count, duration_checks, enum_checks, mask_checks, message_of, scalar_checks, scalar_kind,
    stated, unsupported,
};
use super::table::{Element, Field, Guard, Kind, List, Map, Oneof, Shape, Table};
use super::walk::MAX_ELEMENTS;

/// Compiles the rules of every `quarterdeck` message in the pool and of all that
/// they contain. Fails with the place and the rule that cannot be enforced.
pub fn compile(pool: &DescriptorPool) -> Result<Guard, String> {
    let extension = |name: &str| {
        pool.get_extension_by_name(name).ok_or_else(|| format!("the descriptors do not define {name}"))
    };
    let mut compiler = Compiler {
        field: extension("buf.validate.field")?,
        oneof: extension("buf.validate.oneof")?,
        message: extension("buf.validate.message")?,
        by_name: BTreeMap::new(),
        queue: VecDeque::new(),
    };
    for message in pool.all_messages() {
        if message.package_name().starts_with("quarterdeck.") && !message.is_map_entry() {
            compiler.place(&message);
        }
    }
    // Invariant: messages are compiled in the order in which they got places.
    let mut tables = Vec::new();
    while let Some(message) = compiler.queue.pop_front() {
        tables.push(compiler.table(&message)?);
    }
    Ok(Guard { tables, by_name: compiler.by_name })
}

struct Compiler {
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    message: ExtensionDescriptor,
    by_name: BTreeMap<String, usize>,
    queue: VecDeque<MessageDescriptor>,
}

impl Compiler {
    fn place(&mut self, message: &MessageDescriptor) -> usize {
        let next = self.by_name.len();
        if let Some(place) = self.by_name.get(message.full_name()) {
            return *place;
        }
        self.by_name.insert(message.full_name().to_string(), next);
        self.queue.push_back(message.clone());
        next
    }

    fn table(&mut self, message: &MessageDescriptor) -> Result<Table, String> {
        let name = message.full_name();
        if message.options().has_extension(&self.message) {
            return Err(format!("{name}: rules of whole messages are not supported"));
        }
        let mut table = Table::default();
        let mut slots = 0;
        let mut descriptors: Vec<_> = message.fields().collect();
        descriptors.sort_by_key(FieldDescriptor::number);
        if descriptors.len() > 128 {
            return Err(format!("{name}: more than 128 fields are not supported"));
        }
        for (place, descriptor) in descriptors.iter().enumerate() {
            let field = self.compile_field(descriptor, &mut slots)?;
            match &field.shape {
                Shape::One(item) if field.required || (!field.presence && breaks_at_zero(item)) => {
                    table.needed |= 1 << place;
                }
                Shape::One(_) => {}
                shape if shape.counted().is_some_and(|(_, min)| min > 0) => table.filled.push(place),
                Shape::List(_) | Shape::Map(_) => {}
            }
            table.fields.push(field);
        }
        if slots > MAX_LISTS {
            return Err(format!("{name}: more than {MAX_LISTS} lists and maps are not supported"));
        }
        self.oneofs(message, &mut table)?;
        Ok(table)
    }

    /// Reads the rules of the message's oneofs; its fields must be compiled.
    fn oneofs(&self, message: &MessageDescriptor, table: &mut Table) -> Result<(), String> {
        for oneof in message.oneofs() {
            let options = oneof.options();
            if !options.has_extension(&self.oneof) {
                continue;
            }
            let extension = options.get_extension(&self.oneof);
            let rules = message_of(&extension, oneof.full_name())?;
            for (rule, value) in stated(rules, oneof.full_name())? {
                match (rule.as_str(), value) {
                    ("required", Value::Bool(false)) => {}
                    ("required", Value::Bool(true)) => {
                        let members: Vec<_> = oneof.fields().collect();
                        let place =
                            |field: &FieldDescriptor| table.field(field.number()).map(|(place, _)| place);
                        table.oneofs.push(Oneof {
                            name: oneof.name().to_string(),
                            members: members
                                .iter()
                                .filter_map(place)
                                .fold(0, |mask, place| mask | 1 << place),
                            choices: members.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(", "),
                        });
                    }
                    _ => return Err(unsupported(oneof.full_name(), &rule)),
                }
            }
        }
        Ok(())
    }

    fn compile_field(&mut self, field: &FieldDescriptor, slots: &mut usize) -> Result<Field, String> {
        let place = field.full_name();
        if field.is_group() || field.is_required() {
            return Err(format!("{place}: groups and required fields of proto2 are not supported"));
        }
        let options = field.options();
        let extension = options.get_extension(&self.field);
        let rules = match options.has_extension(&self.field) {
            true => FieldRules::read(message_of(&extension, place)?, place)?,
            false => FieldRules::default(),
        };
        let (required, skip_empty) = (rules.required, rules.skip_zero);
        let shape = if field.is_map() {
            self.map(field, rules, slots)?
        } else if field.is_list() {
            self.list(field, rules, slots)?
        } else {
            Shape::One(self.element(field, rules)?)
        };
        Ok(Field {
            number: field.number(),
            name: field.name().to_string(),
            required,
            presence: field.supports_presence(),
            skip_empty,
            shape,
        })
    }

    fn list(
        &mut self,
        field: &FieldDescriptor,
        rules: FieldRules,
        slots: &mut usize,
    ) -> Result<Shape, String> {
        let place = field.full_name();
        let (mut min, mut max, mut unique) = (u32::from(rules.required), MAX_ELEMENTS, false);
        let mut items = FieldRules::default();
        for (rule, value) in rules.typed("repeated", place)? {
            match (rule.as_str(), value) {
                ("min_items", Value::U64(limit)) => min = min.max(count(limit, place)?),
                ("max_items", Value::U64(limit)) => max = count(limit, place)?,
                ("unique", Value::Bool(stated)) => unique = stated,
                ("items", Value::Message(rules)) => items = FieldRules::read(&rules, place)?,
                _ => return Err(unsupported(place, &rule)),
            }
        }
        items.refuse_required(place)?;
        let item = self.element(field, items)?;
        // Equality of floats and messages is a matter of its own.
        let comparable = !matches!(
            item.kind,
            Kind::Message(_)
                | Kind::Duration
                | Kind::Timestamp
                | Kind::FieldMask
                | Kind::Scalar(ScalarKind::Double | ScalarKind::Float)
        );
        if unique && !comparable {
            return Err(format!("{place}: unique floats or messages are not supported"));
        }
        Ok(Shape::List(List { item, slot: next(slots), min, max, unique }))
    }

    fn map(
        &mut self,
        field: &FieldDescriptor,
        rules: FieldRules,
        slots: &mut usize,
    ) -> Result<Shape, String> {
        let place = field.full_name();
        let (mut min, mut max) = (u32::from(rules.required), MAX_ELEMENTS);
        let (mut keys, mut values) = (FieldRules::default(), FieldRules::default());
        for (rule, value) in rules.typed("map", place)? {
            match (rule.as_str(), value) {
                ("min_pairs", Value::U64(limit)) => min = min.max(count(limit, place)?),
                ("max_pairs", Value::U64(limit)) => max = count(limit, place)?,
                ("keys", Value::Message(rules)) => keys = FieldRules::read(&rules, place)?,
                ("values", Value::Message(rules)) => values = FieldRules::read(&rules, place)?,
                _ => return Err(unsupported(place, &rule)),
            }
        }
        keys.refuse_required(place)?;
        values.refuse_required(place)?;
        let kind = field.kind();
        let entry = kind.as_message().ok_or_else(|| format!("{place}: its entries are no messages"))?;
        let key = self.element(&entry.map_entry_key_field(), keys)?;
        let value = self.element(&entry.map_entry_value_field(), values)?;
        let Kind::Scalar(key_kind) = key.kind else {
            return Err(format!("{place}: its keys are messages"));
        };
        Ok(Shape::Map(Map { key_kind, key, value, slot: next(slots), min, max }))
    }

    fn element(&mut self, field: &FieldDescriptor, rules: FieldRules) -> Result<Element, String> {
        let place = field.full_name();
        let skip_zero = rules.skip_zero && !field.supports_presence();
        let (kind, checks) = match field.kind() {
            ProtoKind::Message(message) => match message.full_name() {
                "google.protobuf.Duration" => {
                    (Kind::Duration, duration_checks(rules.typed("duration", place)?, place)?)
                }
                "google.protobuf.FieldMask" => {
                    (Kind::FieldMask, mask_checks(rules.typed("field_mask", place)?, place)?)
                }
                name => {
                    if let Some((kind, _)) = rules.typed {
                        return Err(unsupported(place, &kind));
                    }
                    match name {
                        "google.protobuf.Timestamp" => (Kind::Timestamp, Checks::None),
                        _ => (Kind::Message(self.place(&message)), Checks::None),
                    }
                }
            },
            ProtoKind::Enum(kind) => {
                let names = |number: i32| kind.get_value(number).map(|value| value.name().to_string());
                let numbers: Vec<_> = kind.values().map(|value| value.number()).collect();
                let checks = enum_checks(rules.typed("enum", place)?, numbers, names, place)?;
                (Kind::Scalar(ScalarKind::Enum), checks)
            }
            kind => {
                let (kind, name) = scalar_kind(&kind);
                (Kind::Scalar(kind), scalar_checks(kind, name, rules.typed(name, place)?, place)?)
            }
        };
        Ok(Element { kind, checks, skip_zero })
    }
}

/// Whether leaving the field out breaks its rules.
fn breaks_at_zero(item: &Element) -> bool {
    let Kind::Scalar(kind) = item.kind else {
        return false;
    };
    let mut found = Vec::new();
    if !item.skip_zero {
        item.checks.judge(&kind.zero(), &mut found);
    }
    !found.is_empty()
}

fn next(slots: &mut usize) -> usize {
    *slots += 1;
    *slots - 1
}
