//! Messages as trees of what is on the wire: anything can be said in them, also
//! what no message may say.

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u32,
    pub value: Value,
    /// What is wrong with how it is written.
    pub flaw: Option<Flaw>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
    Group(Vec<Field>),
    /// Varints within one block.
    Packed(Vec<u64>),
}

/// Ways to write a field that are not the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The key takes more bytes than it needs. Legal.
    LongKey,
    /// The number or the length takes more bytes than it needs. Legal.
    LongNumber,
    /// The number or the length has more than 64 bits.
    EndlessNumber,
    /// The length is off by this.
    Length(i64),
    /// The key states this wire type whatever follows.
    WireType(u8),
    /// The field's number is this whatever it was.
    Number(u64),
}

impl Field {
    pub fn new(number: u32, value: Value) -> Self {
        Self { number, value, flaw: None }
    }
}

impl Value {
    fn wire_type(&self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) | Self::Message(_) | Self::Packed(_) => 2,
            Self::Group(_) => 3,
            Self::Fixed32(_) => 5,
        }
    }
}

/// The bytes of a message.
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        write(field, &mut bytes);
    }
    bytes
}

fn write(field: &Field, out: &mut Vec<u8>) {
    let mut wire_type = field.value.wire_type();
    let mut number = u64::from(field.number);
    match field.flaw {
        Some(Flaw::WireType(other)) => wire_type = other,
        Some(Flaw::Number(other)) => number = other,
        _ => {}
    }
    let key = (number << 3) | u64::from(wire_type);
    varint(key, if field.flaw == Some(Flaw::LongKey) { 4 } else { 0 }, out);
    match &field.value {
        Value::Varint(value) => match field.flaw {
            Some(Flaw::EndlessNumber) => out.extend([0xff; 11]),
            Some(Flaw::LongNumber) => varint(*value, 9, out),
            _ => varint(*value, 0, out),
        },
        Value::Fixed32(value) => out.extend(value.to_le_bytes()),
        Value::Fixed64(value) => out.extend(value.to_le_bytes()),
        Value::Bytes(bytes) => block(bytes, field.flaw, out),
        Value::Message(fields) => block(&encode(fields), field.flaw, out),
        Value::Packed(numbers) => {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|&number| varint(number, 0, &mut bytes));
            block(&bytes, field.flaw, out);
        }
        Value::Group(fields) => {
            out.extend(encode(fields));
            varint((number << 3) | 4, 0, out);
        }
    }
}

fn block(bytes: &[u8], flaw: Option<Flaw>, out: &mut Vec<u8>) {
    let length = bytes.len() as u64;
    match flaw {
        Some(Flaw::EndlessNumber) => out.extend([0xff; 11]),
        Some(Flaw::LongNumber) => varint(length, 5, out),
        Some(Flaw::Length(off)) => varint(length.wrapping_add_signed(off), 0, out),
        _ => varint(length, 0, out),
    }
    out.extend_from_slice(bytes);
}

/// In at least so many bytes.
pub fn varint(mut value: u64, least: usize, out: &mut Vec<u8>) {
    let mut written = 1;
    while value >= 0x80 || written < least {
        out.push(value as u8 | 0x80);
        value >>= 7;
        written += 1;
    }
    out.push(value as u8);
}

/// How many fields there are, those within fields included.
pub fn size(fields: &[Field]) -> usize {
    let within = |field: &Field| match &field.value {
        Value::Message(inner) | Value::Group(inner) => size(inner),
        _ => 0,
    };
    fields.iter().map(|field| 1 + within(field)).sum()
}

/// Lets `change` have the list that holds the field at this place, counted as by
/// [`size`], and where in the list it is.
pub fn at(
    fields: &mut Vec<Field>,
    place: &mut usize,
    change: &mut impl FnMut(&mut Vec<Field>, usize),
) -> bool {
    for index in 0..fields.len() {
        if *place == 0 {
            change(fields, index);
            return true;
        }
        *place -= 1;
        if let Value::Message(inner) | Value::Group(inner) = &mut fields[index].value
            && at(inner, place, change)
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_protobuf_writes() {
        let inner = vec![Field::new(1, Value::Bytes(b"ab".to_vec()))];
        let fields = [
            Field::new(1, Value::Varint(300)),
            Field::new(2, Value::Message(inner)),
            Field::new(3, Value::Packed(vec![1, 2])),
        ];
        assert_eq!(encode(&fields), b"\x08\xac\x02\x12\x04\x0a\x02ab\x1a\x02\x01\x02");
        let long = Field { flaw: Some(Flaw::LongNumber), ..Field::new(1, Value::Bytes(b"a".to_vec())) };
        assert_eq!(encode(&[long]), b"\x0a\x81\x80\x80\x80\x00a");
        assert_eq!(size(&fields), 4);
    }

    #[test]
    fn every_field_can_be_reached() {
        let inner = vec![Field::new(7, Value::Varint(0))];
        let fields = vec![Field::new(1, Value::Message(inner)), Field::new(2, Value::Varint(0))];
        let numbers = (0..size(&fields)).map(|place| {
            let (mut fields, mut place, mut number) = (fields.clone(), place, 0);
            assert!(at(&mut fields, &mut place, &mut |list, index| number = list[index].number));
            number
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 7, 2]);
    }
}
