use std::time::{Duration, SystemTime};

use quarterdeck_client::api::approvals::v1 as pb;

use super::*;
use crate::output::Row as _;

/// When the tests happen.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A pending approval of a level, and what is shown of it.
pub fn pending(id: &str, level: pb::RiskLevel, lines: usize) -> (pb::Approval, pb::Preview) {
    let argv = ["rm", "-rf", id].map(str::to_owned).to_vec();
    let command = pb::CommandAction { argv, ..Default::default() };
    let approval = pb::Approval {
        id: format!("apr_{id}"),
        project: "default".into(),
        state: pb::ApprovalState::Pending.into(),
        action: Some(pb::Action { kind: Some(pb::action::Kind::Command(command)) }),
        digest: vec![7; 32].into(),
        assessment: Some(pb::Assessment {
            level: level.into(),
            verdict: pb::Verdict::Ask.into(),
            ..Default::default()
        }),
        terms: Some(pb::Terms {
            approvals: 2,
            denials: 1,
            roles: vec!["approver".into()],
            pending: Some(Duration::from_secs(14_400).try_into().unwrap()),
            ..Default::default()
        }),
        agent: "builder\u{1b}[2J".into(),
        requester: "key:builder".into(),
        comment: "harmless\u{202e}".into(),
        create_time: Some((now() - Duration::from_secs(60)).into()),
        expire_time: Some((now() + Duration::from_secs(3_600)).into()),
        decisions: vec![pb::Decision {
            vote: pb::Vote::Approve.into(),
            subject: "key:ann".into(),
            person: "ann".into(),
            role: "approver".into(),
            comment: "fine\r".into(),
            time: Some((now() - Duration::from_secs(30)).into()),
            ..Default::default()
        }],
        revision: 1,
        ..Default::default()
    };
    let span = |text: String, mark: pb::PreviewMark| pb::PreviewSpan { text, mark: mark.into() };
    let line = |number: usize| pb::PreviewLine {
        spans: vec![
            span(format!("line {number} of {id} "), pb::PreviewMark::Plain),
            span("risky".into(), pb::PreviewMark::Risky),
        ],
    };
    let lines = (0..lines).map(line).collect();
    let sections = vec![pb::PreviewSection { heading: "Program".into(), lines }];
    (approval, pb::Preview { title: format!("Run {id}"), sections, ..Default::default() })
}

#[test]
fn a_sheet_says_all_that_a_decision_needs() {
    let (approval, preview) = pending("one", pb::RiskLevel::High, 1);
    let text = plain(&sheet(&approval, Some(&preview), now()));
    for part in [
        "apr_one  pending, risk high, time left 1h",
        "Run one",
        "requester    key:builder",
        "digest       0707",
        "Program\n  line 0 of one «risky»",
        "2 yes of approver; 1 no to end it, waits 4h",
        "yes by ann (key:ann) as approver 30s ago: fine<U+000D>",
        "builder<U+001B>[2J",
        "harmless<U+202E>",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn colours_are_the_only_codes() {
    let (approval, preview) = pending("one", pb::RiskLevel::High, 1);
    let text = painted(&sheet(&approval, Some(&preview), now()));
    assert!(text.contains("\u{1b}[1;31mrisky\u{1b}[0m"), "{text:?}");
    for code in text.split('\u{1b}').skip(1) {
        let code = code.split('m').next().unwrap_or_default();
        assert!(code.starts_with('[') && code.len() <= 6, "{code:?}");
    }
    assert!(!text.contains("\u{1b}[2J") && !text.contains('\r'));
}

#[test]
fn rows_are_short_and_plain() {
    let (approval, _) = pending("one", pb::RiskLevel::Medium, 1);
    let cells = approval.cells(now());
    assert_eq!(
        cells,
        ["apr_one", "medium", "pending", "rm -rf one", "builder<U+001B>[2J", "1/2", "1h", "1m"]
    );
    let mut over = approval.clone();
    over.expire_time = Some((now() - Duration::from_secs(1)).into());
    assert_eq!(left(&over, now()), "over");
    over.state = pb::ApprovalState::Denied.into();
    assert_eq!(left(&over, now()), "");
}

#[test]
fn every_kind_of_action_has_a_summary() {
    use pb::action::Kind;
    let kinds = [
        (
            Kind::Command(pb::CommandAction {
                script: format!("ls\n{}", "x".repeat(80)),
                ..Default::default()
            }),
            "ls<U+000A>xxxxx",
        ),
        (Kind::File(pb::FileAction { path: "a".into(), operation: 2, ..Default::default() }), "write a"),
        (Kind::Code(pb::CodeAction { language: "go".into(), source: "x".into() }), "go: x"),
        (Kind::Sql(pb::SqlAction { text: "select 1".into(), ..Default::default() }), "select 1"),
        (Kind::Http(pb::HttpAction { method: "GET".into(), url: "u".into(), ..Default::default() }), "GET u"),
        (Kind::Git(pb::GitAction { arguments: vec!["push".into()], ..Default::default() }), "git push"),
        (Kind::Workflow(pb::WorkflowAction { name: "w".into(), ..Default::default() }), "workflow w"),
        (Kind::Tool(pb::ToolAction { name: "t".into(), ..Default::default() }), "tool t"),
    ];
    for (kind, expected) in kinds {
        let text = summary(Some(&pb::Action { kind: Some(kind) }));
        assert!(text.starts_with(expected) && text.len() < 80, "{text}");
    }
    assert_eq!(summary(None), "");
}
