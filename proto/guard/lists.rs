//! Counting the elements of a message's lists and maps, and finding repetitions.

use std::collections::BTreeSet;

use super::checks::Scalar;

/// Most lists and maps that one message may define. Their counters live on the
/// stack.
pub(super) const MAX_LISTS: usize = 16;

/// Counters, and the items seen where they must be unique, of one message.
#[derive(Default)]
pub(super) struct Lists<'a> {
    pub(super) counts: [u32; MAX_LISTS],
    unique: Vec<Unique<'a>>,
}

struct Unique<'a> {
    slot: usize,
    items: BTreeSet<Item<'a>>,
    reported: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Item<'a> {
    Number(i128),
    Bytes(&'a [u8]),
}

impl<'a> Lists<'a> {
    /// Counts one element and returns its index, or the limit it exceeds.
    #[inline]
    pub(super) fn count(&mut self, slot: usize, max: u32) -> Result<u32, u32> {
        let index = self.counts[slot];
        if index >= max {
            return Err(max);
        }
        self.counts[slot] += 1;
        Ok(index)
    }

    /// Whether the item was there before; true once a list.
    pub(super) fn repeats(&mut self, slot: usize, scalar: &Scalar<'a>) -> bool {
        let item = match *scalar {
            Scalar::Bool(value) => Item::Number(value.into()),
            Scalar::Int(value) => Item::Number(value),
            Scalar::Text(value) => Item::Bytes(value.as_bytes()),
            Scalar::Blob(value) => Item::Bytes(value),
            // Invariant: the compiler refuses unique floats.
            Scalar::Float(_) => return false,
        };
        let known = self.unique.iter().position(|unique| unique.slot == slot);
        let place = known.unwrap_or_else(|| {
            self.unique.push(Unique { slot, items: BTreeSet::new(), reported: false });
            self.unique.len() - 1
        });
        let unique = &mut self.unique[place];
        if unique.reported {
            return false;
        }
        unique.reported = !unique.items.insert(item);
        unique.reported
    }
}
