//! May this caller call this method? Denied unless the contract says so.

use quarterdeck_api::access::{Access, Role as Stated};
use quarterdeck_core::key::Scope;
use quarterdeck_engine::Principal;

use crate::convert::keys::role_from_wire;
use crate::status::Fault;

/// Checks roles and, where the method is about the installation, the scope. Which
/// projects may be touched is the engine's to check.
pub fn admit(principal: &Principal, access: &Access) -> Result<(), Fault> {
    if !access
        .roles
        .iter()
        .filter_map(|&stated| role_from_wire(stated))
        .any(|role| principal.roles.contains(&role))
    {
        let names: Vec<&str> = access.roles.iter().map(Stated::as_str_name).collect();
        let roles = names.join(", ").replace("ROLE_", "").to_lowercase();
        return Err(Fault::RoleMissing { roles });
    }
    if access.all_projects && !matches!(principal.scope, Scope::All) {
        return Err(Fault::AllProjectsNeeded);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use quarterdeck_api::access::{access, methods};
    use quarterdeck_core::key::Role;

    fn principal(roles: &[Role], scope: Scope) -> Principal {
        Principal {
            subject: "key:test".into(),
            person: "test".into(),
            issuer: "test".into(),
            roles: roles.iter().copied().collect(),
            scope,
            expires_at: None,
        }
    }

    #[test]
    fn nobody_without_a_role_calls_anything() {
        for (path, access) in methods() {
            assert!(admit(&principal(&[], Scope::All), access).is_err(), "{path}");
        }
    }

    #[test]
    fn roles_open_what_the_contract_says() {
        let path = |name: &str| access(&format!("/quarterdeck.{name}")).unwrap();
        let (create, get) =
            (path("orchestration.v1.TaskService/CreateTask"), path("orchestration.v1.TaskService/GetTask"));
        let (session, project) = (
            path("orchestration.v1.WorkerService/Session"),
            path("operations.v1.ProjectService/CreateProject"),
        );
        let one = || Scope::Projects(BTreeSet::from(["a".to_owned()]));
        assert_eq!(admit(&principal(&[Role::Viewer], one()), get), Ok(()));
        let refused = admit(&principal(&[Role::Viewer], one()), create);
        assert_eq!(refused, Err(Fault::RoleMissing { roles: "user, service, admin".into() }));
        assert_eq!(admit(&principal(&[Role::Agent], one()), session), Ok(()));
        assert!(admit(&principal(&[Role::Agent], one()), get).is_err());
        assert_eq!(admit(&principal(&[Role::Admin], one()), project), Err(Fault::AllProjectsNeeded));
        assert_eq!(admit(&principal(&[Role::Admin], Scope::All), project), Ok(()));
    }
}
