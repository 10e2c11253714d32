//! Whatever bytes come: no panic, and what passes can be decoded.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::ReflectMessage;

use super::bytes::{block, check, key, number};
use crate::orchestration::v1::{CreateTaskRequest, SessionRequest};

fn holds<M: Message + ReflectMessage + Default>(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let passes = check::<M>(bytes).is_ok();
    if passes {
        let decoded = M::decode(bytes);
        prop_assert!(decoded.is_ok(), "{:?}", decoded.err());
    }
    Ok(passes)
}

/// Fields in the right syntax with numbers, wire types and contents at random.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z]{0,5}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        3 => (1..10_u32, text).prop_map(|(field, text)| block(field, text)),
        2 => (1..10_u32, 0..12_u64).prop_map(|(field, value)| number(field, value)),
        1 => (1..10_u32, any::<u64>()).prop_map(|(field, value)| number(field, value)),
        1 => (1..10_u32, any::<[u8; 8]>()).prop_map(|(field, value)| [key(field, 1), value.to_vec()].concat()),
        1 => (11..99_u32).prop_map(|field| [key(field, 3), number(1, 1), key(field, 4)].concat()),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        (1..9_u32, vec(inner, 0..4)).prop_map(|(field, fields)| block(field, fields.concat()))
    })
}

/// A valid request of the two kinds, to be damaged.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let json = block(6, [block(1, number(1, 0)), block(1, block(3, b"x"))].concat());
    let step = [
        block(1, b"a"),
        block(2, b"b"),
        block(3, block(3, json)),
        block(4, b"c"),
        block(5, [number(1, 3), block(2, number(1, 1))].concat()),
        number(7, 9),
    ];
    let label = block(4, [block(1, b"k"), block(2, b"v")].concat());
    let task = [block(1, b"default"), label, block(5, block(1, step.concat()))].concat();
    let progress = block(3, [block(1, b"1-2"), number(2, 1), [key(3, 1), vec![0; 8]].concat()].concat());
    prop_oneof![Just(task), Just(progress)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn noise_never_panics_and_what_passes_decodes(bytes in vec(any::<u8>(), 0..200)) {
        holds::<CreateTaskRequest>(&bytes)?;
        holds::<SessionRequest>(&bytes)?;
    }

    #[test]
    fn random_fields_never_panic_and_what_passes_decodes(fields in vec(fields(), 0..6)) {
        let bytes = fields.concat();
        holds::<CreateTaskRequest>(&bytes)?;
        holds::<SessionRequest>(&bytes)?;
    }

    #[test]
    fn damaged_requests_never_panic_and_what_passes_decodes(
        mut bytes in valid(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let undamaged = damage.is_empty() && cut.is_none();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let task = holds::<CreateTaskRequest>(&bytes)?;
        let session = holds::<SessionRequest>(&bytes)?;
        prop_assert!(!undamaged || task || session, "valid requests pass");
    }
}
