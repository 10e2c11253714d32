//! Every RPC that a server answers, from the descriptors.

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use quarterdeck_api::access::{self, Access};

/// One RPC.
#[derive(Clone)]
pub struct Method {
    /// Such as `/quarterdeck.orchestration.v1.TaskService/CreateTask`.
    pub path: String,
    pub input: MessageDescriptor,
    pub output: MessageDescriptor,
    /// The client sends a stream.
    pub hears_many: bool,
    /// The server sends a stream.
    pub says_many: bool,
    /// Who may call it; `None` where everybody may.
    pub access: Option<&'static Access>,
}

/// What stands before the name of a method that only reads.
const READING: [&str; 4] = ["Get", "List", "Watch", "Check"];

impl Method {
    /// All methods of the contract, then those of health and reflection.
    pub fn all() -> Vec<Self> {
        let ours = quarterdeck_api::descriptor_pool();
        let mut open = DescriptorPool::new();
        for set in [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            open.decode_file_descriptor_set(set).expect("the descriptors of a library");
        }
        let of = |pool: &DescriptorPool| -> Vec<Self> {
            let services: Vec<_> = pool.services().collect();
            services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).map(Self::new).collect()
        };
        [of(&ours), of(&open)].concat()
    }

    fn new(method: MethodDescriptor) -> Self {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Self {
            input: method.input(),
            output: method.output(),
            hears_many: method.is_client_streaming(),
            says_many: method.is_server_streaming(),
            access: access::access(&path),
            path,
        }
    }

    /// Such as `orchestration.v1.TaskService`.
    pub fn service(&self) -> &str {
        self.path[1..].split('/').next().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it may change nothing even where it is answered.
    pub fn only_reads(&self) -> bool {
        self.access.is_none() || READING.iter().any(|word| self.name().starts_with(word))
    }
}
