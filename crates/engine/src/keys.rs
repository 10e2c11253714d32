//! API keys: created, listed, revoked; the secret is shown once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use quarterdeck_core::digest::Canonical;
use quarterdeck_core::key::{self, Created, Event, Key, Role, Scope};
use quarterdeck_core::{KeyId, ProjectId, Span, StreamId, Timestamp};
use quarterdeck_risk::redact;
use quarterdeck_store::rows::{KeyRow, RowChange};

use crate::auth::{Principal, key_text};
use crate::cursor::{Page, filter_digest, page_size, page_token, read_page_token};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::record::{Change, Folding, request_record};

/// How long a key is taken for unchanged: the longest that a revoked key can
/// still be used on another replica.
const TRUSTED_FOR: Span = Span::from_secs(1);
/// Keys kept in memory.
const CACHED_MAX: usize = 10_000;

/// Keys read lately; also those that do not exist, or guessing would cost a read each.
#[derive(Default)]
pub struct KeyCache(Mutex<BTreeMap<KeyId, (Timestamp, Option<Key>)>>);

impl KeyCache {
    fn put(&self, now: Timestamp, id: KeyId, key: Option<Key>) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(id, (now, key));
    }

    fn get(&self, now: Timestamp, id: KeyId) -> Option<Option<Key>> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, key) = cache.get(&id)?;
        (now.since(*read_at) < TRUSTED_FOR).then(|| key.clone())
    }
}

/// A key to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub display_name: String,
    pub roles: BTreeSet<Role>,
    pub scope: Scope,
    pub lifetime: Option<Span>,
    /// Who will use it; empty: the person of the caller.
    pub person: String,
}

fn folding(stream: StreamId) -> Folding<Key, Event> {
    Folding { stream, project: ProjectId::installation(), apply: key::apply }
}

fn row(key: &Key) -> RowChange {
    let projects = match &key.scope {
        Scope::All => None,
        Scope::Projects(names) => Some(names.iter().cloned().collect()),
    };
    RowChange::KeyPut(KeyRow { key: key.id.stream(), projects, revision: key.revision })
}

fn revision(key: &Key) -> u64 {
    key.revision
}

impl Engine {
    /// Creates a key; its text is answered only the first time.
    pub async fn create_key(
        &self,
        caller: &Principal,
        request_id: &str,
        new: NewKey,
    ) -> Result<(Key, Option<String>)> {
        self.0.may_give(caller, &new).await?;
        let shared = &self.0;
        let ctx = shared.time.ctx();
        let id = KeyId::new(&ctx, 0);
        let secret = ctx.draw("key secret", 0);
        let text = key_text(id, &secret);
        let hash = shared.secrets.hash(text.rsplit('_').next().unwrap_or_default())?;
        let request = request_record(
            ProjectId::installation(),
            "CreateKey",
            request_id,
            request_digest(caller, &new),
            id.stream(),
        );
        let created = Created {
            id,
            display_name: redact::secrets(&new.display_name),
            hash,
            roles: new.roles,
            scope: new.scope,
            expires_at: new.lifetime.map(|lifetime| ctx.now.plus(lifetime)),
            created_by: caller.subject.clone(),
            person: if new.person.is_empty() { caller.person.clone() } else { new.person },
        };
        let decide = |_: Option<&Key>| Ok(vec![Event::Created(created.clone())]);
        match shared.change(&folding(id.stream()), revision, request.as_ref(), decide, row).await? {
            Change::Done(key) => {
                shared.keys.put(shared.time.now(), id, Some(key.clone()));
                Ok((key, Some(text)))
            }
            Change::Duplicate => {
                let known = shared.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                let key = shared.fold(&folding(known.stream)).await?;
                Ok((key.ok_or(Error::NotFound(Noun::Key))?, None))
            }
        }
    }

    /// Keys that cover none but the caller's projects, newest first.
    pub async fn list_keys(&self, caller: &Principal, size: u32, token: &str) -> Result<Page<Key>> {
        let size = page_size(size, 50);
        let filter = filter_digest("keys", |c| {
            c.text(&format!("{:?}", caller.scope));
        });
        let before = read_page_token(filter, token)?.map(StreamId::from_uuid);
        let within: Option<Vec<String>> = match &caller.scope {
            Scope::All => None,
            Scope::Projects(names) => Some(names.iter().cloned().collect()),
        };
        let streams = self.0.store.list_keys(within.as_deref(), before, size).await?;
        let mut page = Page::default();
        if streams.len() == size as usize {
            page.next = streams.last().map(|last| page_token(filter, last.as_uuid())).unwrap_or_default();
        }
        for stream in streams {
            page.items.extend(self.0.fold(&folding(stream)).await?);
        }
        Ok(page)
    }

    /// Revokes a key; revoking it again answers it.
    pub async fn revoke_key(&self, caller: &Principal, id: &str, request_id: &str) -> Result<Key> {
        let id: KeyId = id.parse().map_err(|_| Error::NotFound(Noun::Key))?;
        let digest = Canonical::new("quarterdeck.request.revoke-key.v1").text(&id.to_string()).finish();
        let installation = ProjectId::installation();
        let request = request_record(installation, "RevokeKey", request_id, digest, id.stream());
        let decide = |state: Option<&Key>| match state {
            Some(key) if caller.scope.includes(&key.scope) => Ok(key::revoke(key, &caller.subject)),
            _ => Err(Error::NotFound(Noun::Key)),
        };
        let shared = &self.0;
        let key = match shared.change(&folding(id.stream()), revision, request.as_ref(), decide, row).await? {
            Change::Done(key) => key,
            Change::Duplicate => {
                shared.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                shared.fold(&folding(id.stream())).await?.ok_or(Error::NotFound(Noun::Key))?
            }
        };
        shared.keys.put(shared.time.now(), id, Some(key.clone()));
        Ok(key)
    }
}

impl Shared {
    /// Nobody gives what he does not have.
    async fn may_give(&self, caller: &Principal, new: &NewKey) -> Result<()> {
        if let Scope::Projects(names) = &new.scope {
            for name in names {
                if !caller.scope.covers(name) {
                    return Err(Error::ProjectNotCovered { project: name.clone() });
                }
                self.project(name).await?;
            }
        } else if caller.scope != Scope::All {
            return Err(Error::ProjectNotCovered { project: "(all projects)".to_owned() });
        }
        match new
            .roles
            .iter()
            .find(|role| !caller.roles.contains(role) && !caller.roles.contains(&Role::Admin))
        {
            Some(role) => Err(Error::RoleMissing { role: role_name(*role) }),
            None => Ok(()),
        }
    }

    /// The key, as it was within the last second.
    pub(crate) async fn key(&self, id: KeyId) -> Result<Option<Key>> {
        if let Some(known) = self.keys.get(self.time.now(), id) {
            return Ok(known);
        }
        let key = self.fold(&folding(id.stream())).await?;
        self.keys.put(self.time.now(), id, key.clone());
        Ok(key)
    }
}

fn request_digest(caller: &Principal, new: &NewKey) -> quarterdeck_core::Digest {
    let mut canonical = Canonical::new("quarterdeck.request.create-key.v1");
    canonical.text(&caller.subject).text(&new.display_name);
    for role in &new.roles {
        canonical.text(role_name(*role));
    }
    match &new.scope {
        Scope::All => canonical.int(1),
        Scope::Projects(names) => names.iter().fold(canonical.int(0), |canonical, name| canonical.text(name)),
    };
    canonical.optional(new.lifetime, |c, lifetime| c.int(lifetime.as_micros()));
    // Not written where it was not known before, so that requests stay the same.
    if !new.person.is_empty() {
        canonical.text(&new.person);
    }
    canonical.finish()
}

/// The contract's word for a role.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "VIEWER",
        Role::User => "USER",
        Role::Approver => "APPROVER",
        Role::Admin => "ADMIN",
        Role::Agent => "AGENT",
        Role::Service => "SERVICE",
    }
}
