//! Every method that this server answers, and what is known about it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use quarterdeck_api::access::{self, Access};

/// A method of the contract, or one of the few open to everybody.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The path; also its label in metrics and logs.
    pub path: &'static str,
    pub kind: Kind,
    pub streaming: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Needs a credential.
    Guarded(&'static Access),
    /// Health and reflection: they tell nothing that the contract does not.
    Open,
}

/// Methods that need no credential, and whether they stream. Complete by intent:
/// anything else is denied.
const OPEN: [(&str, bool); 4] = [
    ("/grpc.health.v1.Health/Check", false),
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true),
];

/// A worker's session decides by itself when it ends.
const SESSION: &str = "/quarterdeck.orchestration.v1.WorkerService/Session";
/// The one unary call that waits for things to happen.
const POLL: &str = "/quarterdeck.orchestration.v1.WorkerService/AcquireSteps";

static METHODS: LazyLock<BTreeMap<&'static str, Method>> = LazyLock::new(|| {
    let open = OPEN.iter().map(|&(path, streaming)| Method { path, kind: Kind::Open, streaming });
    let guarded = access::methods().map(|(path, access)| Method {
        path,
        kind: Kind::Guarded(access),
        streaming: access.streaming,
    });
    open.chain(guarded).map(|method| (method.path, method)).collect()
});

impl Method {
    pub fn find(path: &str) -> Option<&'static Self> {
        METHODS.get(path)
    }

    pub fn is_session(&self) -> bool {
        self.path == SESSION
    }

    pub fn is_poll(&self) -> bool {
        self.path == POLL
    }
}

/// Full names of all services, for health.
pub fn service_names() -> Vec<String> {
    let mut names: Vec<String> =
        METHODS.keys().filter_map(|path| path[1..].split('/').next()).map(str::to_owned).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_and_reflection_are_open() {
        for method in METHODS.values() {
            let open = matches!(method.kind, Kind::Open);
            assert_eq!(open, !method.path.starts_with("/quarterdeck."), "{}", method.path);
        }
        assert!(Method::find("/quarterdeck.orchestration.v1.TaskService/Nothing").is_none());
        assert!(Method::find(SESSION).unwrap().streaming);
        assert!(!Method::find(POLL).unwrap().streaming);
    }

    #[test]
    fn each_service_is_named_once() {
        let names = service_names();
        assert_eq!(names.iter().filter(|name| name.ends_with("TaskService")).count(), 1);
        assert!(names.contains(&"quarterdeck.operations.v1.KeyService".to_owned()), "{names:?}");
    }
}
