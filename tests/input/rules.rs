//! The `buf.validate` rules of a field, as far as the contract uses them. Read from
//! the descriptors and not from the guard, which is what is tested.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost_reflect::{DynamicMessage, FieldDescriptor, OneofDescriptor, Value};
use regex::Regex;

/// What a value must be like.
#[derive(Debug, Default)]
pub struct Rules {
    pub required: bool,
    /// Fewest and most characters, bytes, items or pairs.
    pub least: usize,
    pub most: Option<usize>,
    pub pattern: Option<Regex>,
    /// Bounds of whole numbers; of durations in nanoseconds.
    pub low: Option<i128>,
    pub high: Option<i128>,
    /// Bounds of floating numbers.
    pub from: Option<f64>,
    pub to: Option<f64>,
    /// Numbers that an enum must not have.
    pub not_in: Vec<i32>,
    /// Paths that a mask may have.
    pub paths: Vec<String>,
    pub unique: bool,
    /// Of the items of a list or the values of a map.
    pub items: Option<Arc<Rules>>,
    /// Of the keys of a map.
    pub keys: Option<Arc<Rules>>,
}

static KNOWN: Mutex<BTreeMap<String, Arc<Rules>>> = Mutex::new(BTreeMap::new());

const INTEGERS: [&str; 10] =
    ["int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64"];

impl Rules {
    /// The rules of this field; none where its contract has none.
    pub fn of(field: &FieldDescriptor) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = known.get(field.full_name()) {
            return Arc::clone(rules);
        }
        let extension = field.parent_message().parent_pool().get_extension_by_name("buf.validate.field");
        let stated = extension.and_then(|extension| {
            let options = field.options();
            let rules = options.has_extension(&extension).then(|| options.get_extension(&extension));
            rules.and_then(|rules| rules.as_message().map(Self::read))
        });
        let rules = Arc::new(stated.unwrap_or_default());
        known.insert(field.full_name().to_owned(), Arc::clone(&rules));
        rules
    }

    fn read(stated: &DynamicMessage) -> Self {
        let mut rules = Self {
            required: get(stated, "required").and_then(|value| value.as_bool()).unwrap_or(false),
            ..Self::default()
        };
        for kind in ["string", "bytes"] {
            if let Some(text) = message(stated, kind) {
                rules.least = count(&text, "min_len").unwrap_or(0);
                rules.most = count(&text, "max_len").or_else(|| count(&text, "max_bytes"));
                let pattern = get(&text, "pattern").and_then(|value| value.as_str().map(str::to_owned));
                rules.pattern = pattern.map(|pattern| Regex::new(&pattern).expect("a pattern"));
            }
        }
        for kind in INTEGERS {
            if let Some(number) = message(stated, kind) {
                let bound = |name| get(&number, name).and_then(|value| whole(&value));
                rules.low = bound("gte").or(bound("gt").map(|low| low + 1));
                rules.high = bound("lte").or(bound("lt").map(|high| high - 1));
            }
        }
        for kind in ["double", "float"] {
            if let Some(number) = message(stated, kind) {
                let bound = |name| get(&number, name).and_then(|value| value.as_f64());
                (rules.from, rules.to) = (bound("gte").or(bound("gt")), bound("lte").or(bound("lt")));
            }
        }
        if let Some(span) = message(stated, "duration") {
            let bound = |name| message(&span, name).map(|bound| nanos(&bound));
            rules.low = bound("gte").or(bound("gt").map(|low| low + 1));
            rules.high = bound("lte").or(bound("lt").map(|high| high - 1));
        }
        if let Some(list) = message(stated, "repeated") {
            rules.least = count(&list, "min_items").unwrap_or(0);
            rules.most = count(&list, "max_items");
            rules.unique = get(&list, "unique").and_then(|value| value.as_bool()).unwrap_or(false);
            rules.items = message(&list, "items").map(|items| Arc::new(Self::read(&items)));
        }
        if let Some(map) = message(stated, "map") {
            rules.least = count(&map, "min_pairs").unwrap_or(0);
            rules.most = count(&map, "max_pairs");
            rules.keys = message(&map, "keys").map(|keys| Arc::new(Self::read(&keys)));
            rules.items = message(&map, "values").map(|values| Arc::new(Self::read(&values)));
        }
        if let Some(one) = message(stated, "enum") {
            rules.not_in = numbers(&one, "not_in");
        }
        if let Some(mask) = message(stated, "field_mask") {
            rules.paths = list(&mask, "in", |value| value.as_str().map(str::to_owned));
        }
        rules
    }

    /// Whether a text is as it must be.
    pub fn takes(&self, text: &str) -> bool {
        let length = text.chars().count();
        length >= self.least
            && self.most.is_none_or(|most| length <= most)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

/// Whether one of the members must be set.
pub fn is_required(oneof: &OneofDescriptor) -> bool {
    let extension = oneof.parent_message().parent_pool().get_extension_by_name("buf.validate.oneof");
    let stated = extension.map(|extension| oneof.options().get_extension(&extension).into_owned());
    let stated = stated.as_ref().and_then(Value::as_message);
    stated.and_then(|stated| get(stated, "required")).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn get(message: &DynamicMessage, name: &str) -> Option<Value> {
    let field = message.descriptor_field(name)?;
    message.has_field(&field).then(|| message.get_field(&field).into_owned())
}

/// The descriptor of a field by its name.
trait Named {
    fn descriptor_field(&self, name: &str) -> Option<FieldDescriptor>;
}

impl Named for DynamicMessage {
    fn descriptor_field(&self, name: &str) -> Option<FieldDescriptor> {
        prost_reflect::ReflectMessage::descriptor(self).get_field_by_name(name)
    }
}

fn message(from: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    get(from, name).and_then(|value| value.as_message().cloned())
}

fn count(from: &DynamicMessage, name: &str) -> Option<usize> {
    get(from, name).and_then(|value| value.as_u64()).and_then(|number| usize::try_from(number).ok())
}

fn list<T>(from: &DynamicMessage, name: &str, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    let value = get(from, name);
    let items = value.as_ref().and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(read).collect()
}

fn numbers(from: &DynamicMessage, name: &str) -> Vec<i32> {
    list(from, name, Value::as_i32)
}

fn whole(value: &Value) -> Option<i128> {
    let signed = value.as_i64().or(value.as_i32().map(i64::from)).map(i128::from);
    signed.or(value.as_u64().or(value.as_u32().map(u64::from)).map(i128::from))
}

fn nanos(span: &DynamicMessage) -> i128 {
    let part = |name| get(span, name).and_then(|value| whole(&value)).unwrap_or(0);
    part("seconds") * 1_000_000_000 + part("nanos")
}
