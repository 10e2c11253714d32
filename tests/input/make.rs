//! Messages from descriptors and rules: as they should be, about somebody else's
//! things, or hostile.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::dice::Dice;
use crate::rules::{Rules, is_required};
use crate::text;
use crate::wire::{Field, Value};
use crate::words::{Side, Words, unhex};

/// Deepest message in which optional fields may hold messages.
const DEEP: usize = 6;
const HOUR: i128 = 3_600 * 1_000_000_000;
const WHOLE: [i128; 16] = [
    0,
    1,
    -1,
    2,
    127,
    i32::MAX as i128,
    i32::MIN as i128,
    i32::MAX as i128 + 1,
    u32::MAX as i128,
    1 << 53,
    i64::MAX as i128,
    i64::MIN as i128,
    u64::MAX as i128,
    253_402_300_800,
    315_576_000_001,
    1_000_000_000,
];
const FLOATING: [f64; 12] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -0.0,
    0.0,
    -1.0,
    1.000_000_1,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
    5e-324,
    1e308,
];

/// Fields whose default runs out while the tests look.
const ALWAYS: [&str; 1] = ["lease"];

/// How fields are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As the rules say.
    Right,
    /// As the rules say, but every name is one of another project.
    Foreign,
    /// Every third field is as bad as it can be.
    Hostile,
}

/// Makes one message.
pub struct Maker<'a> {
    pub dice: &'a mut Dice,
    pub words: &'a Words,
    pub mood: Mood,
    /// The field, in the order of making, that is hostile whatever the mood.
    pub spoil: Option<usize>,
    /// Fields made so far.
    pub made: usize,
    /// Bytes that large values may still take.
    pub room: usize,
    /// Nothing but what is required and the field at the end of this path.
    pub only: Option<Vec<FieldDescriptor>>,
}

impl Maker<'_> {
    pub fn message(&mut self, of: &MessageDescriptor, depth: usize) -> Vec<Field> {
        let mut fields = Vec::new();
        for oneof in of.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let named = oneof.fields().find(|member| self.is_named(member));
            let none = match is_required(&oneof) || named.is_some() {
                true => 0,
                false if self.only.is_some() => 100,
                false => 30,
            };
            if self.dice.percent(none) || (self.mood == Mood::Hostile && self.dice.percent(5)) {
                continue;
            }
            let mut members: Vec<FieldDescriptor> = oneof.fields().collect();
            if depth > DEEP && members.iter().any(|member| member.kind().as_message().is_none()) {
                members.retain(|member| member.kind().as_message().is_none());
            }
            let times = if self.mood == Mood::Hostile && self.dice.percent(10) { 2 } else { 1 };
            for _ in 0..times {
                let member = named.clone().unwrap_or_else(|| self.dice.pick(&members).clone());
                self.field(&member, depth, &mut fields);
            }
        }
        for field in of.fields() {
            if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
                continue;
            }
            let rules = Rules::of(&field);
            let likely = match field.kind() {
                _ if rules.required || rules.least > 0 || self.is_named(&field) => 100,
                _ if ALWAYS.contains(&field.name()) => 100,
                // Not set is zero, which is too little, or no value at all.
                _ if rules.low > Some(0) && !field.supports_presence() => 100,
                _ if rules.not_in.contains(&0) && !field.supports_presence() => 100,
                _ if self.only.is_some() => 0,
                _ if self.mood == Mood::Foreign && self.words.names_something(field.name()) => 90,
                Kind::Message(_) if depth > DEEP => 0,
                Kind::Message(_) => 35,
                _ => 45,
            };
            let omitted = self.mood == Mood::Hostile && self.dice.percent(7);
            if self.dice.percent(likely) && !omitted {
                self.field(&field, depth, &mut fields);
            }
        }
        fields
    }

    fn is_named(&self, field: &FieldDescriptor) -> bool {
        self.only.as_ref().is_some_and(|path| path.contains(field))
    }

    /// Adds one field with all its elements.
    fn field(&mut self, field: &FieldDescriptor, depth: usize, out: &mut Vec<Field>) {
        self.made += 1;
        let bad = self.spoil == Some(self.made) || (self.mood == Mood::Hostile && self.dice.percent(30));
        let rules = Rules::of(field);
        let number = field.number();
        if field.is_map() || field.is_list() {
            self.elements(field, &rules, bad, depth, out);
        } else {
            let value = self.value(field, &rules, bad, depth);
            out.push(Field::new(number, value));
        }
    }

    fn elements(
        &mut self,
        field: &FieldDescriptor,
        rules: &Rules,
        bad: bool,
        depth: usize,
        out: &mut Vec<Field>,
    ) {
        let most = rules.most.unwrap_or(100);
        let many = bad && self.dice.percent(60);
        let count = match many {
            true => *self.dice.pick(&[0, most + 1, most + 1, most, 1_000, 10_001]),
            false if self.only.is_some() => rules.least.max(usize::from(self.is_named(field))),
            false => (rules.least + self.dice.below(3)).min(most),
        };
        let none = Rules::default();
        let items = rules.items.as_deref().unwrap_or(&none);
        let mut first: Option<(Value, usize)> = None;
        for index in 0..count {
            // A few of their own, and then the same again and again.
            let value = match &first {
                Some((value, _)) if index > 8 && !field.is_map() => value.clone(),
                _ if field.is_map() => self.entry(field, rules, bad && !many, index, depth),
                _ => self.value(field, items, bad && !many, depth),
            };
            let size = first.as_ref().map_or_else(|| rough_size(&value), |(_, size)| *size);
            if many && self.room < size + 16 {
                return;
            }
            self.room = self.room.saturating_sub(if many { size } else { 0 });
            first.get_or_insert_with(|| (value.clone(), size));
            let element = Field::new(field.number(), value);
            if bad || !rules.unique || !out.contains(&element) {
                out.push(element);
            }
        }
    }

    fn entry(
        &mut self,
        field: &FieldDescriptor,
        rules: &Rules,
        bad: bool,
        index: usize,
        depth: usize,
    ) -> Value {
        let Kind::Message(entry) = field.kind() else { return Value::Message(Vec::new()) };
        let none = Rules::default();
        let (keys, values) =
            (rules.keys.as_deref().unwrap_or(&none), rules.items.as_deref().unwrap_or(&none));
        let spoiled_key = bad && self.dice.percent(50);
        let key = match entry.map_entry_key_field().kind() {
            Kind::String if index > 2 => Value::Bytes(format!("k{index}").into_bytes()),
            _ => self.value(&entry.map_entry_key_field(), keys, spoiled_key, depth),
        };
        let value = self.value(&entry.map_entry_value_field(), values, bad && !spoiled_key, depth + 1);
        Value::Message(vec![Field::new(1, key), Field::new(2, value)])
    }

    fn value(&mut self, field: &FieldDescriptor, rules: &Rules, bad: bool, depth: usize) -> Value {
        match field.kind() {
            Kind::Message(of) => self.inner(&of, rules, bad, depth),
            Kind::Double => Value::Fixed64(self.floating(rules, bad).to_bits()),
            Kind::Float => Value::Fixed32((self.floating(rules, bad) as f32).to_bits()),
            Kind::String => Value::Bytes(self.string(field, rules, bad).into_bytes()),
            Kind::Bytes => Value::Bytes(self.bytes(field, rules, bad)),
            Kind::Bool => {
                Value::Varint(if bad { *self.dice.pick(&[2, u64::MAX]) } else { self.dice.number() & 1 })
            }
            Kind::Enum(of) if !bad => {
                let numbers: Vec<i32> = of.values().map(|value| value.number()).collect();
                let allowed: Vec<i32> =
                    numbers.into_iter().filter(|number| !rules.not_in.contains(number)).collect();
                Value::Varint(i64::from(*self.dice.pick(&allowed)) as u64)
            }
            Kind::Enum(_) => {
                Value::Varint(i64::from(*self.dice.pick(&[-1, 0, 99, i32::MAX, i32::MIN])) as u64)
            }
            Kind::Fixed32 | Kind::Sfixed32 => Value::Fixed32(self.whole(rules, bad) as u32),
            Kind::Fixed64 | Kind::Sfixed64 => Value::Fixed64(self.whole(rules, bad) as u64),
            Kind::Sint32 | Kind::Sint64 => {
                let number = self.whole(rules, bad) as i64;
                Value::Varint(((number << 1) ^ (number >> 63)) as u64)
            }
            // Negative numbers take ten bytes, also those of 32 bits.
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                Value::Varint(self.whole(rules, bad) as u64)
            }
        }
    }

    /// A message within a message.
    fn inner(&mut self, of: &MessageDescriptor, rules: &Rules, bad: bool, depth: usize) -> Value {
        match of.full_name() {
            "google.protobuf.Duration" if !bad => return Value::Message(self.duration(rules)),
            "google.protobuf.Timestamp" if !bad => {
                let seconds = self.dice.between(1_600_000_000, 1_900_000_000) as u64;
                return Value::Message(vec![Field::new(1, Value::Varint(seconds))]);
            }
            "google.protobuf.FieldMask" if !bad && !rules.paths.is_empty() => {
                let path = self.dice.pick(&rules.paths).clone().into_bytes();
                return Value::Message(vec![Field::new(1, Value::Bytes(path))]);
            }
            _ => {}
        }
        if !bad {
            return Value::Message(self.message(of, depth + 1));
        }
        if self.dice.percent(40)
            && let Some(path) = cycle(of)
        {
            return Value::Message(self.nested(of, &path, depth));
        }
        match self.dice.below(4) {
            0 => Value::Message(Vec::new()),
            1 => {
                let length = self.dice.below(40);
                Value::Bytes(self.dice.bytes(length))
            }
            _ => {
                let mood = std::mem::replace(&mut self.mood, Mood::Hostile);
                let fields = self.message(of, depth + 1);
                self.mood = mood;
                Value::Message(fields)
            }
        }
    }

    /// A message within itself, many times.
    fn nested(&mut self, of: &MessageDescriptor, path: &[FieldDescriptor], depth: usize) -> Vec<Field> {
        let times = *self.dice.pick(&[3, 12, 17, 40, 100, 400]);
        let mut fields = self.message(of, depth + DEEP);
        for _ in 0..times {
            for field in path.iter().rev() {
                fields = vec![Field::new(field.number(), Value::Message(fields))];
            }
        }
        fields
    }

    /// Long enough that nothing happens by itself while the tests look; where the
    /// rules allow no such length, it is a wait, and then mostly a short one.
    fn duration(&mut self, rules: &Rules) -> Vec<Field> {
        let high = rules.high.unwrap_or(24 * HOUR);
        let low = rules.low.unwrap_or(0).max(0);
        let nanos = match high >= HOUR {
            true => self.dice.between(low.max(HOUR), high),
            false if self.dice.percent(70) => low,
            false => self.dice.between(low, high),
        };
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        vec![Field::new(1, Value::Varint(seconds as u64)), Field::new(2, Value::Varint(rest as u64))]
    }

    fn whole(&mut self, rules: &Rules, bad: bool) -> i128 {
        let low = rules.low.unwrap_or(0);
        let high = rules.high.unwrap_or(low + 1_000);
        if bad {
            return match self.dice.below(10) {
                0 => low - 1,
                1 => high + 1,
                2 => i128::from(self.dice.number()),
                _ => *self.dice.pick(&WHOLE),
            };
        }
        match self.dice.below(4) {
            0 => low,
            1 => high,
            2 => self.dice.between(low, (low + 3).min(high)),
            _ => self.dice.between(low, high),
        }
    }

    fn floating(&mut self, rules: &Rules, bad: bool) -> f64 {
        if bad {
            return *self.dice.pick(&FLOATING);
        }
        let (from, to) = (rules.from.unwrap_or(-1e6), rules.to.unwrap_or(1e6));
        from + (to - from) * self.dice.below(1_001) as f64 / 1_000.0
    }

    fn string(&mut self, field: &FieldDescriptor, rules: &Rules, bad: bool) -> String {
        if bad {
            let text = text::hostile(rules, field.name(), self.room, self.words, self.dice);
            self.room = self.room.saturating_sub(text.len());
            return text;
        }
        let side = if self.mood == Mood::Foreign { Side::Foreign } else { Side::Own };
        text::right(rules, field.name(), side, self.words, self.dice)
    }

    fn bytes(&mut self, field: &FieldDescriptor, rules: &Rules, bad: bool) -> Vec<u8> {
        let side = if self.mood == Mood::Foreign { Side::Foreign } else { Side::Own };
        let known = self.words.of(side, field.name());
        if !bad && !known.is_empty() && self.dice.percent(80) {
            let text: &String = self.dice.pick(known);
            return unhex(text).unwrap_or_default();
        }
        let most = rules.most.unwrap_or(1_000);
        let length = match bad {
            true => (*self.dice.pick(&[0, most, most + 1, 1_000_000])).min(self.room),
            false => rules.least + self.dice.below(most.saturating_sub(rules.least).clamp(1, 300)),
        };
        self.room = self.room.saturating_sub(length);
        let mut bytes = self.dice.bytes(length.min(64));
        bytes.resize(length, 7);
        bytes
    }
}

/// The fields by which a message can be within itself, if it can.
fn cycle(of: &MessageDescriptor) -> Option<Vec<FieldDescriptor>> {
    let mut paths: Vec<(MessageDescriptor, Vec<FieldDescriptor>)> = vec![(of.clone(), Vec::new())];
    for _ in 0..200 {
        if paths.is_empty() {
            return None;
        }
        let (message, path) = paths.remove(0);
        for field in message.fields().filter(|_| path.len() < 4) {
            let Kind::Message(inner) = field.kind() else { continue };
            let path = [path.as_slice(), &[field]].concat();
            if inner == *of {
                return Some(path);
            }
            paths.push((inner, path));
        }
    }
    None
}

fn rough_size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 3,
        Value::Message(fields) | Value::Group(fields) => {
            fields.iter().map(|field| rough_size(&field.value) + 3).sum()
        }
        Value::Packed(numbers) => numbers.len() * 2,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Method;
    use crate::wire::encode;

    fn made(path: &str, index: usize, mood: Mood) -> Vec<u8> {
        let methods = Method::all();
        let method = methods.iter().find(|method| method.path.ends_with(path)).unwrap();
        let (mut dice, words) = (Dice::of(1, path, index), Words::default());
        let dice = &mut dice;
        let mut maker = Maker { dice, words: &words, mood, spoil: None, made: 0, room: 100_000, only: None };
        encode(&maker.message(&method.input, 0))
    }

    #[test]
    fn the_same_dice_make_the_same_message() {
        for index in 0..50 {
            assert_eq!(made("CreateTask", index, Mood::Hostile), made("CreateTask", index, Mood::Hostile));
        }
    }

    #[test]
    fn messages_nest_in_themselves_where_they_can() {
        let pool = quarterdeck_api::descriptor_pool();
        let path = |name: &str| cycle(&pool.get_message_by_name(name).unwrap());
        assert!(path("google.protobuf.Value").is_some());
        assert!(path("google.protobuf.Struct").is_some());
        assert!(path("quarterdeck.orchestration.v1.Plan").is_none());
    }

    #[test]
    fn right_messages_keep_the_rules() {
        for method in Method::all().iter().filter(|method| method.access.is_some()) {
            let rules = quarterdeck_api::guard::rules(method.input.full_name()).unwrap().unwrap();
            let right = (0..100).filter(|&index| {
                let bytes = made(&method.path, index, Mood::Right);
                quarterdeck_api::guard::check(&rules, &bytes).is_ok()
            });
            let count = right.count();
            assert!(count > 80, "{}: {count} of 100", method.path);
        }
    }
}
