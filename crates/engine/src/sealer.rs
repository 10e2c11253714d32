//! Sealing the audit: each project's entries become the leaves of a Merkle tree, whose
//! head is signed about once a second.
//!
//! Any number of replicas may seal at once: the order of entries is the order of
//! commits, which nothing can be slipped into, so every head is a beginning of the same
//! sequence. What has not been sealed yet is reported, not hidden.

use std::sync::Arc;

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use quarterdeck_core::merkle::{self, Frontier};
use quarterdeck_core::{Digest, ProjectId, Span, Timestamp};
use quarterdeck_store::StoreError;
use quarterdeck_store::rows::{AuditEntry, AuditPlace, AuditSeal};
use sha2::Sha256;

use crate::auth::{Principal, Secrets};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};

/// Entries under one head more than under the one before.
const SEALED_MAX: u32 = 10_000;
/// Entries read at a time, and how long after them nothing is read: whoever waits for an
/// answer meanwhile is not to notice.
const READ_MAX: u32 = 100;
const BREATH: Span = Span::from_millis(2);
/// Entries looked at for who has something to seal.
const LOOKED_AT: u32 = 10_000;
/// Unsealed entries that are counted; more are answered as so many.
const COUNTED_MAX: u32 = 100_000;
/// Entries of a tree that proofs are made for.
const PROVED_MAX: u64 = 1_000_000;
/// Sizes on the wire and in tables are signed.
const ANY_SIZE: u64 = i64::MAX as u64;

/// A project's newest head, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub project: String,
    pub size: u64,
    pub root: Digest,
    pub at: Timestamp,
    pub signature: Vec<u8>,
    pub public_key: [u8; 32],
}

/// The text that is signed.
pub fn head_text(project: &str, size: u64, root: &Digest, at: Timestamp) -> String {
    format!("quarterdeck.audit.head.v1\n{project}\n{size}\n{root}\n{}\n", at.as_micros())
}

/// Whether a head is signed by the key that it names.
pub fn is_signed(head: &Head) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&head.public_key) else { return false };
    let Ok(signature) = Signature::from_slice(&head.signature) else { return false };
    key.verify(head_text(&head.project, head.size, &head.root, head.at).as_bytes(), &signature).is_ok()
}

/// An entry as it is hashed and handed out: the time goes first into its JSON.
pub fn entry_text(entry: &AuditEntry) -> String {
    let rest = entry.body.strip_prefix('{').unwrap_or(&entry.body);
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"at\":{}{comma}{rest}", entry.at.as_micros())
}

impl Secrets {
    /// The key that heads are signed with: the same on every replica.
    fn audit_key(&self) -> Result<SigningKey> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper)
            .map_err(|_| Error::Internal("the key pepper cannot be used".to_owned()))?;
        mac.update(b"quarterdeck.audit.key.v1\0");
        Ok(SigningKey::from_bytes(&mac.finalize().into_bytes().into()))
    }
}

impl Shared {
    /// Seals again and again, until the engine stops.
    pub(crate) async fn keep_sealing(self: Arc<Self>) {
        let (mut sealed, mut failing) = (0, false);
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = self.time.sleep(self.options.seal_every) => {}
            }
            let result = self.seal(&mut sealed).await;
            match (&result, failing) {
                (Err(error), false) => tracing::warn!(%error, "sealing the audit fails; trying on"),
                (Ok(()), true) => tracing::info!("sealing the audit works again"),
                _ => {}
            }
            failing = result.is_err();
        }
    }

    /// Seals what has come since `cursor`, and moves it.
    async fn seal(&self, cursor: &mut i64) -> Result<()> {
        let new = self.store.audited_after(*cursor, LOOKED_AT).await?;
        for audited in &new {
            while self.seal_some(audited.project).await? {
                if self.stopping.is_cancelled() {
                    return Ok(());
                }
            }
        }
        if let Some(last) = new.iter().map(|audited| audited.newest).max() {
            // The last commit may not have been looked at as a whole.
            let looked_at: u64 = new.iter().map(|audited| audited.entries).sum();
            *cursor = if looked_at < LOOKED_AT.into() { last } else { last - 1 };
        }
        Ok(())
    }

    /// Signs one head over what a project has; whether there may be more.
    async fn seal_some(&self, project: ProjectId) -> Result<bool> {
        let before = self.store.audit_seal(project, ANY_SIZE).await?;
        let (mut frontier, mut last) = beginning(before.as_ref())?;
        let most = frontier.size + u64::from(SEALED_MAX);
        let (mut newest, mut more) = (None, true);
        while more && frontier.size < most {
            let entries = self.store.audit_entries(project, last, READ_MAX).await?;
            more = entries.len() == READ_MAX as usize;
            for entry in entries {
                frontier.push(merkle::leaf(entry_text(&entry).as_bytes()));
                last = entry.place;
                newest = Some(entry);
            }
            if more {
                self.time.sleep(BREATH).await;
            }
        }
        let Some(newest) = newest else { return Ok(false) };
        let name = name_in(&newest)?;
        let (root, at) = (frontier.root(), self.time.now());
        let text = head_text(&name, frontier.size, &root, at);
        let signature = self.secrets.audit_key()?.sign(text.as_bytes()).to_bytes().to_vec();
        let (size, frontier) = (frontier.size, frontier.roots);
        let seal = AuditSeal { size, root, at, signature, last, frontier };
        self.store.seal_audit(project, &seal).await?;
        Ok(more)
    }

    /// Sealed entries from an index on.
    async fn sealed(&self, project: ProjectId, start: u64, most: u32) -> Result<Vec<AuditEntry>> {
        let Some(newest) = self.store.audit_seal(project, ANY_SIZE).await? else { return Ok(Vec::new()) };
        let before = self.store.audit_seal(project, start).await?;
        let (mut index, mut after) = before.map_or((0, AuditPlace::default()), |seal| (seal.size, seal.last));
        let mut found = Vec::new();
        while index < newest.size && (found.len() as u64) < u64::from(most) {
            let entries = self.store.audit_entries(project, after, SEALED_MAX).await?;
            let Some(last) = entries.last() else { break };
            after = last.place;
            for entry in entries {
                if index >= start && index < newest.size && (found.len() as u64) < u64::from(most) {
                    found.push(entry);
                }
                index += 1;
            }
        }
        Ok(found)
    }

    /// Hashes of the first `size` leaves.
    async fn leaves(&self, project: ProjectId, size: u64) -> Result<Vec<Digest>> {
        if size > PROVED_MAX {
            return Err(Error::LimitReached { what: "entries in a tree that is proved", limit: PROVED_MAX });
        }
        let entries = self.sealed(project, 0, size as u32).await?;
        if (entries.len() as u64) < size {
            return Err(Error::AuditRangeInvalid);
        }
        Ok(entries.iter().map(|entry| merkle::leaf(entry_text(entry).as_bytes())).collect())
    }
}

impl Engine {
    /// The newest head of a project's audit, and how much is not sealed yet.
    pub async fn audit_head(&self, caller: &Principal, project: &str) -> Result<(Option<Head>, u64)> {
        let project = self.audited(caller, project).await?;
        let id = ProjectId::of(&project);
        let seal = self.0.store.audit_seal(id, ANY_SIZE).await?;
        let last = seal.as_ref().map_or(AuditPlace::default(), |seal| seal.last);
        let unsealed = self.0.store.count_audited(id, last, COUNTED_MAX).await?;
        let public_key = self.0.secrets.audit_key()?.verifying_key().to_bytes();
        let head = seal.map(|seal| Head {
            project,
            size: seal.size,
            root: seal.root,
            at: seal.at,
            signature: seal.signature,
            public_key,
        });
        Ok((head, unsealed))
    }

    /// Sealed entries from an index on, as they are hashed.
    pub async fn audit_entries(
        &self,
        caller: &Principal,
        project: &str,
        start: u64,
        size: u32,
    ) -> Result<Vec<String>> {
        let project = self.audited(caller, project).await?;
        let size = crate::cursor::page_size(size, 100);
        let entries = self.0.sealed(ProjectId::of(&project), start, size).await?;
        Ok(entries.iter().map(entry_text).collect())
    }

    /// An entry, the size of the tree, and the proof that the entry is in it.
    pub async fn inclusion_proof(
        &self,
        caller: &Principal,
        project: &str,
        index: u64,
        size: u64,
    ) -> Result<(String, u64, Vec<Digest>)> {
        let project = self.audited(caller, project).await?;
        let id = ProjectId::of(&project);
        let size = self.size_or_newest(id, size).await?;
        let leaves = self.0.leaves(id, size).await?;
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let proof = merkle::inclusion(&leaves, place).ok_or(Error::AuditRangeInvalid)?;
        let entry = self.0.sealed(id, index, 1).await?;
        let entry = entry.first().map(entry_text).ok_or(Error::AuditRangeInvalid)?;
        Ok((entry, size, proof))
    }

    /// The size of the larger tree, and the proof that it goes on from the smaller.
    pub async fn consistency_proof(
        &self,
        caller: &Principal,
        project: &str,
        first: u64,
        second: u64,
    ) -> Result<(u64, Vec<Digest>)> {
        let project = self.audited(caller, project).await?;
        let id = ProjectId::of(&project);
        let second = self.size_or_newest(id, second).await?;
        let leaves = self.0.leaves(id, second).await?;
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let proof = merkle::consistency(&leaves, first).ok_or(Error::AuditRangeInvalid)?;
        Ok((second, proof))
    }

    async fn audited(&self, caller: &Principal, project: &str) -> Result<String> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        Ok(project)
    }

    async fn size_or_newest(&self, project: ProjectId, size: u64) -> Result<u64> {
        match size {
            0 => {
                let newest = self.0.store.audit_seal(project, ANY_SIZE).await?;
                newest.map(|seal| seal.size).ok_or(Error::AuditRangeInvalid)
            }
            size => Ok(size),
        }
    }
}

/// What a tree goes on from.
fn beginning(seal: Option<&AuditSeal>) -> Result<(Frontier, AuditPlace)> {
    let Some(seal) = seal else { return Ok((Frontier::default(), AuditPlace::default())) };
    let frontier = Frontier { size: seal.size, roots: seal.frontier.clone() };
    if !frontier.is_whole() || frontier.root() != seal.root {
        return Err(corrupt("audit_seal", "frontier", "it does not lead to the head's root"));
    }
    Ok((frontier, seal.last))
}

/// The project's name, which every entry states.
fn name_in(entry: &AuditEntry) -> Result<String> {
    let body: serde_json::Value =
        serde_json::from_str(&entry.body).map_err(|error| corrupt("audit", "body", &error.to_string()))?;
    let name = body.get("project").and_then(|name| name.as_str()).map(str::to_owned);
    name.ok_or_else(|| corrupt("audit", "body", "it names no project"))
}

fn corrupt(table: &'static str, column: &'static str, why: &str) -> Error {
    StoreError::Corrupt { table, column, id: String::new(), why: why.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_good_for_what_it_says_and_nothing_else() {
        let secrets = Secrets { bootstrap: None, pepper: vec![7; 32] };
        let key = secrets.audit_key().unwrap();
        let (root, at) = (merkle::leaf(b"x"), Timestamp::from_micros(5));
        let text = head_text("default", 3, &root, at);
        let signature = key.sign(text.as_bytes()).to_bytes().to_vec();
        let public_key = key.verifying_key().to_bytes();
        let head = Head { project: "default".into(), size: 3, root, at, signature, public_key };
        assert!(is_signed(&head));
        let later = Timestamp::from_micros(6);
        for forged in [
            Head { size: 4, ..head.clone() },
            Head { project: "other".into(), ..head.clone() },
            Head { root: merkle::leaf(b"y"), ..head.clone() },
            Head { at: later, ..head.clone() },
            Head { signature: vec![0; 64], ..head.clone() },
            Head { public_key: [9; 32], ..head.clone() },
        ] {
            assert!(!is_signed(&forged), "{forged:?}");
        }
    }

    #[test]
    fn the_time_is_part_of_an_entry() {
        let entry = |body: &str| AuditEntry {
            place: AuditPlace::default(),
            at: Timestamp::from_micros(7),
            body: body.to_owned(),
        };
        assert_eq!(entry_text(&entry("{\"kind\":\"x\"}")), "{\"at\":7,\"kind\":\"x\"}");
        assert_eq!(entry_text(&entry("{}")), "{\"at\":7}");
    }
}
