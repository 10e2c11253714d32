//! The lease token: which attempt an agent speaks for.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::id::TaskId;
use crate::plan::StepIndex;

/// Fencing token of one attempt: the epoch of the store and the sequence of the
/// assigning event. Both only grow, so a later attempt always has a larger token.
/// It is no secret: a word counts only from the session that holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseToken {
    pub task: TaskId,
    pub step: StepIndex,
    /// Grows whenever the store is restored or fails over.
    pub epoch: u32,
    pub sequence: u64,
}

/// Text that is not a lease token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lease token; send back exactly what the assignment carried")]
pub struct InvalidToken;

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0u8; 30];
        bytes[..16].copy_from_slice(self.task.as_uuid().as_bytes());
        bytes[16..18].copy_from_slice(&self.step.to_be_bytes());
        bytes[18..22].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[22..].copy_from_slice(&self.sequence.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for LeaseToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        fn part<const N: usize>(bytes: &[u8], start: usize) -> Result<[u8; N], InvalidToken> {
            bytes.get(start..start + N).and_then(|slice| slice.try_into().ok()).ok_or(InvalidToken)
        }
        // 30 bytes are exactly 40 characters.
        if text.len() != 40 {
            return Err(InvalidToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        Ok(Self {
            task: TaskId::from_uuid(Uuid::from_bytes(part(&bytes, 0)?)),
            step: StepIndex::from_be_bytes(part(&bytes, 16)?),
            epoch: u32::from_be_bytes(part(&bytes, 18)?),
            sequence: u64::from_be_bytes(part(&bytes, 22)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Ctx;
    use crate::time::Timestamp;

    #[test]
    fn a_token_comes_back_and_nothing_else_is_one() {
        let task = TaskId::new(&Ctx::new(Timestamp::from_micros(9), [3; 32]), 0);
        let token = LeaseToken { task, step: 999, epoch: 2, sequence: u64::MAX };
        let text = token.to_string();
        assert_eq!(text.parse::<LeaseToken>(), Ok(token));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &"?".repeat(40)] {
            assert_eq!(bad.parse::<LeaseToken>(), Err(InvalidToken), "{bad}");
        }
    }
}
