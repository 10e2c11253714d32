//! Firing many calls at one method and looking at what came of them.
//!
//! Calls of one sort go in small groups. Where all of a group were refused, or the
//! method only reads, nothing may have been written meanwhile. Where something was,
//! the group is fired again one by one, to tell which call it was: a write of the
//! server's own, late after an earlier call, does not come again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::contract::Method;
use crate::judge::{Outcome, judge};
use crate::ledger::Mark;
use crate::raw::{self, Ask, Line};
use crate::scene::{MARKER, Scene};
use crate::server::{Kind, Server};
use crate::settings::Settings;
use crate::shot::{SORTS, Shot, Sort};

/// What the server is given for a call that is not a stream: enough for a machine
/// that has much else to do.
const DEADLINE: &str = "5S";
/// As soon as one was late, or took long, the method is taken for one that waits
/// for something.
const DEADLINE_OF_WAITING: &str = "300m";
/// What takes long.
const LONG: Duration = Duration::from_secs(2);
/// How long a stream is listened to that may stay open for ever.
const LISTEN: Duration = Duration::from_millis(300);
/// How long one is that ends when the client ends its side.
const LISTEN_TO_THE_END: Duration = Duration::from_secs(2);
/// Most messages of a worker's session that are read.
const HEARD: usize = 200;
/// Groups of calls, at most so many hundredths, in which something was written by
/// nobody of them.
const UNEXPLAINED_PERCENT: usize = 3;
/// Times that a call is made alone before it is said to have written.
const ALONE: usize = 3;
/// Methods that have the server go on with what they began: a task's actions are asked
/// for, a webhook is taken past what was before it.
const GOING_ON: [&str; 2] = ["CreateTask", "CreateWebhook"];
/// Problems told before a method is given up.
const PROBLEMS: usize = 4;

/// One method under fire.
pub struct Volley<'a> {
    pub server: &'a Server,
    pub scene: &'a Scene,
    pub method: &'a Method,
    pub settings: &'a Settings,
    pub kind: Kind,
    pub test: &'a str,
    line: Line,
    credential: String,
    /// After the last group.
    mark: Option<Mark>,
    seen: Seen,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    tally: BTreeMap<(Sort, String), usize>,
    calls: usize,
    accepted: usize,
    invalid: usize,
    refused: usize,
    exhausted: usize,
    /// Refused as a whole.
    nothing: usize,
    /// Refused as a whole, and looked at whether that wrote something.
    looked_at: usize,
    late: usize,
    /// One took long.
    waits: bool,
    groups: usize,
    unexplained: usize,
    problems: Vec<String>,
}

impl<'a> Volley<'a> {
    pub async fn new(
        (server, kind): (&'a Server, Kind),
        scene: &'a Scene,
        method: &'a Method,
        settings: &'a Settings,
        test: &'a str,
    ) -> Self {
        let everything = method.access.is_some_and(|access| access.all_projects);
        let credential = match everything {
            true => server.quarterdeck.credential().to_owned(),
            false => scene.own.credential(method).to_owned(),
        };
        let (line, seen) = (server.line().await, Seen::default());
        Self { server, scene, method, settings, kind, test, line, credential, mark: None, seen }
    }

    /// Makes calls until they had so many messages, or the one that is wanted.
    /// Answers what must not be.
    pub async fn fire(mut self, messages: usize) -> Vec<String> {
        let (seed, path) = (self.settings.seed, &self.method.path);
        if let Some(index) = self.settings.one() {
            let shot = Shot::new(seed, self.method, index, self.scene);
            println!("{path}#{index}: {}", shot.told(self.method));
            self.group(vec![shot]).await;
            println!("{}", self.told());
            return self.seen.problems;
        }
        let shots = self.shots(messages);
        for sort in SORTS {
            let mut left: Vec<Shot> = shots.iter().filter(|shot| shot.sort == sort).cloned().collect();
            // Those of which it is known that they must not write: together.
            left.sort_by_key(|shot| !shot.is_whole());
            while !left.is_empty() && self.seen.problems.len() < PROBLEMS {
                let rest = left.split_off(self.group_size(sort).min(left.len()));
                self.group(std::mem::replace(&mut left, rest)).await;
            }
        }
        if self.seen.problems.is_empty() {
            self.is_no_formality();
        }
        println!("{}", self.told());
        self.seen.problems
    }

    /// Makes some calls whatever comes of them.
    pub async fn warm_up(self, messages: usize) {
        if self.settings.one().is_none() {
            let shots = self.shots(messages);
            join_all(shots.iter().map(|shot| self.call(shot))).await;
        }
    }

    fn shots(&self, messages: usize) -> Vec<Shot> {
        let mut count = 0;
        let all = (0..).map(|index| Shot::new(self.settings.seed, self.method, index, self.scene));
        let enough = all.take_while(|shot| {
            let more = count < messages;
            count += shot.messages.len();
            more
        });
        enough.collect()
    }

    /// Calls at a time. The fewer there are, the fewer are refused together with
    /// one that is accepted and are then not looked at.
    fn group_size(&self, sort: Sort) -> usize {
        match (self.method.only_reads(), self.kind, sort) {
            // The server takes only so many calls without a credential at a time.
            _ if self.method.access.is_none() => 12,
            (true, _, _) if self.method.says_many => 96,
            // A method that waits keeps its group waiting.
            (true, _, _) => 32,
            _ if self.seen.late > 0 => 32,
            _ if self.method.is_audited() => 1,
            _ if self.seen.accepted * 3 > self.seen.calls => 2,
            (_, Kind::Postgres, Sort::Right) => 32,
            // Each look at PostgreSQL costs a process.
            (_, Kind::Postgres, _) => 8,
            (_, Kind::Sqlite, Sort::Right) => 16,
            (_, Kind::Sqlite, _) => 4,
        }
    }

    async fn group(&mut self, shots: Vec<Shot>) {
        let before = match self.mark.take() {
            Some(mark) => mark,
            None => self.server.mark().await,
        };
        let began = Instant::now();
        let outcomes = join_all(shots.iter().map(|shot| self.call(shot))).await;
        self.seen.waits |= began.elapsed() >= LONG;
        let after = self.server.mark().await;
        self.mark = Some(after.clone());
        self.seen.groups += 1;
        let mut may_write = false;
        for (shot, outcome) in shots.iter().zip(&outcomes) {
            self.count(shot, outcome);
            may_write |= !self.may_not_write(shot, outcome);
        }
        let nothing = |(shot, outcome): &(&Shot, &Result<Outcome, String>)| {
            outcome.as_ref().is_ok_and(Outcome::is_refused) && self.may_not_write(shot, outcome)
        };
        let nothing = shots.iter().zip(&outcomes).filter(nothing).count();
        self.seen.nothing += nothing;
        if may_write {
            return;
        }
        self.seen.looked_at += nothing;
        if before != after {
            self.who_wrote(&shots).await;
        }
    }

    fn waits(&self) -> bool {
        self.seen.late > 0 || self.seen.waits
    }

    /// Whether this call must leave everything as it was.
    fn may_not_write(&self, shot: &Shot, outcome: &Result<Outcome, String>) -> bool {
        let whole = !self.method.hears_many || shot.is_whole();
        // An attempt at what nobody granted is audited; a message that says nothing is not.
        let audited = |outcome: &Outcome| self.method.is_audited() && !outcome.is_invalid();
        let nothing = |outcome: &Outcome| outcome.is_refused() && !audited(outcome);
        self.method.only_reads() || (whole && outcome.as_ref().is_ok_and(nothing))
    }

    /// Fires them again, one by one.
    async fn who_wrote(&mut self, shots: &[Shot]) {
        let mut found = false;
        self.mark = None;
        for shot in shots {
            let mut outcome = self.writes(shot).await;
            for _ in 1..ALONE {
                // A write of the server's own came in between.
                if outcome.is_some() {
                    outcome = self.writes(shot).await;
                }
            }
            if let Some(outcome) = outcome {
                found = true;
                let wrote = format!("something was written by a call that must not write ({outcome:?})");
                self.problem(shot, &wrote);
            }
        }
        self.seen.unexplained += usize::from(!found);
    }

    /// What became of it, where something was written that it must not write.
    async fn writes(&self, shot: &Shot) -> Option<Result<Outcome, String>> {
        let before = self.server.settled().await;
        let outcome = self.call(shot).await;
        let written = self.server.settled().await != before;
        (written && self.may_not_write(shot, &outcome)).then_some(outcome)
    }

    async fn call(&self, shot: &Shot) -> Result<Outcome, String> {
        let mut ask = Ask::new(&self.method.path, shot.body()).bearer(&self.credential);
        if self.method.says_many {
            (ask.listen, ask.messages) = match self.method.hears_many {
                true => (LISTEN_TO_THE_END, HEARD),
                false => (LISTEN, 1),
            };
        } else {
            ask = ask.header("grpc-timeout", if self.waits() { DEADLINE_OF_WAITING } else { DEADLINE });
        }
        let answer = raw::exchange(&self.line, ask).await;
        let outcome = judge(self.method, &answer)?;
        let everything = self.method.access.is_none_or(|access| access.all_projects);
        let messages = answer.map(|answer| answer.messages).unwrap_or_default();
        let marked =
            |message: &bytes::Bytes| message.windows(MARKER.len()).any(|part| part == MARKER.as_bytes());
        if !everything && messages.iter().any(marked) {
            return Err("the answer has content of another project".to_owned());
        }
        Ok(outcome)
    }

    fn count(&mut self, shot: &Shot, outcome: &Result<Outcome, String>) {
        self.seen.calls += 1;
        match outcome {
            Ok(outcome) => {
                *self.seen.tally.entry((shot.sort, outcome.told())).or_default() += 1;
                self.seen.accepted += usize::from(*outcome == Outcome::Accepted);
                self.seen.invalid += usize::from(outcome.is_invalid());
                self.seen.refused += usize::from(outcome.is_refused());
                self.seen.exhausted += usize::from(outcome.is_exhausted());
                self.seen.late += usize::from(*outcome == Outcome::Late);
            }
            Err(problem) => self.problem(shot, problem),
        }
    }

    fn problem(&mut self, shot: &Shot, problem: &str) {
        let path = &self.method.path;
        let replay = self.settings.replay(path, shot.index, self.test);
        let told = shot.told(self.method);
        self.seen.problems.push(format!("{path}#{}: {problem}\n{told}\n  again: {replay}", shot.index));
    }

    /// Calls that are all refused at the first byte, or none of which was looked
    /// at, show nothing.
    fn is_no_formality(&mut self) {
        let Seen {
            calls, accepted, invalid, nothing, exhausted, looked_at, late, groups, unexplained, ..
        } = self.seen;
        // Health and reflection have no rules, and say only that a message is none.
        let ours = self.method.access.is_some();
        let mut lacks = Vec::new();
        let mut holds = |what: &str, holds: bool| {
            if !holds {
                lacks.push(what.to_owned());
            }
        };
        let enough = match self.method.uses_up() {
            Some(least) => accepted >= least,
            None => accepted > 0 && accepted * 100 + 100 > calls,
        };
        holds("at least 1 of 100 calls is accepted", enough);
        holds("at least 10 of 100 calls are invalid", !ours || invalid * 10 >= calls);
        let rarely = exhausted * 20 <= calls || self.method.uses_up().is_some();
        holds("at most 5 of 100 calls meet a limit of the server", rarely);
        holds(
            "at least a third of the refused calls are looked at for writes",
            looked_at * 3 + 20 >= nothing,
        );
        holds("at most half of the calls are late", late * 2 <= calls);
        let percent = if GOING_ON.contains(&self.method.name()) { 15 } else { UNEXPLAINED_PERCENT };
        holds("little is written by nobody", unexplained * 100 <= groups * percent + 100);
        if !lacks.is_empty() {
            let told = self.told();
            self.seen.problems.push(format!("{told}\n  does not hold: {}", lacks.join("; ")));
        }
    }

    fn told(&self) -> String {
        let Seen { calls, accepted, invalid, refused, looked_at, groups, unexplained, .. } = self.seen;
        let mut text = format!(
            "{}: {calls} calls, {accepted} accepted, {invalid} invalid, {refused} refused, of which {looked_at} were \
             looked at for writes; {unexplained} of {groups} groups with a write of nobody",
            self.method.path
        );
        for ((sort, outcome), count) in &self.seen.tally {
            let _ = write!(text, "\n    {count:>5} {sort:?} {outcome}");
        }
        text
    }
}
