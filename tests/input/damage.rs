//! Breaking a message where the schema ends: in how it is written.

use crate::dice::Dice;
use crate::wire::{Field, Flaw, Value, at, encode, size};

/// Bytes that are no UTF-8: cut short, overlong, a surrogate, out of range, alone.
const BROKEN_TEXT: [&[u8]; 6] =
    [b"a\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\x80ok"];

/// Numbers of fields that nobody has.
const UNKNOWN: [u32; 5] = [15, 99, 1_000, 19_500, 536_870_911];

/// The message in a form that was damaged once to three times.
pub fn damaged(mut fields: Vec<Field>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.below(3) {
        if dice.percent(75) {
            spoil(&mut fields, dice);
        }
    }
    let mut bytes = encode(&fields);
    if dice.percent(35) {
        spoil_bytes(&mut bytes, dice);
    }
    bytes
}

fn spoil(fields: &mut Vec<Field>, dice: &mut Dice) {
    let count = size(fields);
    if count == 0 || dice.percent(15) {
        let unknown = unknown(dice);
        fields.push(unknown);
        return;
    }
    let mut place = dice.below(count);
    at(fields, &mut place, &mut |list, index| spoil_one(list, index, dice));
}

fn spoil_one(list: &mut Vec<Field>, index: usize, dice: &mut Dice) {
    let field = &mut list[index];
    match dice.below(14) {
        0 => drop(list.remove(index)),
        1 => list.insert(index, list[index].clone()),
        2 => field.value = other_type(&field.value, dice),
        3 => field.flaw = Some(Flaw::LongKey),
        4 => field.flaw = Some(Flaw::LongNumber),
        5 => field.flaw = Some(Flaw::EndlessNumber),
        6 => field.flaw = Some(Flaw::Length(*dice.pick(&[1, -1, 100, -100, i64::from(u32::MAX), i64::MAX]))),
        7 => field.flaw = Some(Flaw::WireType(*dice.pick(&[0, 1, 2, 3, 4, 5, 6, 7]))),
        8 => {
            field.flaw = Some(Flaw::Number(*dice.pick(&[0, 536_870_912, u64::from(u32::MAX), u64::MAX >> 3])))
        }
        9 => {
            let unknown = unknown(dice);
            list.insert(index, unknown);
        }
        10 => {
            let other = dice.below(list.len());
            list.swap(index, other);
        }
        11 => field.value = Value::Group(vec![field.clone()]),
        _ => field.value = Value::Bytes(dice.pick(&BROKEN_TEXT).to_vec()),
    }
}

/// The same field with a value of a type that it does not have.
fn other_type(value: &Value, dice: &mut Dice) -> Value {
    match value {
        Value::Varint(number) => match dice.below(3) {
            0 => Value::Fixed64(*number),
            1 => Value::Fixed32(*number as u32),
            _ => Value::Packed(vec![*number; 3]),
        },
        Value::Bytes(_) | Value::Message(_) | Value::Packed(_) => Value::Varint(dice.number()),
        Value::Fixed32(_) | Value::Fixed64(_) | Value::Group(_) => Value::Bytes(dice.bytes(9)),
    }
}

fn unknown(dice: &mut Dice) -> Field {
    let value = match dice.below(6) {
        0 => Value::Varint(dice.number()),
        1 => Value::Fixed32(dice.number() as u32),
        2 => Value::Fixed64(dice.number()),
        3 => {
            let length = dice.below(2_000);
            Value::Bytes(dice.bytes(length))
        }
        4 => {
            // Groups within groups: what skips them must not recurse for ever.
            let depth = *dice.pick(&[1, 10, 33, 500]);
            (0..depth).fold(Value::Group(Vec::new()), |inner, _| Value::Group(vec![Field::new(9, inner)]))
        }
        _ => Value::Packed(vec![1; 1_000]),
    };
    Field::new(*dice.pick(&UNKNOWN), value)
}

fn spoil_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(5) {
        0 => {
            let length = dice.below(bytes.len());
            bytes.truncate(length);
        }
        1 => {
            let place = dice.below(bytes.len() + 1);
            let length = 1 + dice.below(20);
            bytes.splice(place..place, dice.bytes(length));
        }
        2 => {
            // A group opened again and again, and never closed.
            let count = *dice.pick(&[1, 40, 100_000]);
            bytes.extend(std::iter::repeat_n(0x0b, count));
        }
        _ if bytes.is_empty() => *bytes = dice.bytes(7),
        _ => {
            let place = dice.below(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
        }
    }
}
