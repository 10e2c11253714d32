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
const READING: [&str; 9] =
    ["Get", "List", "Watch", "Check", "Count", "Assess", "Await", "Explain", "Simulate"];

/// Methods that use up what they are called with, so that few calls of many can be
/// answered, and how many are at least. No generated message has the very bytes of a
/// grant, and there is no sealed audit and no webhook, which would have the server write
/// by itself; the end-to-end tests have them.
const USING_UP: [(&str, usize); 11] = [
    ("DecideApprovals", 1),
    ("EditApproval", 2),
    ("WithdrawApproval", 2),
    ("RevokeApproval", 1),
    ("RevokeStandingGrant", 1),
    ("RedeemGrant", 0),
    ("ReportEffects", 1),
    ("GetInclusionProof", 0),
    ("GetConsistencyProof", 0),
    ("CreateWebhook", 2),
    ("DeleteWebhook", 0),
];

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

    /// How many of its calls are answered, where it uses something up.
    pub fn uses_up(&self) -> Option<usize> {
        USING_UP.iter().find(|(name, _)| *name == self.name()).map(|(_, least)| *least)
    }

    /// Whether attempts that are refused for what they are about are written down.
    pub fn is_audited(&self) -> bool {
        self.service().starts_with("quarterdeck.approvals.") && !self.only_reads()
    }

    /// Whether it may change nothing even where it is answered.
    pub fn only_reads(&self) -> bool {
        self.access.is_none() || READING.iter().any(|word| self.name().starts_with(word))
    }
}
