//! Clients' requests: what was acknowledged is there, one request id means one
//! thing, and a look shows nothing older than what was known before it.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_core::task::{Event, State};

use super::{Evidence, since_beginning};
use crate::history::{Answer, Call, Fact};

/// A call with when it began and what came of it.
struct Done<'h> {
    began: usize,
    ended: usize,
    call: &'h Call,
    answer: &'h Answer,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut invoked: BTreeMap<u64, (usize, &Call)> = BTreeMap::new();
    let mut done = Vec::new();
    for (place, entry) in evidence.entries.iter().enumerate() {
        match &entry.fact {
            Fact::Invoked { op, call, .. } => drop(invoked.insert(*op, (place, call))),
            Fact::Answered { op, answer } => {
                if let Some(&(began, call)) = invoked.get(op) {
                    done.push(Done { began, ended: place, call, answer });
                }
            }
            _ => {}
        }
    }
    let calls: Vec<&Call> = invoked.values().map(|(_, call)| *call).collect();
    not_done(evidence, &done, &mut found);
    for one in &done {
        if let Answer::Defect(why) = one.answer {
            found.push(format!("{:?} was answered with a defect: {why}", one.call));
        }
    }
    lost(evidence, &done, &mut found);
    once(evidence, &calls, &mut found);
    one_answer(&done, &mut found);
    cancelled(evidence, &done, &mut found);
    never_older(&done, &mut found);
    found
}

/// What was acknowledged is there, and is what was asked for.
fn lost(evidence: &Evidence, done: &[Done<'_>], found: &mut Vec<String>) {
    for Done { call, answer, .. } in done {
        let Answer::Task { task, revision, .. } = answer else { continue };
        let Some(log) = evidence.tasks.get(task) else {
            found.push(format!("{task} was acknowledged and is lost: {call:?}"));
            continue;
        };
        if *revision > log.head {
            found.push(format!("{task} was shown at revision {revision}, its log ends at {}", log.head));
        }
        let Some(created) = log.created() else { continue };
        let fits = match call {
            Call::Create { request, body } => {
                created.display_name == *request
                    && created.retry_of.is_none()
                    && created.labels.get("body") == Some(&body.to_string())
            }
            Call::Retry { task: of, .. } => created.retry_of.is_some_and(|id| id.to_string() == *of),
            Call::Cancel { task: of, .. } | Call::Get { task: of } => of == task,
            _ => false,
        };
        if !fits {
            found.push(format!("{call:?} was answered with {task}, which is another"));
        }
    }
}

/// What was answered as not done is not done: nothing happens to a task while
/// everybody who asked for it has been told that it did not.
fn not_done(evidence: &Evidence, done: &[Done<'_>], found: &mut Vec<String>) {
    let mut asked: BTreeMap<(bool, &str), Vec<&Done<'_>>> = BTreeMap::new();
    for one in done {
        match one.call {
            Call::Create { request, .. } => asked.entry((true, request)).or_default().push(one),
            Call::Cancel { task, .. } => asked.entry((false, task)).or_default().push(one),
            _ => {}
        }
    }
    for (id, log) in &evidence.tasks {
        let Some(created) = log.created() else { continue };
        let cancelled = log
            .events
            .iter()
            .find(|event| matches!(&event.event, Event::Ended { state, .. } if *state == State::Canceled));
        let by_request = (true, created.display_name.as_str());
        let began =
            log.events.first().filter(|_| created.retry_of.is_none()).map(|event| (by_request, event));
        for (key, event) in began.into_iter().chain(cancelled.map(|event| ((false, id.as_str()), event))) {
            let at = since_beginning(event.at);
            let before =
                |one: &&&Done<'_>| evidence.entries.get(one.began).is_some_and(|entry| entry.at <= at);
            let callers: Vec<_> = asked.get(&key).into_iter().flatten().filter(before).collect();
            let denied = |one: &&&Done<'_>| matches!(one.answer, Answer::NotDone(_));
            if !callers.is_empty() && callers.iter().all(denied) {
                found.push(format!(
                    "{:?} was answered as not done, and is event {} of {id}",
                    callers[0].call, event.sequence
                ));
            }
        }
    }
}

/// One request makes one task, and no task comes from nowhere.
fn once(evidence: &Evidence, calls: &[&Call], found: &mut Vec<String>) {
    let mut made: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut retried: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    let mut asked_again: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in calls {
        match call {
            Call::Create { request, .. } => drop(asked.insert(request)),
            Call::Retry { request, task } => drop(asked_again.entry(task).or_default().insert(request)),
            _ => {}
        }
    }
    for (id, log) in &evidence.tasks {
        let Some(created) = log.created() else { continue };
        match created.retry_of {
            None => made.entry(&created.display_name).or_default().push(id),
            Some(of) => *retried.entry(of.to_string()).or_default() += 1,
        }
    }
    for (request, tasks) in &made {
        if tasks.len() > 1 {
            found.push(format!("request {request} made {} tasks: {tasks:?}", tasks.len()));
        }
        if !asked.contains(request) {
            found.push(format!("nobody asked for {request}: {tasks:?}"));
        }
    }
    for (of, count) in retried {
        let requests = asked_again.get(of.as_str()).map_or(0, BTreeSet::len);
        if count > requests {
            found.push(format!("{of} was retried {count} times by {requests} requests"));
        }
    }
}

/// The same request has one answer; another under its id has none.
fn one_answer(done: &[Done<'_>], found: &mut Vec<String>) {
    let mut granted: BTreeMap<&str, (&Call, &str)> = BTreeMap::new();
    for Done { call, answer, .. } in done {
        let (Call::Create { request, .. } | Call::Retry { request, .. }) = call else { continue };
        match answer {
            Answer::Task { task, .. } => match granted.get(request.as_str()) {
                None => drop(granted.insert(request, (call, task))),
                Some((first, known)) if first != call || *known != task => {
                    found.push(format!("{first:?} was answered {known}, then {call:?} {task}"));
                }
                Some(_) => {}
            },
            Answer::Reused if granted.get(request.as_str()).is_none_or(|(first, _)| first == call) => {
                found.push(format!("{call:?} was called a reuse of its id, which it is not"));
            }
            _ => {}
        }
    }
}

/// An acknowledged cancel ends the task, and nothing starts after it.
fn cancelled(evidence: &Evidence, done: &[Done<'_>], found: &mut Vec<String>) {
    let mut acked: BTreeMap<&str, usize> = BTreeMap::new();
    for Done { call, answer, ended, .. } in done {
        if let (Call::Cancel { task, .. }, Answer::Task { state, .. }) = (call, answer) {
            let log = evidence.tasks.get(task);
            if state != "Canceled" || log.is_none_or(|log| log.state != State::Canceled) {
                found.push(format!("cancel of {task} was acknowledged as {state}, which it is not"));
            }
            acked.entry(task).or_insert(*ended);
        }
    }
    for log in &evidence.tasks {
        let end = log.1.events.iter().position(|event| matches!(event.event, Event::Ended { .. }));
        let starts =
            |event: &quarterdeck_core::stream::Recorded<Event>| matches!(event.event, Event::Assigned { .. });
        let late = end.is_some_and(|end| log.1.events.iter().skip(end).any(starts));
        if late && acked.contains_key(log.0.as_str()) {
            found.push(format!("a step of {} started after its acknowledged cancel", log.0));
        }
    }
}

/// No answer shows less than one that was there before it was asked.
fn never_older(done: &[Done<'_>], found: &mut Vec<String>) {
    let mut ends: Vec<&Done<'_>> = done.iter().collect();
    ends.sort_by_key(|one| one.ended);
    let mut begins: Vec<&Done<'_>> = done.iter().collect();
    begins.sort_by_key(|one| one.began);
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ends = ends.into_iter().peekable();
    for one in begins {
        while let Some(earlier) = ends.next_if(|earlier| earlier.ended < one.began) {
            if let Answer::Task { task, revision, .. } = earlier.answer {
                let entry = known.entry(task).or_default();
                *entry = (*entry).max(*revision);
            }
        }
        if let (Call::Get { .. }, Answer::Task { task, revision, .. }) = (one.call, one.answer)
            && known.get(task.as_str()).is_some_and(|known| known > revision)
        {
            found.push(format!("{task} was shown at {revision}, after {:?}", known.get(task.as_str())));
        }
    }
}
