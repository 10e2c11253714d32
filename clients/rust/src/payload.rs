//! What steps take and give, to and from Rust values.
//!
//! Invariant: JSON survives unchanged. Numbers that a double cannot hold exactly go
//! as JSON text in `data` instead of as `google.protobuf.Value`, as the contract asks.

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use quarterdeck_api::r#type::v1 as pb;
use quarterdeck_api::r#type::v1::payload::Content;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Number;
use tonic::Code;

use crate::error::Error;

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// The largest integer below which every one has its own double.
const EXACT: u64 = 1 << 53;

/// A media type and its content, at most 256 KiB.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payload(pb::Payload);

impl Payload {
    /// Any value that serialises to JSON.
    ///
    /// # Errors
    /// The value does not serialise, such as a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        serde_json::to_value(value).map(Self::from_json).map_err(|error| {
            Error::client(Code::InvalidArgument, format!("the value does not become JSON: {error}"))
        })
    }

    /// A JSON value.
    #[must_use]
    pub fn from_json(value: serde_json::Value) -> Self {
        if is_exact(&value) {
            return Self(pb::Payload {
                media_type: String::new(),
                content: Some(Content::Json(to_proto(value))),
            });
        }
        Self::bytes(JSON, value.to_string())
    }

    /// UTF-8 text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(TEXT, text.into())
    }

    /// Bytes as they are.
    pub fn bytes(media_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self(pb::Payload { media_type: media_type.into(), content: Some(Content::Data(data.into())) })
    }

    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The media type, with the contract's default where none was given.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match (self.0.media_type.as_str(), &self.0.content) {
            ("", Some(Content::Json(_))) => JSON,
            ("", _) => OCTETS,
            (given, _) => given,
        }
    }

    /// True where there is no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// True where the server left the content out.
    #[must_use]
    pub fn is_omitted(&self) -> bool {
        matches!(self.0.content, Some(Content::Omitted(_)))
    }

    /// Size of the content in bytes: JSON as compact text, omitted as the server says.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0.content {
            None => 0,
            Some(Content::Data(data)) => data.len(),
            Some(Content::Json(value)) => from_proto(value).to_string().len(),
            Some(Content::Omitted(summary)) => usize::try_from(summary.size).unwrap_or(usize::MAX),
        }
    }

    /// The content as JSON: JSON content, or data that is JSON text. Nothing is `null`.
    ///
    /// # Errors
    /// The data is no JSON, or the content was omitted.
    pub fn to_json(&self) -> Result<serde_json::Value, Error> {
        match &self.0.content {
            None => Ok(serde_json::Value::Null),
            Some(Content::Json(value)) => Ok(from_proto(value)),
            Some(Content::Data(data)) => serde_json::from_slice(data).map_err(|error| {
                let kind = self.media_type();
                Error::client(Code::InvalidArgument, format!("the payload ({kind}) is no JSON: {error}"))
            }),
            Some(Content::Omitted(_)) => Err(omitted()),
        }
    }

    /// The content as a Rust value.
    ///
    /// # Errors
    /// As [`Payload::to_json`], or the JSON has another shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.to_json()?).map_err(|error| {
            Error::client(Code::InvalidArgument, format!("the payload has another shape: {error}"))
        })
    }

    /// The content as bytes; JSON as compact text.
    ///
    /// # Errors
    /// The content was omitted.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        match &self.0.content {
            None => Ok(Bytes::new()),
            Some(Content::Data(data)) => Ok(data.clone()),
            Some(Content::Json(value)) => Ok(Bytes::from(from_proto(value).to_string())),
            Some(Content::Omitted(_)) => Err(omitted()),
        }
    }

    /// The content as text: data as UTF-8, a JSON string without its quotes, other
    /// JSON as compact text.
    ///
    /// # Errors
    /// The data is no UTF-8, or the content was omitted.
    pub fn to_text(&self) -> Result<String, Error> {
        if let Some(Content::Json(Value { kind: Some(Kind::StringValue(text)) })) = &self.0.content {
            return Ok(text.clone());
        }
        String::from_utf8(self.to_bytes()?.into())
            .map_err(|_| Error::client(Code::InvalidArgument, "the payload is no UTF-8 text"))
    }

    /// The message as the contract has it.
    #[must_use]
    pub fn as_proto(&self) -> &pb::Payload {
        &self.0
    }

    /// The message as the contract has it.
    #[must_use]
    pub fn into_proto(self) -> pb::Payload {
        self.0
    }
}

impl From<pb::Payload> for Payload {
    fn from(payload: pb::Payload) -> Self {
        Self(payload)
    }
}

impl From<Option<pb::Payload>> for Payload {
    fn from(payload: Option<pb::Payload>) -> Self {
        Self(payload.unwrap_or_default())
    }
}

impl From<Payload> for pb::Payload {
    fn from(payload: Payload) -> Self {
        payload.0
    }
}

impl From<Payload> for Option<pb::Payload> {
    fn from(payload: Payload) -> Self {
        Some(payload.0)
    }
}

fn omitted() -> Error {
    Error::client(
        Code::FailedPrecondition,
        "the content was left out of this answer; ask for it (TaskView FULL, or dependency(..) in an agent)",
    )
}

/// True where every number has its own double.
fn is_exact(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => {
            number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs)).is_none_or(|n| n <= EXACT)
        }
        serde_json::Value::Array(items) => items.iter().all(is_exact),
        serde_json::Value::Object(entries) => entries.values().all(is_exact),
        _ => true,
    }
}

fn to_proto(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(flag),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(to_proto).collect() })
        }
        serde_json::Value::Object(entries) => Kind::StructValue(Struct {
            fields: entries.into_iter().map(|(key, value)| (key, to_proto(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn from_proto(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(flag)) => serde_json::Value::Bool(*flag),
        Some(Kind::NumberValue(number)) => from_double(*number),
        Some(Kind::StringValue(text)) => serde_json::Value::String(text.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(from_proto).collect(),
        Some(Kind::StructValue(object)) => {
            let entries = object.fields.iter();
            entries.map(|(key, value)| (key.clone(), from_proto(value))).collect()
        }
    }
}

/// A whole number comes back as one, so that it parses into an integer.
fn from_double(number: f64) -> serde_json::Value {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    if number.fract() == 0.0 && number.abs() <= EXACT as f64 {
        return serde_json::Value::from(number as i64);
    }
    Number::from_f64(number).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_comes_back_unchanged() {
        for value in [
            json!(null),
            json!({"a": [1, -2, 0.5, true, null, "x"], "b": {"c": 9_007_199_254_740_992_u64}}),
            json!({"big": u64::MAX, "small": i64::MIN}),
            json!("text"),
            json!([]),
        ] {
            let payload = Payload::json(&value).unwrap();
            assert_eq!(payload.to_json().unwrap(), value);
            assert_eq!(payload.media_type(), JSON);
            assert_eq!(payload.size(), value.to_string().len());
        }
    }

    #[test]
    fn numbers_that_no_double_holds_travel_as_text() {
        let payload = Payload::json(&u64::MAX).unwrap();
        assert!(matches!(payload.as_proto().content, Some(Content::Data(_))));
        assert_eq!(payload.parse::<u64>().unwrap(), u64::MAX);
    }

    #[test]
    fn text_and_bytes_come_back_unchanged() {
        assert_eq!(Payload::text("grüße").to_text().unwrap(), "grüße");
        assert_eq!(Payload::json("grüße").unwrap().to_text().unwrap(), "grüße");
        assert_eq!(Payload::bytes("image/png", vec![0xff, 0]).to_bytes().unwrap(), vec![0xff, 0]);
        assert!(Payload::bytes("image/png", vec![0xff, 0]).to_text().is_err());
        assert_eq!(Payload::empty().media_type(), OCTETS);
    }

    #[test]
    fn omitted_content_is_an_error_and_not_nothing() {
        let payload = Payload::from(pb::Payload {
            media_type: String::new(),
            content: Some(Content::Omitted(pb::PayloadSummary { size: 7, sha256: Bytes::new() })),
        });
        assert!(payload.is_omitted());
        assert_eq!(payload.size(), 7);
        assert!(payload.to_bytes().is_err() && payload.to_json().is_err() && payload.to_text().is_err());
    }
}
