use proptest::prelude::*;

use super::*;

fn check(rows: &[(&str, &str)]) {
    for (given, expected) in rows {
        assert_eq!(text(given), *expected, "{given}");
    }
}

/// Made up when the test runs, so that no scanner finds a secret in this file.
fn made(head: &str, length: usize) -> String {
    let letters = "a8Zk3QxR7mB2vN9tLw5Jp1Hc6YdS4gFe0uTqKi";
    head.chars().chain(letters.chars().cycle().take(length)).collect()
}

#[test]
fn personal_data_becomes_tokens() {
    check(&[
        ("write to jane.doe+x@mail.example.co.uk now", "write to [email] now"),
        ("call (555) 123-4567 today", "call [phone] today"),
        ("or +44 20 7946 0958.", "or [phone]."),
        ("tel: 555-123-4567", "tel: [phone]"),
        ("+1-212-555-0187", "[phone]"),
        // Found by the fuzzer: what touches it is seen once that is a token.
        ("+791444444444444+791444444444444+791444444444444", "[phone][phone][phone]"),
        ("7:3::6+57-7-776-7777-77", "[ip][phone]"),
        (&"7:3::6+57-7-776-7777-77^".repeat(20), &"[ip][phone]^".repeat(20)),
        ("+49 (30) 901820", "[phone]"),
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("5500-0055-5555-5559", "[card]"),
        ("amex 378282246310005", "amex [card]"),
        ("DE89 3704 0044 0532 0130 00", "[iban]"),
        ("IBAN GB29NWBK60161331926819 please", "IBAN [iban] please"),
        ("from 203.0.113.9 to 198.51.100.7:443", "from [ip] to [ip]:443"),
        ("at 2001:db8::8a2e:370:7334", "at [ip]"),
        ("ssn 123-45-6789", "ssn [ssn]"),
    ]);
}

#[test]
fn data_in_a_row_is_found_one_after_the_other() {
    check(&[
        ("2 cards: 12 4111 1111 1111 1111, 5500 0055 5555 5559", "2 cards: 12 [card], [card]"),
        ("+44 20 7946 0958 +49 30 901820 and (555) 123-4567", "[phone] [phone] and [phone]"),
        ("GB82 WEST 1234 5698 7654 32 DE89 3704 0044 0532 0130 00", "[iban] [iban]"),
        ("123-45-6789 987-65-4320 219-09-9999", "[ssn] 987-65-4320 [ssn]"),
    ]);
}

#[test]
fn ids_and_times_stay() {
    for given in [
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01J9Z6X8QK3M7N5P4R2T1V0W9Y and 01HZXK5V9Q",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12: fixed",
        "at=1731000000123 took=15ms",
        "[1731000000123, 1731000000456]",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ] {
        assert_eq!(text(given), given);
    }
}

#[test]
fn numbers_of_things_stay() {
    let kept = [
        "at 1731000000123 ms",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "commit 95dd76f",
        "2024-11-05T12:30:45.123Z",
        "version 1.2.3.4-beta",
        "127.0.0.1:8080 and 0.0.0.0 and ::1",
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "order 1234567890123456",
        "000-12-3456",
        "std::collections::HashMap",
        "12:30:45",
        "lines 100-200, 5.5",
        "user@localhost",
        "01935b8e-7c1a-7000-8000-0123456789ab",
        "run_0123456789abcdef0123456789abcdef",
        "price 1,234,567.89",
        "10:20:30:40:50:60",
    ];
    for given in kept {
        assert_eq!(text(given), given);
    }
}

#[test]
fn shapes_of_makers_are_found() {
    let secrets = [
        made("ghp_", 36),
        made("glpat-", 20),
        format!("AKIA{}", "Q3T7ZKM2XW5BJH6N"),
        made("sk_live_", 24),
        made("npm_", 36),
        format!("AIza{}", made("", 35)),
        made("sk-proj-", 48),
        made("sk-ant-api03-", 60),
        made("hvs.", 30),
        format!("SG.{}.{}", made("", 22), made("", 43)),
        made("dckr_pat_", 27),
        made("xoxb-1234567890-", 24),
        format!("eyJ{}.eyJ{}.{}", made("", 20), made("", 30), made("", 40)),
    ];
    for secret in secrets {
        let given = format!("use {secret} there");
        assert!(holds_secret(&given), "{given}");
        assert!(!text(&given).contains(&secret), "{given}");
        assert!(text(&given).starts_with("use [secret:"), "{}", text(&given));
    }
}

#[test]
fn keys_logins_and_named_values_are_found() {
    let key = format!("-----BEGIN RSA {}-----\nMIIabc\n-----END RSA {0}-----", "PRIVATE KEY");
    check(&[
        (&key, "[secret:private-key]"),
        ("postgres://app:s3cr3tPw9@db/x", "postgres://app:[secret:url-password]@db/x"),
        ("DB_PASSWORD=Tr0ub4dor&3", "DB_PASSWORD=[secret:named]"),
        ("api_key: \"q7Wz83kLmN01pXvB\"", "api_key: \"[secret:named]\""),
        ("{\"client_secret\": \"8f2Kd91mQz77\"}", "{\"client_secret\": \"[secret:named]\"}"),
    ]);
}

#[test]
fn stand_ins_and_code_stay() {
    for given in [
        "password = os.environ['DB']",
        "token: ${TOKEN}",
        "API_KEY=<your key>",
        "secret = config.secret1",
        "password: changeme123",
        "tokens: 4096",
        "let token = next_token();",
        "keyboard: qwerty1",
        "password_field = true",
        "postgres://user:${PASS}@db",
        "Authorization: Bearer $TOKEN",
        "api_key=your_api_key_1",
    ] {
        assert_eq!(text(given), given);
    }
}

proptest! {
    #[test]
    fn redacting_twice_changes_nothing_more(given in ".{0,200}") {
        let once = text(&given);
        prop_assert_eq!(text(&once), once);
    }

    #[test]
    fn digits_never_panic(given in "[0-9 ().:+-]{0,80}") {
        let _ = text(&given);
    }

    #[test]
    fn epoch_milliseconds_and_uuids_survive(at in 1_000_000_000_000_u64..2_000_000_000_000, id in any::<[u8; 16]>()) {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let given = format!("{{\"at\": {at}, \"id\": \"{uuid}\", \"sum\": \"{hex}\"}}");
        prop_assert_eq!(text(&given), given);
    }
}

#[test]
fn where_people_are_named_on_purpose_only_secrets_go() {
    let text = "ann@example.com used ghp_16C7e42F292c6912E7710c838347Ae178B4a from 203.0.113.7";
    assert_eq!(super::secrets(text), "ann@example.com used [secret:github-token] from 203.0.113.7");
}
