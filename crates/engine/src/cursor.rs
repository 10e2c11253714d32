//! Pages and cursors: opaque to callers, checked when they come back.
//!
//! A cursor names what it belongs to and the store's epoch, so one that is used
//! elsewhere is refused, and one from before a restore is answered with the truth
//! (lost) instead of silence.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quarterdeck_core::digest::{Canonical, Digest};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Largest page.
const PAGE_MAX: u32 = 1_000;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Token of the next page; empty at the end.
    pub next: String,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: String::new() }
    }
}

/// The size of a page: 0 means the default, too much means the most.
pub(crate) fn page_size(asked: u32, default: u32) -> u32 {
    if asked == 0 { default } else { asked.min(PAGE_MAX) }
}

/// Where a list goes on: after the item `last`, under the filter `filter`.
pub(crate) fn page_token(filter: Digest, last: Uuid) -> String {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&filter.as_bytes()[..8]);
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a page token; `None` for the first page.
pub(crate) fn read_page_token(filter: Digest, token: &str) -> Result<Option<Uuid>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::CursorInvalid)?;
    match bytes.split_at_checked(9) {
        Some((head, last)) if head[0] == 1 && head[1..] == filter.as_bytes()[..8] => {
            Uuid::from_slice(last).map(Some).map_err(|_| Error::CursorInvalid)
        }
        _ => Err(Error::CursorInvalid),
    }
}

/// As [`page_token`], for lists in the order of names.
pub(crate) fn name_token(filter: Digest, last: &str) -> String {
    let mut bytes = vec![4];
    bytes.extend_from_slice(&filter.as_bytes()[..8]);
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token of [`name_token`]; `None` for the first page.
pub(crate) fn read_name_token(filter: Digest, token: &str) -> Result<Option<String>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::CursorInvalid)?;
    match bytes.split_at_checked(9) {
        Some((head, last)) if head[0] == 4 && head[1..] == filter.as_bytes()[..8] => {
            String::from_utf8(last.to_vec()).map(Some).map_err(|_| Error::CursorInvalid)
        }
        _ => Err(Error::CursorInvalid),
    }
}

/// Digest of a list's filter.
pub(crate) fn filter_digest(list: &str, write: impl FnOnce(&mut Canonical)) -> Digest {
    let mut canonical = Canonical::new("quarterdeck.filter.v1");
    canonical.text(list);
    write(&mut canonical);
    canonical.finish()
}

/// What a watch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Task,
    Project,
    Approvals,
}

/// Place in a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub watched: Watched,
    pub epoch: u32,
    /// Task or project.
    pub of: Uuid,
    /// Sequence in the task's stream, or position in the log.
    pub place: u64,
    /// Events handled of the row at `place` (projects only).
    pub within: u32,
}

impl Cursor {
    pub fn text(&self) -> String {
        let mut bytes = vec![match self.watched {
            Watched::Task => 2,
            Watched::Project => 3,
            Watched::Approvals => 5,
        }];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(self.of.as_bytes());
        bytes.extend_from_slice(&self.place.to_be_bytes());
        bytes.extend_from_slice(&self.within.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor that must be of `watched` and `of`, in this epoch.
    pub fn read(text: &str, watched: Watched, of: Uuid, epoch: u32) -> Result<Self> {
        fn part<const N: usize>(bytes: &[u8], start: usize) -> Result<[u8; N]> {
            bytes.get(start..start + N).and_then(|slice| slice.try_into().ok()).ok_or(Error::CursorInvalid)
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::CursorInvalid)?;
        let cursor = Self {
            watched: match bytes.first() {
                Some(2) => Watched::Task,
                Some(3) => Watched::Project,
                Some(5) => Watched::Approvals,
                _ => return Err(Error::CursorInvalid),
            },
            epoch: u32::from_be_bytes(part(&bytes, 1)?),
            of: Uuid::from_bytes(part(&bytes, 5)?),
            place: u64::from_be_bytes(part(&bytes, 21)?),
            within: u32::from_be_bytes(part(&bytes, 29)?),
        };
        if bytes.len() != 33 || cursor.watched != watched || cursor.of != of {
            return Err(Error::CursorInvalid);
        }
        if cursor.epoch != epoch {
            return Err(Error::CursorLost);
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_counts_only_where_it_came_from() {
        let of = Uuid::from_u128(7);
        let cursor = Cursor { watched: Watched::Task, epoch: 1, of, place: 9, within: 0 };
        let text = cursor.text();
        assert_eq!(Cursor::read(&text, Watched::Task, of, 1), Ok(cursor));
        assert_eq!(Cursor::read(&text, Watched::Project, of, 1), Err(Error::CursorInvalid));
        assert_eq!(Cursor::read(&text, Watched::Task, Uuid::nil(), 1), Err(Error::CursorInvalid));
        assert_eq!(Cursor::read(&text, Watched::Task, of, 2), Err(Error::CursorLost));
        for bad in ["x", "", &text[1..], &format!("{text}AAAA")] {
            assert_eq!(Cursor::read(bad, Watched::Task, of, 1), Err(Error::CursorInvalid), "{bad}");
        }
    }

    #[test]
    fn a_page_token_belongs_to_its_filter() {
        let (one, other) = (filter_digest("tasks", |_| {}), filter_digest("keys", |_| {}));
        let token = page_token(one, Uuid::from_u128(5));
        assert_eq!(read_page_token(one, &token), Ok(Some(Uuid::from_u128(5))));
        assert_eq!(read_page_token(other, &token), Err(Error::CursorInvalid));
        assert_eq!(read_page_token(one, ""), Ok(None));
        assert_eq!(read_page_token(one, "bogus"), Err(Error::CursorInvalid));
        let token = name_token(one, "alpha");
        assert_eq!(read_name_token(one, &token), Ok(Some("alpha".to_owned())));
        for (filter, token) in [(other, token.as_str()), (one, "alpha")] {
            assert_eq!(read_name_token(filter, token), Err(Error::CursorInvalid));
        }
    }
}
