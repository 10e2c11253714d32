//! Payloads: media type and content.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quarterdeck_api::r#type::v1::payload::Content;
use quarterdeck_api::r#type::v1::{Payload as Wire, PayloadSummary};
use quarterdeck_core::payload::{Body, JSON, OCTETS, SIZE_MAX};
use quarterdeck_core::{Digest, Payload};

use super::{json, violation};
use crate::status::Violation;

/// Most content of one answer, in bytes.
pub const ANSWER_MAX: usize = 3 * 1024 * 1024;
/// By how much JSON may grow in one answer when sent as messages, which are
/// larger than text; the rest of the 4 MiB that clients accept is for the frame.
const GROWTH_MAX: usize = 512 * 1024;

/// The payload in a request; `field` is where it stands.
pub fn from_wire(field: &str, wire: Option<Wire>) -> Result<Option<Payload>, Violation> {
    let Some(wire) = wire else { return Ok(None) };
    let (default, content) = match wire.content {
        None => (OCTETS, Bytes::new()),
        Some(Content::Data(data)) => (OCTETS, data),
        Some(Content::Json(value)) => {
            let json = json::from_message(value).map_err(|json::NotJson| {
                violation(format!("{field}.json"), "NaN and infinity are no JSON numbers")
            })?;
            // Writing a value that holds only strings as keys cannot fail.
            (JSON, Bytes::from(json.to_string()))
        }
        Some(Content::Omitted(_)) => {
            return Err(violation(format!("{field}.omitted"), "is for answers; send `data` or `json`"));
        }
    };
    if content.len() > SIZE_MAX {
        let problem =
            format!("has {} bytes as compact JSON text; at most {SIZE_MAX} are accepted", content.len());
        return Err(violation(format!("{field}.json"), problem));
    }
    let media_type = if wire.media_type.is_empty() { default.to_owned() } else { wire.media_type };
    Ok(Some(Payload::new(media_type, content)))
}

/// What still fits into an answer.
#[derive(Debug)]
pub struct Room {
    contents: usize,
    growth: usize,
}

impl Room {
    /// Nothing: every content is omitted.
    pub const fn none() -> Self {
        Self { contents: 0, growth: 0 }
    }

    /// As much as one answer may carry.
    pub const fn answer() -> Self {
        Self { contents: ANSWER_MAX, growth: GROWTH_MAX }
    }

    /// Content here and now, if it fits.
    fn take(&mut self, payload: &Payload, stored: &Stored) -> Option<Content> {
        let content = match payload.body {
            Body::Stored { digest, .. } => stored.get(&digest).cloned(),
            Body::Text(_) | Body::Bytes(_) if payload.size() <= self.contents => payload.content(),
            Body::Text(_) | Body::Bytes(_) => None,
        }?;
        self.contents = self.contents.checked_sub(content.len())?;
        Some(self.as_json(payload, &content).unwrap_or(Content::Data(content)))
    }

    fn as_json(&mut self, payload: &Payload, content: &Bytes) -> Option<Content> {
        if payload.media_type != JSON {
            return None;
        }
        let value = json::to_message(std::str::from_utf8(content).ok()?)?;
        let growth = value.encoded_len().saturating_sub(content.len());
        self.growth = self.growth.checked_sub(growth)?;
        Some(Content::Json(value))
    }
}

/// Contents that are stored apart, as far as they were loaded.
pub type Stored = BTreeMap<Digest, Bytes>;

/// The payload in an answer; omitted where it does not fit or was not loaded.
pub fn to_wire(payload: &Payload, stored: &Stored, room: &mut Room) -> Wire {
    let content = room.take(payload, stored).unwrap_or_else(|| Content::Omitted(summary(payload)));
    Wire { media_type: payload.media_type.clone(), content: Some(content) }
}

fn summary(payload: &Payload) -> PayloadSummary {
    let sha256 = Bytes::copy_from_slice(payload.digest().as_bytes());
    PayloadSummary { size: i64::try_from(payload.size()).unwrap_or(i64::MAX), sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Value;
    use prost_types::value::Kind;
    use quarterdeck_core::payload::INLINE_MAX;

    fn wire(media_type: &str, content: Content) -> Option<Wire> {
        Some(Wire { media_type: media_type.into(), content: Some(content) })
    }

    fn data(bytes: &'static [u8]) -> Content {
        Content::Data(Bytes::from_static(bytes))
    }

    #[test]
    fn payloads_come_back_with_their_media_type() {
        let json = json::to_message(r#"{"a":[1,"x"]}"#).unwrap();
        let cases = [
            (wire("", data(b"\xff\x00")), OCTETS),
            (wire("text/plain", data(b"hello")), "text/plain"),
            (wire("", Content::Json(json.clone())), JSON),
            (wire("application/geo+json", Content::Json(json)), "application/geo+json"),
        ];
        for (sent, media_type) in cases {
            let payload = from_wire("input", sent.clone()).unwrap().unwrap();
            assert_eq!(payload.media_type, media_type);
            let answered = to_wire(&payload, &Stored::new(), &mut Room::answer());
            assert_eq!(answered.media_type, media_type);
            match (sent.unwrap().content.unwrap(), answered.content.unwrap()) {
                (Content::Json(_), Content::Data(bytes)) => {
                    assert_ne!(media_type, JSON);
                    assert_eq!(bytes, r#"{"a":[1,"x"]}"#);
                }
                (sent, answered) => assert_eq!(sent, answered),
            }
        }
        assert_eq!(from_wire("input", None), Ok(None));
        let empty = Some(Wire { media_type: String::new(), content: None });
        assert_eq!(from_wire("input", empty).unwrap().unwrap().size(), 0);
    }

    #[test]
    fn what_must_not_come_in_is_named_by_its_field() {
        let text = |length: usize| Value { kind: Some(Kind::StringValue("x".repeat(length))) };
        let nan = Value { kind: Some(Kind::NumberValue(f64::NAN)) };
        for (content, field) in [
            (Content::Omitted(PayloadSummary::default()), "input.omitted"),
            (Content::Json(nan), "input.json"),
            (Content::Json(text(SIZE_MAX - 1)), "input.json"),
        ] {
            assert_eq!(from_wire("input", wire("", content)).unwrap_err().field, field);
        }
        let fits = from_wire("input", wire("", Content::Json(text(SIZE_MAX - 2))));
        assert_eq!(fits.unwrap().unwrap().size(), SIZE_MAX);
    }

    #[test]
    fn what_does_not_fit_is_omitted_with_its_digest() {
        let payload = Payload::new("text/plain", Bytes::from_static(b"abc"));
        let answered = to_wire(&payload, &Stored::new(), &mut Room::none());
        let Some(Content::Omitted(summary)) = answered.content else { panic!("{answered:?}") };
        assert_eq!((summary.size, &summary.sha256[..]), (3, &payload.digest().as_bytes()[..]));

        let large = Bytes::from(vec![b'x'; 5_000]);
        let (stored, detached) = Payload::new("text/plain", large.clone()).detach(INLINE_MAX);
        let (digest, content) = detached.unwrap();
        let contents = Stored::from([(digest, content)]);
        let loaded = to_wire(&stored, &contents, &mut Room::answer());
        assert_eq!(loaded.content, Some(Content::Data(large)));
        let missing = to_wire(&stored, &Stored::new(), &mut Room::answer());
        assert!(matches!(missing.content, Some(Content::Omitted(_))));
    }

    #[test]
    fn json_that_would_grow_too_much_is_sent_as_text() {
        let text = format!("[{}1]", "1,".repeat(100_000));
        let payload = Payload::new(JSON, Bytes::from(text.clone()));
        let answered = to_wire(&payload, &Stored::new(), &mut Room::answer());
        assert_eq!(answered.content, Some(Content::Data(Bytes::from(text))));
    }
}
