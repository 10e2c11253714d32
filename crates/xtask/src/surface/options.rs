//! Options as short text: `{gte: 0, lte: 9}`.

use prost_reflect::{DynamicMessage, ExtensionDescriptor, Kind, ReflectMessage, Value};

/// The option `extension` in `options` as text with a space before it; empty where
/// it is not set.
pub fn extension(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> String {
    match extension {
        Some(extension) if options.has_extension(extension) => {
            format!(" {}", value(&options.get_extension(extension), &extension.kind()))
        }
        _ => String::new(),
    }
}

fn value(value: &Value, kind: &Kind) -> String {
    match value {
        Value::Message(message) => braces(message),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| self::value(item, kind)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::EnumNumber(number) => match kind {
            Kind::Enum(described) => described
                .get_value(*number)
                .map_or_else(|| number.to_string(), |named| named.name().to_owned()),
            _ => number.to_string(),
        },
        Value::String(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::Bool(truth) => truth.to_string(),
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Map(entries) => format!("{} entries", entries.len()),
    }
}

/// A message's set fields, sorted by name.
fn braces(message: &DynamicMessage) -> String {
    let mut parts: Vec<String> = message
        .descriptor()
        .fields()
        .filter(|field| message.has_field(field))
        .map(|field| format!("{}: {}", field.name(), value(&message.get_field(&field), &field.kind())))
        .collect();
    parts.sort();
    format!("{{{}}}", parts.join(", "))
}
