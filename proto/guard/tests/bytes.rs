//! Hand-made protobuf bytes and what the guard says of them.

use prost::Message;
use prost_reflect::ReflectMessage;

use crate::guard::{self, Broken, MessageRules};

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(super) fn key(number: u32, wire: u32) -> Vec<u8> {
    varint(u64::from(number << 3 | wire))
}

/// A field of wire type 0.
pub(super) fn number(field: u32, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

/// A field of wire type 2.
pub(super) fn block(field: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [key(field, 2), varint(content.len() as u64), content.to_vec()].concat()
}

pub(super) fn rules_of<M: ReflectMessage + Default>() -> MessageRules<'static> {
    guard::rules(M::default().descriptor().full_name()).unwrap().unwrap()
}

pub(super) fn check<M: ReflectMessage + Default>(bytes: &[u8]) -> Result<(), Broken> {
    guard::check(&rules_of::<M>(), bytes)
}

/// The broken rules as `field rule`, in order.
pub(super) fn broken<M: Message + ReflectMessage + Default>(message: &M) -> Vec<String> {
    match check::<M>(&message.encode_to_vec()) {
        Ok(()) => Vec::new(),
        Err(Broken::Malformed(problem)) => vec![format!("malformed: {problem}")],
        Err(Broken::Rules(violations)) => {
            violations.iter().map(|violation| format!("{} {}", violation.field, violation.rule)).collect()
        }
    }
}

/// The text of a malformed message.
#[track_caller]
pub(super) fn malformed<M: ReflectMessage + Default>(bytes: &[u8]) -> String {
    match check::<M>(bytes) {
        Err(Broken::Malformed(problem)) => problem,
        other => panic!("expected malformed, got {other:?}"),
    }
}
