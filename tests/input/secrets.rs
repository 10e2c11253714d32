//! A secret in every field of every request: it is in no status, no log line and no
//! metric; and where a field is words, in no event of anything, no entry of the audit
//! and no answer about approvals either.

use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use quarterdeck_client::Code;

use crate::contract::Method;
use crate::dice::Dice;
use crate::make::{Maker, Mood};
use crate::raw::{self, Answer, Ask, NoAnswer, framed};
use crate::rules::Rules;
use crate::scene::Scene;
use crate::server::{Kind, Server};
use crate::settings::Settings;
use crate::wire::{Field, Value, encode};

/// In the form of a token that real ones have; it opens nothing.
const SECRET: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
/// Deepest field that it is planted in.
const DEEP: usize = 5;
/// Messages with it in the same field.
const TRIES: usize = 4;
/// Methods whose answers are for those who may see: the action as it is, and the text
/// of the policy.
const REVEALING: [&str; 4] = ["RevealAction", "GetPolicy", "UpdatePolicy", "RedeemGrant"];

#[tokio::test]
async fn a_secret_in_any_field_is_seen_nowhere() {
    let settings = Settings::read();
    let server =
        Server::start_telling(Kind::Postgres, "debug,h2=info,hyper=info,hyper_util=info,tower=info").await;
    let mut problems = Vec::new();
    // First words: what is told of names could not be told from them.
    for words in [true, false] {
        for method in Method::all().iter().filter(|method| method.access.is_some()) {
            if settings.wants(&method.path) {
                problems.extend(sweep(&server, method, words).await);
            }
        }
        if words {
            let mut told = server.rows("select body from audit").await;
            // The text of a policy is for those who may see it.
            told.extend(server.rows("select body from event where kind <> 5").await);
            assert!(told.len() > 100, "only {} entries and events", told.len());
            problems.extend(told.into_iter().filter(|row| row.contains(SECRET)));
        }
    }
    let told = server.quarterdeck.whole_log().unwrap() + &server.quarterdeck.metrics().await.unwrap();
    assert!(told.lines().count() > 1_000, "a log that tells much: {} lines", told.lines().count());
    problems.extend(told.lines().filter(|line| line.contains(SECRET)).map(str::to_owned));
    problems.truncate(40);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Plants it in each field of a method's request, those of words or the others.
async fn sweep(server: &Server, method: &Method, words: bool) -> Vec<String> {
    let scene = Scene::new(server).await;
    let line = server.line().await;
    let mut problems = Vec::new();
    for path in paths(&method.input, words, &mut Vec::new()) {
        let name = path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
        for index in 0..TRIES {
            let mut dice = Dice::of(7, &format!("{}{name}", method.path), index);
            let (dice, words, only) = (&mut dice, &scene.words, Some(path.clone()));
            let mood = Mood::Right;
            let mut maker = Maker { dice, words, mood, spoil: None, made: 0, room: 1_000, only };
            let mut message = maker.message(&method.input, 0);
            plant(&mut message, &path, text(index).as_bytes());
            let mut ask =
                Ask::new(&method.path, vec![framed(&encode(&message))]).bearer(scene.own.credential(method));
            if method.says_many {
                (ask.listen, ask.messages) = (std::time::Duration::from_millis(100), 1);
            } else {
                ask = ask.header("grpc-timeout", "2S");
            }
            let answer = raw::exchange(&line, ask).await;
            if shows(method, &answer) {
                problems.push(format!("{} {name}: {answer:?}", method.path));
                break;
            }
        }
    }
    problems
}

/// The secret alone, and where people leave them.
fn text(index: usize) -> String {
    match index % 4 {
        0 => SECRET.to_owned(),
        1 => format!("curl -H 'Authorization: Bearer {SECRET}' -X DELETE https://api.example.com/users"),
        2 => format!("{{\"token\": \"{SECRET}\"}}"),
        _ => format!("https://user:{SECRET}@git.example.com/team/project"),
    }
}

/// Whether an answer has it that must not.
fn shows(method: &Method, answer: &Result<Answer, NoAnswer>) -> bool {
    let Ok(answer) = answer else { return false };
    let has = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    let status = answer.status.as_ref().filter(|status| status.code() != Code::Ok);
    let told = status.is_some_and(|status| has(status.message().as_bytes()) || has(status.details()));
    let approvals =
        method.service().starts_with("quarterdeck.approvals.") && !REVEALING.contains(&method.name());
    told || (approvals && answer.messages.iter().any(|message| has(message)))
}

/// Puts it into the field at the end of a path, wherever the message has what is above.
fn plant(fields: &mut [Field], path: &[FieldDescriptor], secret: &[u8]) {
    let Some((first, rest)) = path.split_first() else { return };
    for field in fields.iter_mut().filter(|field| field.number == first.number()) {
        match &mut field.value {
            Value::Message(inner) if !rest.is_empty() => plant(inner, rest, secret),
            value if rest.is_empty() => *value = Value::Bytes(secret.to_vec()),
            _ => {}
        }
    }
}

/// Text fields: those of words, or those with a pattern or the id of something.
fn paths(of: &MessageDescriptor, words: bool, above: &mut Vec<FieldDescriptor>) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in of.fields().filter(|field| !field.is_map()) {
        above.push(field.clone());
        match field.kind() {
            FieldKind::String | FieldKind::Bytes if is_words(&field) == words => found.push(above.clone()),
            FieldKind::Message(inner) if above.len() < DEEP && !inner.full_name().starts_with("google.") => {
                found.extend(paths(&inner, words, above));
            }
            _ => {}
        }
        above.pop();
    }
    found
}

fn is_words(field: &FieldDescriptor) -> bool {
    let rules = Rules::of(field);
    let rules = if field.is_list() { rules.items.clone().unwrap_or_default() } else { rules };
    let name = field.name();
    let names = ["id", "token", "key", "name", "agent"].iter().any(|end| name.ends_with(end));
    rules.pattern.is_none() && !names && matches!(field.kind(), FieldKind::String)
}
