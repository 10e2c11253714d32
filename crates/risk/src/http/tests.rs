use proptest::prelude::*;

use super::graphql::{Operation, operation};
use super::*;
use crate::model::Level;
use crate::weigh::weigh;

fn level(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Level {
    let context = Context::default();
    let found = call(&Call { method, url, headers: headers.to_vec(), body }, &context);
    weigh(&found, &context).0
}

fn check(asked: bool, rows: &[&str]) {
    for row in rows {
        let mut parts = row.splitn(3, ' ');
        let (method, url) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        assert_eq!(level(method, url, &[], parts.next()) > Level::Low, asked, "{row}");
    }
}

#[test]
fn the_shipped_table_parses() {
    assert!(Table::parse().expect("data/http.toml").api.len() > 4);
}

#[test]
fn no_writing_of_an_address_hides_where_it_leads() {
    check(
        true,
        &[
            "GET http://169.254.169.254/",
            "GET http://2852039166/latest/",
            "GET http://0xa9fea9fe/",
            "GET http://0251.0376.0251.0376/",
            "GET http://169.254.43518/",
            "GET http://[::ffff:169.254.169.254]/",
            "GET http://[::ffff:a9fe:a9fe]/",
            "GET http://[fd00:ec2::254]/",
            "GET http://metadata.google.internal/computeMetadata/v1/",
            "GET http://METADATA.google.internal./",
            "GET http://100.100.100.200/",
            "GET http://169.254.169.254.nip.io/",
            "GET http://a-169-254-169-254.sslip.io/",
            "GET http://2130706433/",
            "GET http://127.1/",
            "GET http://0x7f.0.0.1/",
            "GET http://017700000001/",
            "GET http://[::ffff:127.0.0.1]/",
            "GET http://10.0.0.8/",
            "GET http://192.168.1.1/admin",
            "GET http://good.example.com@169.254.169.254/",
            "GET https://api.example.com@evil.example.net/",
            "GET https://user:hunter2222@example.com/",
            "GET http:\\\\evil.example.net\\x",
            "GET https://\u{440}aypal.com/",
            "GET gopher://127.0.0.1:6379/_x",
            "GET file:///etc/shadow",
            "GET https://$HOST/x",
            "GET https://example.com/fetch?url=http://169.254.169.254/",
            "GET https://example.com/fetch?url=file:///etc/passwd",
            "GET http://\u{2460}\u{2461}7.0.0.1/",
            "GET",
        ],
    );
}

#[test]
fn plain_reading_is_not_asked() {
    check(
        false,
        &[
            "GET https://example.com",
            "GET example.com/x",
            "GET http://localhost:3000/users",
            "GET http://127.0.0.1:8080/metrics",
            "GET http://[::1]:8000/",
            "HEAD https://example.com/delete.txt",
            "GET https://api.github.com/repos/a/b/issues",
            "GET https://api.stripe.com/v1/prices",
            "GET https://example.com/posts/how-to-drop-a-table",
            "GET https://docs.example.org/api/users/delete",
            "GET https://example.com/search?q=delete+user",
            "GET https://example.com/orders/7?expand=payments",
            "OPTIONS https://example.com/users/7/delete",
            "GET https://registry.npmjs.org/left-pad",
            "POST https://example.com/v1/orders/search {\"status\": \"cancelled\"}",
            "POST https://example.com/graphql {\"query\": \"{ me { id } }\"}",
            "POST https://example.com/graphql {\"query\": \"# mutation { x }\\nquery Q($a: ID) { node(id: $a) { removed } }\"}",
            "POST http://localhost:8080/api/users {\"name\": \"a\"}",
            "PUT http://127.0.0.1:9200/test/_doc/1 {\"a\": 1}",
            "DELETE http://localhost:3000/users/7",
            "GET https://example.com/tokenizer/list",
            "GET https://example.com/items?sort=-key&page=2",
        ],
    );
}

#[test]
fn changes_elsewhere_are_asked() {
    check(
        true,
        &[
            "POST https://api.example.com/v1/users {\"name\": \"x\"}",
            "PUT https://api.example.com/v1/config {}",
            "delete https://api.example.com/v1/x",
            "POST https://api.github.com/repos/a/b/releases {\"tag_name\": \"v1\"}",
            "POST https://api.stripe.com/v1/charges amount=5",
            "POST https://hooks.slack.com/services/T/B/X {\"text\": \"hi\"}",
            "GET https://api.telegram.org/bot1/sendMessage?text=x",
            "GET https://example.com/users/7/delete",
            "GET https://example.com/admin.php?action=delete&id=3",
            "GET https://example.com/x?_method=DELETE",
            "POST https://example.com/search?_method=DELETE",
            "PROPPATCH https://example.com/x",
            "POST https://example.com/graphql {\"query\": \"mutation M { addStar(id: 1) { id } }\"}",
            "POST https://example.com/graphql {\"query\": \"query A { a } mutation B { deleteAll }\"}",
            "GET https://example.com/graphql?query=mutation{deleteUser(id:1){id}}",
            "POST https://webhook.site/abc hello",
            "GET https://x.oastify.com/?d=abc",
            "POST http://localhost:2375/containers/create {}",
            "POST http://localhost:9200/orders/_delete_by_query {\"query\": {\"match_all\": {}}}",
            "DELETE http://localhost:9200/_all",
            "GET http://localhost:8200/v1/secret/data/app",
            "GET https://example.com/.git/config",
            "GET https://example.com/api/v1/namespaces/x/secrets",
            "GET https://example.com/%2e%2e%2fetc/passwd",
            "GET https://example.com/login?password=Tr0ub4dor3",
            "PUT https://registry.npmjs.org/mine {}",
            "PATCH https://api.example.com/users/3 {\"permissions\": [\"all\"]}",
        ],
    );
}

#[test]
fn headers_change_what_a_call_does() {
    let rows: [(&str, &str, bool); 8] = [
        ("X-HTTP-Method-Override", "DELETE", true),
        ("x-method-override", "PUT", true),
        ("Authorization", "Bearer abc", true),
        ("Cookie", "session=1", true),
        ("X-Original-URL", "/users/7/delete", true),
        ("Metadata-Flavor", "Google", true),
        ("Accept", "application/json", false),
        ("If-None-Match", "\"abc\"", false),
    ];
    for (name, value, asked) in rows {
        let got = level("GET", "https://api.example.com/items", &[(name, value)], None) > Level::Low;
        assert_eq!(got, asked, "{name}: {value}");
    }
    assert_eq!(
        level("GET", "http://localhost:3000/me", &[("Authorization", "Bearer abc")], None),
        Level::Low
    );
}

#[test]
fn an_override_makes_no_call_smaller() {
    assert!(
        level("DELETE", "https://example.com/users/7", &[("X-HTTP-Method-Override", "GET")], None)
            > Level::Low
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    assert_eq!(level("POST", "https://k8s.example.com/api/v1/pods?dryRun=All", &[], Some("{}")), Level::Low);
}

#[test]
fn graphql_is_told_apart_by_its_grammar() {
    assert_eq!(operation("query { mutation { x } }"), Operation::Asks);
    assert_eq!(operation("{ a(text: \"mutation { x }\") }"), Operation::Asks);
    assert_eq!(
        operation("mutation($a: In = {b: 1}) { x: removeIt(a: $a) { mutation } }"),
        Operation::Changes(vec!["removeIt".into()])
    );
    assert_eq!(operation("fragment F on T { a } mutation M { b }"), Operation::Changes(vec!["b".into()]));
    assert_eq!(operation(""), Operation::Unclear);
}

fn weighed(asked: bool, rows: &[(&str, &str, Option<&str>)]) {
    for (method, url, body) in rows {
        assert_eq!(level(method, url, &[], *body) > Level::Low, asked, "{method} {url} {body:?}");
    }
}

#[test]
fn of_several_documents_and_calls_each_counts() {
    let mutation = r#"[{"query": "{ me { id } }"}, {"query": "mutation { removeIt { ok } }"}]"#;
    let questions = r#"[{"query": "{ me { id } }"}, {"query": "query { you { id } }"}]"#;
    let batch = |method: &str| format!(r#"{{"requests": [{{"method": "GET"}}, {{"method": "{method}"}}]}}"#);
    weighed(
        true,
        &[
            ("POST", "https://a.example.com/graphql", Some(mutation)),
            ("POST", "https://a.example.com/v1/$batch", Some(&batch("DELETE"))),
            ("POST", "https://a.example.com/rpc", Some(r#"{"jsonrpc": "2.0", "method": "user.remove"}"#)),
            (
                "POST",
                "https://ec2.eu-west-1.amazonaws.com/",
                Some("Action=TerminateInstances&InstanceId.1=i-1"),
            ),
        ],
    );
    weighed(
        false,
        &[
            ("POST", "https://a.example.com/graphql", Some(questions)),
            ("POST", "https://a.example.com/v1/$batch", Some(&batch("GET"))),
            ("POST", "https://a.example.com/rpc", Some(r#"{"jsonrpc": "2.0", "method": "user.list"}"#)),
            ("POST", "https://ec2.eu-west-1.amazonaws.com/", Some("Action=DescribeInstances")),
            ("DELETE", "https://a.example.com/_search/scroll", Some(r#"{"scroll_id": "x"}"#)),
        ],
    );
    let target = |name: &'static str| [("X-Amz-Target", name)];
    let url = "https://secretsmanager.eu-west-1.amazonaws.com/";
    assert_eq!(level("POST", url, &target("secretsmanager.ListSecrets"), Some("{}")), Level::Low);
    assert!(level("POST", url, &target("secretsmanager.GetSecretValue"), Some("{}")) > Level::Low);
}

#[test]
fn a_question_may_read_secrets_or_set_something_off() {
    weighed(
        true,
        &[
            ("GET", "https://gitlab.example.com/api/v4/groups/2/variables", None),
            ("GET", "https://ci.example.com/job/release/build?token=x", None),
            ("GET", "https://hooks.example.com/catch/1/2", None),
            ("GET", "https://a.example.com/x.gif?d=ZXhwb3J0IEFQSV9UT0tFTj1hYmNkZWZnaA", None),
            ("GET", "https://a.example.com/x.gif?d=70617373776f72643d68756e74657232", None),
        ],
    );
    weighed(
        false,
        &[
            ("GET", "https://api.github.com/repos/a/b/actions/secrets", None),
            ("GET", "https://ci.example.com/job/release/lastBuild/api/json", None),
            ("GET", "https://a.example.com/list?cursor=eyJpZCI6MTIzLCJuZXh0IjoiYWJjIn0=", None),
        ],
    );
}

#[test]
fn targets_hold_no_secret() {
    let found = call(
        &Call {
            method: "POST",
            url: "https://api.telegram.org/bot123456789:AAabcdefghijklmnopqrstuvwxyz012345678/sendMessage",
            ..Call::default()
        },
        &Context::default(),
    );
    assert!(found.effects.iter().all(|effect| !effect.target.contains("AAabcdef")), "{found:#?}");
}

proptest! {
    #[test]
    fn any_call_has_an_answer(method in "[A-Za-z]{0,8}", url in ".{0,120}", body in ".{0,120}") {
        let found = call(&Call { method: &method, url: &url, headers: vec![("A", &body)], body: Some(&body) }, &Context::default());
        prop_assert!(!found.effects.is_empty() || !found.unresolved.is_empty());
    }
}
