//! Reading the protobuf wire format from a slice, as strictly as prost does.
//!
//! Knows nothing of fields or rules. Faults are texts for the caller of an RPC.

/// What is wrong with the bytes, as the end of a sentence.
pub(super) type Fault = &'static str;

/// Wire types, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Delimited,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// A cursor over the bytes of one message or packed list.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Padded forms (`80 00` for zero) are read, as every implementation does.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                return Err("has a varint of more than 64 bits");
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err("ends within a varint")
    }

    /// Field number and wire type of the next field.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(u32, Wire), Fault> {
        let key = u32::try_from(self.varint()?).map_err(|_| "has a field number above 536,870,911")?;
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Delimited,
            3 => Wire::StartGroup,
            4 => Wire::EndGroup,
            5 => Wire::Fixed32,
            _ => return Err("has a field of a wire type that does not exist"),
        };
        match key >> 3 {
            0 => Err("has a field with the number 0"),
            number => Ok((number, wire)),
        }
    }

    pub(super) fn fixed32(&mut self) -> Result<u32, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or("ends within a 32-bit number")?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or("ends within a 64-bit number")?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The bytes behind a length.
    #[inline]
    pub(super) fn delimited(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()?;
        let (bytes, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or("states a length beyond its end")?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Skips one unknown field. `depth` bounds nested groups, `budget` is reduced
    /// by the fields inside of them.
    pub(super) fn skip(
        &mut self,
        number: u32,
        wire: Wire,
        depth: u32,
        budget: &mut u32,
    ) -> Result<(), Fault> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed64().map(drop),
            Wire::Delimited => self.delimited().map(drop),
            Wire::Fixed32 => self.fixed32().map(drop),
            Wire::EndGroup => Err("has the end of a group that did not start"),
            Wire::StartGroup => {
                let depth = depth.checked_sub(1).ok_or("is nested too deep")?;
                loop {
                    if self.is_empty() {
                        return Err("ends within a group");
                    }
                    let (inner, wire) = self.key()?;
                    *budget = budget.checked_sub(1).ok_or("has too many fields")?;
                    match wire {
                        Wire::EndGroup if inner == number => return Ok(()),
                        _ => self.skip(inner, wire, depth, budget)?,
                    }
                }
            }
        }
    }
}
