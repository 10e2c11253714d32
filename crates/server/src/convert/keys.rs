//! API keys.

use std::collections::BTreeSet;

use quarterdeck_api::operations::v1 as pb;
use quarterdeck_api::options::v1::Role as Wire;
use quarterdeck_core::key::{Key, Role, Scope};
use quarterdeck_engine::keys::NewKey;

use super::{int64, time, violation};
use crate::status::Violation;

pub fn to_wire(key: Key) -> pb::Key {
    let (projects, all_projects) = match key.scope {
        Scope::All => (Vec::new(), true),
        Scope::Projects(names) => (names.into_iter().collect(), false),
    };
    pb::Key {
        id: key.id.to_string(),
        display_name: key.display_name,
        roles: key.roles.iter().map(|&role| role_to_wire(role).into()).collect(),
        projects,
        all_projects,
        create_time: Some(time::timestamp(key.created_at)),
        expire_time: key.expires_at.map(time::timestamp),
        revoke_time: key.revoked_at.map(time::timestamp),
        created_by: key.created_by,
        revision: int64(key.revision),
        person: key.person,
    }
}

/// The key that is wished for.
pub fn new_key(wire: pb::CreateKeyRequest) -> Result<NewKey, Violation> {
    let mut roles = BTreeSet::new();
    for (index, &number) in wire.roles.iter().enumerate() {
        let role = Wire::try_from(number).ok().and_then(role_from_wire);
        roles.insert(role.ok_or_else(|| violation(format!("roles[{index}]"), "is no role"))?);
    }
    let scope = match (wire.all_projects, wire.projects.is_empty()) {
        (true, true) => Scope::All,
        (false, false) => Scope::Projects(wire.projects.into_iter().collect()),
        (true, false) => return Err(violation("projects", "must be empty where `all_projects` is true")),
        (false, true) => return Err(violation("projects", "name projects, or set `all_projects`")),
    };
    if wire.person.chars().any(char::is_control) {
        return Err(violation("person", "has no line breaks or other control characters"));
    }
    Ok(NewKey {
        display_name: wire.display_name,
        roles,
        scope,
        lifetime: wire.lifetime.map(time::span),
        person: wire.person,
    })
}

const fn role_to_wire(role: Role) -> Wire {
    match role {
        Role::Viewer => Wire::Viewer,
        Role::User => Wire::User,
        Role::Approver => Wire::Approver,
        Role::Admin => Wire::Admin,
        Role::Agent => Wire::Agent,
        Role::Service => Wire::Service,
    }
}

/// The core's word for a role of the contract.
pub const fn role_from_wire(role: Wire) -> Option<Role> {
    match role {
        Wire::Unspecified => None,
        Wire::Viewer => Some(Role::Viewer),
        Wire::User => Some(Role::User),
        Wire::Approver => Some(Role::Approver),
        Wire::Admin => Some(Role::Admin),
        Wire::Agent => Some(Role::Agent),
        Wire::Service => Some(Role::Service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(projects: &[&str], all_projects: bool, roles: &[i32]) -> pb::CreateKeyRequest {
        pb::CreateKeyRequest {
            display_name: "ci".into(),
            roles: roles.to_vec(),
            projects: projects.iter().map(|&name| name.into()).collect(),
            all_projects,
            ..Default::default()
        }
    }

    #[test]
    fn a_key_covers_named_projects_or_all_never_none() {
        assert_eq!(new_key(request(&[], true, &[1])).unwrap().scope, Scope::All);
        let some = Scope::Projects(BTreeSet::from(["a".to_owned()]));
        assert_eq!(new_key(request(&["a"], false, &[1])).unwrap().scope, some);
        for wrong in [request(&[], false, &[1]), request(&["a"], true, &[1])] {
            assert_eq!(new_key(wrong).unwrap_err().field, "projects");
        }
    }

    #[test]
    fn roles_come_back_and_unknown_ones_do_not() {
        for number in 1..=6 {
            let role = role_from_wire(Wire::try_from(number).unwrap()).unwrap();
            assert_eq!(i32::from(role_to_wire(role)), number);
        }
        assert_eq!(new_key(request(&[], true, &[1, 0])).unwrap_err().field, "roles[1]");
        assert_eq!(new_key(request(&[], true, &[99])).unwrap_err().field, "roles[0]");
    }
}
