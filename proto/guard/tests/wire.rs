//! Bytes that are not the message, or too much of it.

use prost::Message as _;

use super::bytes::{block, broken, check, key, malformed, number, varint};
use crate::guard::{Broken, MAX_DEPTH};
use crate::operations::v1::CreateKeyRequest;
use crate::orchestration::v1::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, SessionRequest};

#[test]
fn bytes_that_are_not_protobuf_are_malformed() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![0x80], "the message ends within a varint"),
        (vec![0x0a], "project ends within a varint"),
        (vec![0x0a, 5, b'a'], "project states a length beyond its end"),
        ([key(1, 2), varint(u64::MAX)].concat(), "project states a length beyond its end"),
        (vec![0xff; 11], "the message has a varint of more than 64 bits"),
        ([vec![0xff; 9], vec![2]].concat(), "the message has a varint of more than 64 bits"),
        ([vec![0x88], vec![0x80; 10], vec![0]].concat(), "the message has a varint of more than 64 bits"),
        (varint(1 << 35), "the message has a field number above 536,870,911"),
        (vec![0x02, 0], "the message has a field with the number 0"),
        (key(1, 6), "the message has a field of a wire type that does not exist"),
        (key(1, 7), "the message has a field of a wire type that does not exist"),
        (key(99, 4), "the message has the end of a group that did not start"),
        (key(99, 3), "the message ends within a group"),
        ([key(99, 3), key(98, 4)].concat(), "the message has the end of a group that did not start"),
        ([key(99, 5), vec![0; 3]].concat(), "the message ends within a 32-bit number"),
        ([key(99, 1), vec![0; 7]].concat(), "the message ends within a 64-bit number"),
        (number(1, 5), "project has another wire type than the contract says"),
        (key(1, 3), "project has another wire type than the contract says"),
        (number(5, 5), "plan has another wire type than the contract says"),
        (number(4, 5), "labels has another wire type than the contract says"),
        (block(3, [b'a', 0xff]), "display_name is not valid UTF-8"),
        (block(3, [0xc0, 0x80]), "display_name is not valid UTF-8"),
        (block(3, [0xed, 0xa0, 0x80]), "display_name is not valid UTF-8"),
        (block(4, block(1, [0xff])), "labels is not valid UTF-8"),
        (block(4, [block(1, b"k"), block(2, [0xff])].concat()), "labels[\"k\"] is not valid UTF-8"),
        (block(5, block(1, block(1, [0xff]))), "plan.steps[0].key is not valid UTF-8"),
        (block(5, block(1, &number(7, 1)[..1])), "plan.steps[0].priority ends within a varint"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(malformed::<CreateTaskRequest>(&bytes), expected, "{bytes:x?}");
        assert!(CreateTaskRequest::decode(bytes.as_slice()).is_err(), "prost agrees on {bytes:x?}");
    }
}

#[test]
fn a_message_field_sent_twice_is_malformed_because_merging_hides_from_rules() {
    let plan = block(5, block(1, [block(1, b"a"), block(2, b"b")].concat()));
    assert_eq!(check::<CreateTaskRequest>(&plan), Ok(()));
    assert_eq!(malformed::<CreateTaskRequest>(&plan.repeat(2)), "plan is sent more than once");
    let hello = block(7, b"");
    assert_eq!(malformed::<SessionRequest>(&hello.repeat(2)), "ping is sent more than once");
}

#[test]
fn unknown_fields_of_every_wire_type_are_skipped() {
    let bytes = [
        number(100, 7),
        block(101, [0xff]),
        [key(102, 1), vec![0; 8]].concat(),
        [key(103, 5), vec![0; 4]].concat(),
        [key(104, 3), number(1, 1), key(2, 3), key(2, 4), key(104, 4)].concat(),
        block(1, b"tsk_1"),
        number(536_870_911, 1),
    ]
    .concat();
    assert_eq!(check::<GetTaskRequest>(&bytes), Ok(()));
    assert_eq!(GetTaskRequest::decode(bytes.as_slice()).unwrap().task_id, "tsk_1");
}

#[test]
fn padded_varints_mean_what_they_say() {
    let good = [block(1, b"tsk_1"), vec![0x10, 0x81, 0x80, 0x00]].concat();
    assert_eq!(check::<GetTaskRequest>(&good), Ok(()));
    let bad = [block(1, b"tsk_1"), vec![0x10, 0x89, 0x80, 0x00]].concat();
    assert!(matches!(check::<GetTaskRequest>(&bad), Err(Broken::Rules(_))));
}

#[test]
fn packed_and_single_enums_count_and_are_judged_alike() {
    let packed = |roles: &[u64]| block(3, roles.iter().copied().flat_map(varint).collect::<Vec<_>>());
    let single = |roles: &[u64]| roles.iter().flat_map(|role| number(3, *role)).collect::<Vec<_>>();
    let rules = |roles: Vec<u8>| match check::<CreateKeyRequest>(&[block(2, b"ci"), roles].concat()) {
        Ok(()) => Vec::new(),
        Err(Broken::Rules(broken)) => {
            broken.iter().map(|one| format!("{} {}", one.field, one.rule)).collect()
        }
        Err(Broken::Malformed(problem)) => vec![problem],
    };
    let cases: &[(&[u64], &[&str])] = &[
        (&[1, 2], &[]),
        (&[], &["roles repeated.min_items"]),
        (&[1, 0], &["roles[1] enum.not_in"]),
        (&[1, 4_294_967_297], &["roles repeated.unique"]),
        (&[u64::MAX], &["roles[0] enum.defined_only"]),
        (&[1, 2, 3, 4, 5, 6, 1], &["roles repeated.max_items"]),
    ];
    for (roles, expected) in cases {
        assert_eq!(rules(packed(roles)), *expected, "packed {roles:?}");
        assert_eq!(rules(single(roles)), *expected, "single {roles:?}");
    }
    let mixed = [packed(&[1, 2]), single(&[2])].concat();
    assert_eq!(rules(mixed), ["roles repeated.unique"]);
    assert_eq!(rules(block(3, [0x80])), ["roles[0] ends within a varint"]);
}

/// A payload of JSON lists within each other, as the input of the only step.
fn nested_json(levels: usize) -> Vec<u8> {
    let mut value = number(1, 0);
    for _ in 0..levels {
        value = block(6, block(1, value));
    }
    let step = [block(1, b"a"), block(2, b"b"), block(3, block(3, value))].concat();
    block(5, block(1, step))
}

#[test]
fn a_depth_bomb_is_refused_and_ordinary_json_is_not() {
    // The outermost value is the fifth message; each list adds two.
    let deepest = (MAX_DEPTH as usize - 5) / 2;
    assert_eq!(check::<CreateTaskRequest>(&nested_json(deepest)), Ok(()));
    for levels in [deepest + 1, 1000, 100_000] {
        let problem = malformed::<CreateTaskRequest>(&nested_json(levels));
        assert!(problem.ends_with("is nested deeper than 32 messages"), "{problem}");
        assert!(problem.len() < 400, "{problem}");
    }
    let groups = [key(99, 3).repeat(1000), key(99, 4).repeat(1000)].concat();
    assert_eq!(malformed::<CreateTaskRequest>(&groups), "the message is nested too deep");
}

#[test]
fn four_mebibytes_of_tiny_elements_are_refused_at_their_limit() {
    const SIZE: usize = 4 << 20;
    let valid_step = block(1, [block(1, b"a"), block(2, b"b")].concat());
    let steps = block(5, valid_step.repeat(SIZE / valid_step.len()));
    let Err(Broken::Rules(violations)) = check::<CreateTaskRequest>(&steps) else {
        panic!("must be refused");
    };
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].rule, "repeated.max_items");

    let empty_steps = block(5, block(1, b"").repeat(SIZE / 2));
    assert!(matches!(check::<CreateTaskRequest>(&empty_steps), Err(Broken::Rules(_))));
    let states = block(2, block(1, vec![1; SIZE]));
    assert!(matches!(check::<ListTasksRequest>(&states), Err(Broken::Rules(_))));
    let unknown = number(100, 0).repeat(SIZE / 3);
    let problem = malformed::<CreateTaskRequest>(&unknown);
    assert_eq!(problem, "the message is beyond the limit of 200000 fields");
}

#[test]
fn limits_hold_across_lists_that_stay_below_their_own() {
    // 30 lists of 9,000 empty values each: no list is too long, the message is.
    let list = block(6, block(1, b"").repeat(9_000));
    let value = block(6, block(1, list).repeat(30));
    let step = [block(1, b"a"), block(2, b"b"), block(3, block(3, value))].concat();
    let problem = malformed::<CreateTaskRequest>(&block(5, block(1, step)));
    assert!(problem.ends_with("is beyond the limit of 200000 fields"), "{problem}");
}

#[test]
fn map_pairs_without_key_or_value_are_judged_as_decoded() {
    assert_eq!(
        check::<CreateTaskRequest>(&block(4, b"")).map_err(|broken| match broken {
            Broken::Rules(violations) => violations.into_iter().map(|one| one.field).collect::<Vec<_>>(),
            Broken::Malformed(problem) => vec![problem],
        }),
        Err(vec!["labels[\"\"]".into(), "labels[\"\"]".into(), "plan".into()])
    );
    // The value first, then the key: the path has the key nevertheless.
    let pair = block(4, [block(2, vec![b'v'; 200]), block(1, b"k")].concat());
    let Err(Broken::Rules(violations)) = check::<CreateTaskRequest>(&pair) else {
        panic!("must be refused");
    };
    assert_eq!(violations[0].field, "labels[\"k\"]");
}

#[test]
fn paths_stay_short_whatever_the_keys() {
    let mut request = CreateTaskRequest::default();
    request.labels.insert("\u{202e}".repeat(5_000), "v".into());
    let Err(Broken::Rules(violations)) = check::<CreateTaskRequest>(&request.encode_to_vec()) else {
        panic!("must be refused");
    };
    assert!(violations.iter().all(|violation| violation.field.len() < 300));
    assert!(broken(&request).iter().all(|text| !text.contains('\u{202e}')));
}
