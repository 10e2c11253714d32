//! What is around a message, broken in every way, for every method.

use std::time::Duration;

use bytes::Bytes;
use quarterdeck_client::{Code, Error};

use crate::contract::Method;
use crate::dice::Dice;
use crate::judge::judge;
use crate::neighbour::Neighbour;
use crate::raw::{self, Answer, Ask, Line, NoAnswer, framed, framed_as};
use crate::scene::Scene;
use crate::server::{Kind, Server};
use crate::settings::Settings;
use crate::shot::{Shot, Sort};

/// How long a stream is listened to, and one that ends with our side.
const LISTEN: Duration = Duration::from_millis(300);
const LISTEN_TO_THE_END: Duration = Duration::from_secs(6);
/// The server's limit for a message.
const LARGEST: usize = 4 * 1024 * 1024;

/// What must come of it where a call has one message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    /// This status.
    Code(Code),
    /// This status in plain HTTP.
    Http(u16),
    /// Whatever a call may be answered.
    Legal,
    /// Nothing: we did not wait for it.
    Nothing,
}

struct Case {
    what: &'static str,
    ask: Ask,
    expect: Expect,
}

#[tokio::test]
async fn broken_framing_is_refused_by_every_method() {
    let settings = Settings::read();
    let server = Server::start(Kind::Sqlite).await;
    let neighbour = Neighbour::new(&server).await;
    let scene = Scene::new(&server).await;
    for method in Method::all().iter().filter(|method| settings.wants(&method.path)) {
        let line = server.line().await;
        let mut written = true;
        // What an earlier method began may end late; it does not come again.
        for _ in 0..3 {
            let before = server.settled().await;
            for case in cases(method, &scene) {
                check(method, &line, case, server.quarterdeck.credential()).await;
            }
            written = server.settled().await != before;
            if !written {
                break;
            }
        }
        assert!(!written, "{}: something was written by a call that was not framed as one", method.path);
        let two = vec![framed(&right(method, &scene)), framed(&right(method, &scene))];
        let two = Case { what: "two messages", ask: Ask::new(&method.path, two), expect: Expect::Legal };
        check(method, &line, two, server.quarterdeck.credential()).await;
    }
    server.is_sound();
    neighbour.noticed_nothing().await;
}

/// A message as the rules want it. It names nothing that is there, so that nothing
/// is changed should it be taken.
fn right(method: &Method, scene: &Scene) -> Vec<u8> {
    let mut dice = Dice::of(1, &method.path, 1);
    Shot::of_sort(Sort::Right, method, 0, scene, &mut dice).messages.remove(0)
}

fn cases(method: &Method, scene: &Scene) -> Vec<Case> {
    use Expect::{Code as Is, Http, Legal, Nothing};
    let good = right(method, scene);
    let length = good.len() as u32;
    let ask = |body: Vec<Bytes>| Ask::new(&method.path, body);
    let one = |flag, length| ask(vec![framed_as(flag, length, &good)]);
    let (invalid, too_large) = (Is(Code::InvalidArgument), Is(Code::ResourceExhausted));
    let mut cases = vec![
        ("no message", ask(Vec::new()), invalid),
        ("a prefix cut short", ask(vec![Bytes::from_static(&[0, 0, 0])]), invalid),
        ("a message cut short", one(0, length + 1), invalid),
        ("a message that is never sent", ask(vec![framed_as(0, 1_000, b"")]), invalid),
        ("compressed in no way", one(1, length), invalid),
        ("compressed as nobody said", one(1, length).header("grpc-encoding", "identity"), invalid),
        ("compressed with gzip", one(1, length).header("grpc-encoding", "gzip"), Is(Code::Unimplemented)),
        (
            "compressed with nonsense",
            one(1, length).header("grpc-encoding", "nonsense"),
            Is(Code::Unimplemented),
        ),
        ("a flag of 2", one(2, length), invalid),
        ("a flag of 255", one(255, length), invalid),
        ("the largest length", one(0, u32::MAX), too_large),
        ("a length above the limit", one(0, LARGEST as u32 + 1), too_large),
        ("a message above the limit", ask(vec![framed(&vec![0; LARGEST + 1])]), too_large),
        ("broken off within a message", Ask { broken_off: true, ..one(0, length + 9) }, Nothing),
        ("broken off at once", Ask { broken_off: true, ..ask(Vec::new()) }, Nothing),
    ];
    if !method.says_many {
        let timeout = |text: &str| one(0, length + 1).header("grpc-timeout", text);
        for nonsense in ["soon", "-1S", "123456789S", "1", "S", "1.5S", "\u{e4}S"] {
            cases.push(("a deadline that is none", timeout(nonsense), invalid));
        }
        cases.push(("a deadline that has passed", timeout("0n"), Legal));
        cases.push(("a deadline for ever", timeout("99999999H"), invalid));
    }
    let plain = Ask { content_type: "application/json", ..one(0, length) };
    cases.push(("JSON", plain, Http(415)));
    let reflection = method.path.starts_with("/grpc.reflection");
    let session = method.path.ends_with("/Session");
    let case = |(what, ask, expect): (&'static str, Ask, Expect)| match (expect, what) {
        // It ends its answer when it cannot read on.
        (Is(code), _) if reflection && code != Code::Unimplemented => Case { what, ask, expect: Legal },
        // A stream that ends within a prefix, or before its message, had none.
        (Is(_), "no message" | "a message that is never sent") if session => {
            Case { what, ask, expect: Is(Code::FailedPrecondition) }
        }
        _ => Case { what, ask, expect },
    };
    cases.into_iter().map(case).collect()
}

async fn check(method: &Method, line: &Line, case: Case, credential: &str) {
    let (what, path) = (case.what, &method.path);
    let mut ask = case.ask.bearer(credential);
    if method.says_many {
        (ask.listen, ask.messages) = (if method.hears_many { LISTEN_TO_THE_END } else { LISTEN }, 1);
    }
    let answer = raw::exchange(line, ask).await;
    let code = |answer: &Result<Answer, NoAnswer>| {
        let status = answer.as_ref().ok().and_then(|answer| answer.status.clone());
        status.map(|status| (status.code(), Error::from(status).reason_name().to_owned()))
    };
    match case.expect {
        Expect::Nothing => {}
        Expect::Http(status) => match answer {
            Err(NoAnswer::Http(answered)) if answered.as_u16() == status => {}
            other => panic!("{path}: {what}: must be HTTP {status}, is {other:?}"),
        },
        Expect::Legal => drop(judge(method, &answer).unwrap_or_else(|why| panic!("{path}: {what}: {why}"))),
        Expect::Code(expected) => match code(&answer) {
            Some((code, reason)) if code == expected && !reason.is_empty() => {}
            _ => panic!("{path}: {what}: must be {expected:?} with a reason, is {answer:?}"),
        },
    }
}
