//! Compiles `proto/` to stubs and a descriptor set, without protoc.
//!
//! Two things are easily got wrong here. Custom options survive only in the
//! *encoded* descriptor set (prost drops unknown fields), so that one is what the
//! library embeds. And the package root is the repository root, so without the
//! `rerun-if-changed` lines every edited document would rebuild the contract.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto/quarterdeck");
    println!("cargo:rerun-if-changed=proto/vendor");

    let mut files = Vec::new();
    proto_files(Path::new("proto/quarterdeck"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new(["proto", "proto/vendor"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;

    #[allow(clippy::disallowed_methods)] // Cargo hands it over in no other way.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let encoded = compiler.encode_file_descriptor_set();
    require_access_options(&encoded)?;
    fs::write(out.join("descriptors.bin"), &encoded)?;

    // Everything but `buf.*`: leaving out `google.*` makes the generator panic.
    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| !file.package().starts_with("buf."));
    let mut prost = tonic_prost_build::Config::new();
    prost.bytes(["."]).btree_map(["."]);
    for message in messages(&set) {
        prost
            .type_attribute(&message, "#[derive(::prost_reflect::ReflectMessage)]")
            .type_attribute(&message, format!("#[prost_reflect(message_name = \"{}\")]", &message[1..]))
            .type_attribute(&message, "#[prost_reflect(descriptor_pool = \"crate::descriptor_pool()\")]");
    }
    tonic_prost_build::configure()
        .codec_path("crate::codec::ProtoCodec")
        .compile_well_known_types(false)
        .include_file("mod.rs")
        .compile_fds_with_config(set, prost)?;
    Ok(())
}

fn proto_files(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            proto_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Full names, with the leading dot, of all messages of ours.
fn messages(set: &prost_reflect::prost_types::FileDescriptorSet) -> Vec<String> {
    fn walk(prefix: &str, message: &prost_reflect::prost_types::DescriptorProto, names: &mut Vec<String>) {
        // Map entries are no types of their own in Rust.
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return;
        }
        let name = format!("{prefix}.{}", message.name());
        for nested in &message.nested_type {
            walk(&name, nested, names);
        }
        names.push(name);
    }
    let mut names = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("quarterdeck.")) {
        for message in &file.message_type {
            walk(&format!(".{}", file.package()), message, &mut names);
        }
    }
    names
}

/// An RPC that does not say who may call it must not exist.
fn require_access_options(encoded: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let pool = prost_reflect::DescriptorPool::decode(encoded)?;
    let access = pool
        .get_extension_by_name("quarterdeck.options.v1.access")
        .ok_or("proto/quarterdeck/options/v1/options.proto must define `access`")?;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        let stated = options.has_extension(&access)
            && options.get_extension(&access).as_message().is_some_and(|access| {
                let roles = access.get_field_by_name("roles");
                let cost = access.get_field_by_name("cost");
                roles.is_some_and(|roles| roles.as_list().is_some_and(|list| !list.is_empty()))
                    && cost.is_some_and(|cost| cost.as_u32().is_some_and(|cost| cost > 0))
            });
        if !stated {
            return Err(format!(
                "{} has no `option (quarterdeck.options.v1.access)` with roles and a cost; see docs/how-to/add-an-rpc.md",
                method.full_name()
            )
            .into());
        }
    }
    Ok(())
}
