//! Rules that the guard cannot enforce must not start, all others must.

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, File, FileResolver};

use super::bytes::block;
use crate::FILE_DESCRIPTOR_SET;
use crate::guard::{self, Broken};

struct OneFile(&'static str);

impl FileResolver for OneFile {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "one.proto" => File::from_source(name, self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The descriptors of a source that may import the contract.
pub(crate) fn pool_with(source: &'static str) -> DescriptorPool {
    let mut resolver = ChainFileResolver::new();
    resolver.add(OneFile(source));
    resolver.add(DescriptorSetFileResolver::decode(FILE_DESCRIPTOR_SET).unwrap());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("one.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

/// The message `quarterdeck.test.v1.M` with this body.
fn pool_of(body: &str) -> DescriptorPool {
    let source = format!(
        r#"syntax = "proto3";
        package quarterdeck.test.v1;
        import "buf/validate/validate.proto";
        import "google/protobuf/duration.proto";
        import "google/protobuf/timestamp.proto";
        message N {{ string s = 1 [(buf.validate.field).string.min_len = 1]; }}
        message M {{ {body} }}"#
    );
    pool_with(source.leak())
}

#[test]
fn all_rules_of_the_contract_are_enforced() {
    guard::require_complete().unwrap();
}

#[test]
fn a_rule_that_the_guard_does_not_know_does_not_start() {
    let cases = [
        ("string s = 1 [(buf.validate.field).string.email = true];", "`email`"),
        ("string s = 1 [(buf.validate.field).string.prefix = \"x\"];", "`prefix`"),
        ("string s = 1 [(buf.validate.field).string.pattern = \"(\"];", "regex parse error"),
        ("int32 n = 1 [(buf.validate.field).int32.const = 1];", "`const`"),
        ("int32 n = 1 [(buf.validate.field).int32 = {gte: 5 lte: 1}];", "exclude everything"),
        ("int32 n = 1 [(buf.validate.field).int64.gte = 1];", "is int32, but has rules for int64"),
        ("bool b = 1 [(buf.validate.field).bool.const = true];", "`bool`"),
        ("bytes b = 1 [(buf.validate.field).bytes.pattern = \"x\"];", "`pattern`"),
        ("repeated N l = 1 [(buf.validate.field).repeated.unique = true];", "unique"),
        ("repeated string l = 1 [(buf.validate.field).repeated.items.required = true];", "required"),
        ("N n = 1 [(buf.validate.field).ignore = IGNORE_ALWAYS];", "`ignore`"),
        ("N n = 1 [(buf.validate.field).cel = {id: \"x\" expression: \"true\"}];", "`cel`"),
        (
            "string s = 1; option (buf.validate.message).cel = {id: \"x\" expression: \"true\"};",
            "whole messages",
        ),
        ("google.protobuf.Timestamp t = 1 [(buf.validate.field).timestamp.lt_now = true];", "`timestamp`"),
        ("google.protobuf.Duration d = 1 [(buf.validate.field).duration.in = {seconds: 1}];", "`in`"),
    ];
    for (body, expected) in cases {
        let problem = guard::compile(&pool_of(body)).err().unwrap_or_default();
        assert!(problem.contains(expected), "{body}: {problem}");
        assert!(problem.contains("quarterdeck.test.v1.M"), "names the place: {problem}");
    }
}

#[track_caller]
fn rules_broken(body: &str, bytes: &[u8]) -> Vec<String> {
    let guard = guard::compile(&pool_of(body)).unwrap();
    let rules = guard.rules("quarterdeck.test.v1.M").unwrap();
    match guard::check(&rules, bytes) {
        Ok(()) => Vec::new(),
        Err(Broken::Malformed(problem)) => vec![problem],
        Err(Broken::Rules(broken)) => {
            broken.iter().map(|one| format!("{} {}", one.field, one.rule)).collect()
        }
    }
}

#[test]
fn rules_that_the_contract_does_not_use_yet_hold_too() {
    const REQUIRED: &str = "string s = 1 [(buf.validate.field).required = true];";
    const LIST: &str = "repeated string s = 1 [(buf.validate.field).required = true];";
    const SOME: &str = "repeated string s = 1 [(buf.validate.field) = {repeated: {min_items: 2} ignore: IGNORE_IF_ZERO_VALUE}];";
    const MAP: &str = "map<int32, N> s = 1 [(buf.validate.field).map.min_pairs = 1];";
    const SINT: &str = "sint64 s = 1 [(buf.validate.field).sint64 = {gt: -3 lt: 3}];";
    const FIXED: &str = "repeated sfixed32 s = 1 [(buf.validate.field).repeated.items.sfixed32.lt = 0];";
    const ITEMS: &str = "repeated string s = 1 [(buf.validate.field).repeated.items = {ignore: IGNORE_IF_ZERO_VALUE string: {min_len: 2}}];";
    const SHIFTED: &str = "string s = 2 [(buf.validate.field).string.min_len = 1]; int32 n = 3;";
    const SPARSE: &str = "string a = 7 [(buf.validate.field).string.min_len = 1]; string s = 900;";
    let cases: &[(&str, &[u8], &[&str])] = &[
        (REQUIRED, b"", &["s required"]),
        (REQUIRED, b"\x0a\x00", &["s required"]),
        (REQUIRED, b"\x0a\x01x", &[]),
        (LIST, b"", &["s required"]),
        (LIST, b"\x0a\x00", &[]),
        (SOME, b"", &[]),
        (SOME, b"\x0a\x00", &["s repeated.min_items"]),
        (MAP, b"", &["s map.min_pairs"]),
        // A pair without a value decodes to an empty message, whose rules hold.
        (MAP, b"\x0a\x02\x08\x05", &["s[5].s string.min_len"]),
        (MAP, b"\x0a\x07\x08\x05\x12\x03\x0a\x01x", &[]),
        (MAP, b"\x0a\x04\x12\x00\x12\x00", &["s[0] is sent more than once"]),
        (SINT, b"\x08\x03", &[]),
        (SINT, b"\x08\x05", &["s sint64.gt_lt"]),
        (FIXED, b"\x0a\x08\xff\xff\xff\xff\x01\x00\x00\x00", &["s[1] sfixed32.lt"]),
        (FIXED, b"\x0d\xff\xff\xff\xff", &[]),
        (FIXED, b"\x0a\x05\xff\xff\xff\xff\x01", &["s[1] ends within a 32-bit number"]),
        (ITEMS, b"\x0a\x00", &[]),
        (ITEMS, b"\x0a\x01x", &["s[0] string.min_len"]),
        // 1 is unknown here, though it would be the place of 2.
        (SHIFTED, b"\x08\x01\x12\x01x", &[]),
        (SHIFTED, b"\x10\x01", &["s has another wire type than the contract says"]),
        (SPARSE, b"", &["a string.min_len"]),
        (SPARSE, b"\x3a\x01x\xa2\x38\x01\x00", &["s string.nul"]),
    ];
    for (body, bytes, expected) in cases {
        assert_eq!(rules_broken(body, bytes), *expected, "{body} {bytes:x?}");
    }
}

#[test]
fn elements_of_packed_lists_count_as_fields() {
    let lists = block(2, block(1, vec![1; 9_000])).repeat(30);
    let problems = rules_broken("repeated int32 n = 1; repeated M m = 2;", &lists);
    assert_eq!(problems, ["m[22].n is beyond the limit of 200000 fields"]);
}
