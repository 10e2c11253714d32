//! Who may call each RPC and what a call costs, read from the descriptors.
//!
//! Invariant: a method without stated roles and cost is not in the table, so a
//! caller that asks [`access`] and denies on `None` denies by default. The build
//! script refuses such a method already; [`require_complete`] lets the server
//! refuse to start should one slip through.
//!
//! It does not decide anything: matching roles and projects is the server's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::descriptor_pool;
pub use crate::options::v1::Role;

/// What the contract states about one RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Roles of which a caller needs one. Never empty, never `Unspecified`.
    pub roles: Vec<Role>,
    /// Cost of one call in units of a cached read. At least 1.
    pub cost: u32,
    /// Whether the role must be held for all projects.
    pub all_projects: bool,
    /// Whether either side sends a stream.
    pub streaming: bool,
}

struct Table {
    by_path: BTreeMap<String, Access>,
    problems: Vec<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(&descriptor_pool()));

/// The options of the RPC with this gRPC path, such as
/// `/quarterdeck.orchestration.v1.TaskService/CreateTask`.
pub fn access(path: &str) -> Option<&'static Access> {
    TABLE.by_path.get(path)
}

/// All RPCs of the contract by gRPC path, in the order of their paths.
pub fn methods() -> impl Iterator<Item = (&'static str, &'static Access)> {
    TABLE.by_path.iter().map(|(path, access)| (path.as_str(), access))
}

/// Fails, naming the methods, unless every RPC states valid roles and a cost.
pub fn require_complete() -> Result<(), String> {
    if TABLE.by_path.is_empty() {
        return Err("the contract has no RPCs".into());
    }
    if TABLE.problems.is_empty() {
        return Ok(());
    }
    Err(TABLE.problems.join("; "))
}

impl Table {
    fn read(pool: &DescriptorPool) -> Self {
        let mut table = Self { by_path: BTreeMap::new(), problems: Vec::new() };
        for service in pool.services().filter(|service| service.package_name().starts_with("quarterdeck.")) {
            for method in service.methods() {
                match read_method(pool, &method) {
                    Ok(access) => {
                        let path = format!("/{}/{}", service.full_name(), method.name());
                        table.by_path.insert(path, access);
                    }
                    Err(problem) => table.problems.push(format!("{}: {problem}", method.full_name())),
                }
            }
        }
        table
    }
}

fn read_method(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<Access, String> {
    let extension = pool
        .get_extension_by_name("quarterdeck.options.v1.access")
        .ok_or("the option quarterdeck.options.v1.access is not defined")?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Err("has no option (quarterdeck.options.v1.access)".into());
    }
    let stated: crate::options::v1::Access = options
        .get_extension(&extension)
        .as_message()
        .ok_or("its access option is no message")?
        .transcode_to()
        .map_err(|error| format!("its access option cannot be read: {error}"))?;
    let mut roles = Vec::with_capacity(stated.roles.len());
    for number in stated.roles {
        match Role::try_from(number) {
            Ok(Role::Unspecified) | Err(_) => return Err(format!("states the unusable role {number}")),
            Ok(role) if roles.contains(&role) => return Err(format!("states {role:?} twice")),
            Ok(role) => roles.push(role),
        }
    }
    if roles.is_empty() {
        return Err("states no roles".into());
    }
    if stated.cost == 0 {
        return Err("states no cost".into());
    }
    Ok(Access {
        roles,
        cost: stated.cost,
        all_projects: stated.all_projects,
        streaming: method.is_client_streaming() || method.is_server_streaming(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_contract_states_its_access() {
        require_complete().unwrap();
        let count: usize = descriptor_pool()
            .services()
            .filter(|service| service.full_name().starts_with("quarterdeck."))
            .map(|service| service.methods().len())
            .sum();
        assert_eq!(methods().count(), count);
        for (path, access) in methods() {
            assert!(!access.roles.is_empty() && access.cost > 0, "{path}");
        }
    }

    #[test]
    fn options_are_read_as_written() {
        let create = access("/quarterdeck.orchestration.v1.TaskService/CreateTask").unwrap();
        let expected = Access {
            roles: vec![Role::User, Role::Service, Role::Admin],
            cost: 10,
            all_projects: false,
            streaming: false,
        };
        assert_eq!(*create, expected);
        let project = access("/quarterdeck.operations.v1.ProjectService/CreateProject").unwrap();
        assert!(project.all_projects);
        for streaming in ["WorkerService/Session", "TaskService/WatchTask"] {
            let path = format!("/quarterdeck.orchestration.v1.{streaming}");
            assert!(access(&path).unwrap().streaming, "{path}");
        }
    }

    #[test]
    fn an_unknown_path_has_no_access() {
        for path in
            ["", "/", "quarterdeck.orchestration.v1.TaskService/CreateTask", "/grpc.health.v1.Health/Check"]
        {
            assert_eq!(access(path), None, "{path}");
        }
    }

    #[test]
    fn a_method_without_roles_cost_or_option_is_a_problem_and_stays_out() {
        const SOURCE: &str = r#"
            syntax = "proto3";
            package quarterdeck.broken.v1;
            import "quarterdeck/options/v1/options.proto";
            message M {}
            service S {
              rpc NoOption(M) returns (M);
              rpc NoCost(M) returns (M) { option (quarterdeck.options.v1.access) = {roles: [ROLE_USER]}; }
              rpc NoRoles(M) returns (M) { option (quarterdeck.options.v1.access) = {cost: 1}; }
              rpc Unspecified(M) returns (M) { option (quarterdeck.options.v1.access) = {roles: [ROLE_UNSPECIFIED] cost: 1}; }
              rpc Good(M) returns (M) { option (quarterdeck.options.v1.access) = {roles: [ROLE_USER] cost: 1}; }
            }
        "#;
        let pool = crate::guard::pool_with(SOURCE);
        let table = Table::read(&pool);
        let mine: Vec<_> =
            table.by_path.keys().filter(|path| path.starts_with("/quarterdeck.broken")).collect();
        assert_eq!(mine, ["/quarterdeck.broken.v1.S/Good"]);
        assert_eq!(table.problems.len(), 4, "{:?}", table.problems);
    }
}
