//! JSON as a message and JSON as text.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

/// Deepest JSON that is answered as a message. Each level costs up to three
/// levels of messages, and decoders stop at 100.
const DEPTH_MAX: u32 = 24;
/// Whole numbers up to this size are the same as text and as a double: 2^53.
const EXACT_MAX: u64 = 1 << 53;

/// Why a message is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// The JSON that a message stands for. Whole numbers lose their `.0`.
pub fn from_message(value: Value) -> Result<Json, NotJson> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::NumberValue(value)) => Json::Number(number(value)?),
        Some(Kind::ListValue(list)) => {
            Json::Array(list.values.into_iter().map(from_message).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(fields)) => {
            let fields = fields.fields.into_iter().map(|(name, value)| Ok((name, from_message(value)?)));
            Json::Object(fields.collect::<Result<Map<_, _>, NotJson>>()?)
        }
    })
}

fn number(value: f64) -> Result<Number, NotJson> {
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX as f64 {
        return Ok(Number::from(value as i64));
    }
    Number::from_f64(value).ok_or(NotJson)
}

/// The message for JSON text. `None` where the text is no JSON, is too deep, or
/// has a number that a double cannot hold: then the text itself is the answer.
pub fn to_message(text: &str) -> Option<Value> {
    message(serde_json::from_str(text).ok()?, 1)
}

fn message(json: Json, depth: u32) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::String(value) => Kind::StringValue(value),
        Json::Number(number) => Kind::NumberValue(double(&number)?),
        Json::Array(items) => {
            let values = items.into_iter().map(|item| message(item, depth + 1)).collect::<Option<_>>()?;
            Kind::ListValue(ListValue { values })
        }
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Some((name, message(value, depth + 1)?)));
            Kind::StructValue(Struct { fields: fields.collect::<Option<_>>()? })
        }
    };
    Some(Value { kind: Some(kind) })
}

fn double(number: &Number) -> Option<f64> {
    let exact = number.is_f64()
        || number.as_u64().is_some_and(|value| value <= EXACT_MAX)
        || number.as_i64().is_some_and(|value| value.unsigned_abs() <= EXACT_MAX);
    number.as_f64().filter(|_| exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_as_a_message() {
        for text in [
            "null",
            "true",
            "\"text\"",
            "[]",
            "{}",
            "[1,-2,0.5,1e300,9007199254740992]",
            r#"{"a":{"b":[null,false,"é"]},"c":""}"#,
        ] {
            let message = to_message(text).unwrap();
            let json = from_message(message).unwrap();
            assert_eq!(json, serde_json::from_str::<Json>(text).unwrap(), "{text}");
        }
        assert_eq!(from_message(to_message("[1,2.0]").unwrap()).unwrap().to_string(), "[1,2]");
    }

    #[test]
    fn what_a_message_cannot_hold_stays_text() {
        let deep = format!("{}{}", "[".repeat(30), "]".repeat(30));
        for text in ["9007199254740993", "-9007199254740993", "[18446744073709551615]", &deep, "{", "", "1 2"]
        {
            assert_eq!(to_message(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_that_json_lacks_are_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let message = Value { kind: Some(Kind::NumberValue(value)) };
            assert_eq!(from_message(message), Err(NotJson));
        }
    }
}
