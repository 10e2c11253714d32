//! The descriptors that the build script embedded.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The encoded `FileDescriptorSet` of the contract with its imports. Unlike a
/// set that went through prost, it still has our options and rules.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // The build script decoded the same bytes.
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("embedded descriptors decode")
});

/// The descriptors of the contract.
pub fn descriptor_pool() -> DescriptorPool {
    POOL.clone()
}
