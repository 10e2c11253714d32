//! Slots are never given twice, and never more than an agent asked for.

use quarterdeck_core::{Ctx, ProjectId, TaskId};
use tokio::sync::mpsc::Receiver;

use super::*;

const LEASE: Span = Span::from_secs(15);
const CALLED: Span = Span::from_secs(60);
const NOW: Timestamp = Timestamp::from_micros(1);
const GOOD_UNTIL: Timestamp = Timestamp::from_micros(2);

fn session(seed: u8) -> SessionId {
    SessionId::new(&Ctx::new(Timestamp::default(), [seed; 32]), 0)
}

fn step(number: u16) -> StepRef {
    StepRef { task: TaskId::new(&Ctx::new(Timestamp::default(), [9; 32]), 0), step: number }
}

fn queue() -> QueueKey {
    QueueKey { project: ProjectId::of("p"), capability: "work".to_owned() }
}

fn join(dispatcher: &Dispatcher, seed: u8, slots: u32) -> Receiver<Down> {
    let (outbound, receiver) = mpsc::channel(2);
    dispatcher.join(Joining {
        session: session(seed),
        agent: format!("agent-{seed}"),
        queues: vec![queue()],
        slots,
        held: BTreeMap::new(),
        draining: false,
        calls: false,
        lease: LEASE,
        good_until: GOOD_UNTIL,
        outbound,
        now: Timestamp::default(),
    });
    receiver
}

/// A call that waits for `wanted` steps besides the one held. Its connection.
fn call(dispatcher: &Dispatcher, seed: u8, wanted: u32) -> (u64, Receiver<Down>) {
    let (outbound, receiver) = mpsc::channel(2);
    let (connection, _) = dispatcher.join(Joining {
        session: session(seed),
        agent: format!("agent-{seed}"),
        queues: vec![queue()],
        slots: 1 + wanted,
        held: BTreeMap::from([(step(0), 1)]),
        draining: false,
        calls: true,
        lease: CALLED,
        good_until: GOOD_UNTIL,
        outbound,
        now: Timestamp::default(),
    });
    (connection, receiver)
}

/// As the pump does after it has found nothing in the table.
fn nothing_waits(dispatcher: &Dispatcher) {
    dispatcher.looked(&queue(), dispatcher.wakes(&queue()));
}

#[test]
fn an_agent_never_holds_more_than_its_slots() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 2);
    nothing_waits(&dispatcher);
    let first = dispatcher.reserve(&queue(), &[], None, NOW).unwrap();
    assert_eq!(first.0, session(1));
    assert_eq!(dispatcher.hold(session(1), step(1), 5), Some(Held::Nothing));
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "one held, one reserved, two slots");
    // The commit that finishes the held step may already count on its slot.
    assert!(dispatcher.reserve(&queue(), &[session(1)], None, NOW).is_some());
    dispatcher.unreserve(session(1));
    assert!(!dispatcher.release(session(1), step(1), 4), "another token's end is not this one's");
    assert!(dispatcher.release(session(1), step(1), 5));
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
}

#[test]
fn an_agent_hears_that_a_lease_is_over_before_its_slot_is_free() {
    let dispatcher = Dispatcher::default();
    let mut receiver = join(&dispatcher, 1, 1);
    nothing_waits(&dispatcher);
    dispatcher.reserve(&queue(), &[], None, NOW).unwrap();
    assert_eq!(dispatcher.hold(session(1), step(1), 5), Some(Held::Nothing));
    assert!(!dispatcher.take_away(session(1), step(1), 4, Down::Pong), "another token's end");
    assert!(receiver.try_recv().is_err(), "says nothing");
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "and frees nothing");
    assert!(dispatcher.take_away(session(1), step(1), 5, Down::Pong));
    assert_eq!(receiver.try_recv(), Ok(Down::Pong));
    assert!(!dispatcher.give(session(1), step(1), 5, Down::Pong), "nor is it given after that");
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
}

#[test]
fn a_lease_that_takes_the_place_of_an_earlier_one_names_it() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 2);
    assert_eq!(dispatcher.hold(session(1), step(1), 5), Some(Held::Nothing));
    assert_eq!(dispatcher.adopt(session(1), step(1), 5), Some(Held::Same));
    assert_eq!(dispatcher.hold(session(1), step(1), 8), Some(Held::Earlier(5)));
    assert_eq!(dispatcher.adopt(session(1), step(1), 9), Some(Held::Earlier(8)));
    assert_eq!(dispatcher.adopt(session(2), step(1), 9), None);
}

#[test]
fn a_lease_of_another_replica_waits_for_a_slot_and_gets_the_next() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 1);
    nothing_waits(&dispatcher);
    dispatcher.reserve(&queue(), &[], None, NOW).unwrap();
    assert_eq!(dispatcher.hold(session(1), step(1), 5), Some(Held::Nothing));
    dispatcher.owe([(session(1), step(2), 7)]);
    assert_eq!(dispatcher.adopt(session(1), step(2), 7), None, "the agent is full");
    assert!(dispatcher.release(session(1), step(1), 5));
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "the slot is spoken for");
    assert_eq!(dispatcher.adopt(session(1), step(2), 7), Some(Held::Nothing));
    assert!(dispatcher.release(session(1), step(2), 7));
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
    dispatcher.unreserve(session(1));
    dispatcher.owe([(session(1), step(2), 7)]);
    dispatcher.owe([]);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some(), "the table has it no more");
}

#[test]
fn steps_that_wait_in_the_table_go_first() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 1);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "nobody has looked at the table yet");
    nothing_waits(&dispatcher);
    dispatcher.queued([queue()]);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "a step was put there");
    assert!(dispatcher.reserve_for_backlog(&queue(), None, NOW).is_some());
    dispatcher.unreserve(session(1));
    nothing_waits(&dispatcher);
    dispatcher.wake([queue()]);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some(), "a mere suspicion holds nobody up");
}

#[tokio::test]
async fn a_reason_to_look_that_comes_during_a_look_is_looked_into() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 1);
    assert_eq!(dispatcher.due().await, [queue()]);
    let wakes = dispatcher.wakes(&queue());
    dispatcher.wake([queue()]);
    assert_eq!(dispatcher.due().await, [queue()], "taken by a look that is under way");
    dispatcher.looked(&queue(), wakes);
    assert_eq!(dispatcher.due().await, [queue()]);
}

#[test]
fn agents_take_turns() {
    let dispatcher = Dispatcher::default();
    let _receivers = (join(&dispatcher, 1, 8), join(&dispatcher, 2, 8));
    nothing_waits(&dispatcher);
    let turns: Vec<_> = (0..4).map(|_| dispatcher.reserve(&queue(), &[], None, NOW).unwrap().1).collect();
    assert_eq!(turns, ["agent-1", "agent-2", "agent-1", "agent-2"]);
    let other = dispatcher.reserve(&queue(), &[], Some(session(1)), NOW).unwrap();
    assert_eq!(other.0, session(2), "who refused a step is passed over");
}

#[test]
fn who_drains_or_is_away_gets_nothing() {
    let dispatcher = Dispatcher::default();
    let _receiver = join(&dispatcher, 1, 8);
    nothing_waits(&dispatcher);
    assert!(dispatcher.set_draining(session(1)));
    assert!(!dispatcher.set_draining(session(1)), "only the first time is news");
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none());

    let _receiver = join(&dispatcher, 2, 8);
    nothing_waits(&dispatcher);
    assert_eq!(dispatcher.reserve(&queue(), &[], None, NOW).unwrap().0, session(2));
    dispatcher.detach(session(2), 7);
    assert!(
        dispatcher.reserve(&queue(), &[], None, NOW).is_some(),
        "an old connection's end is not the new one's"
    );
    dispatcher.detach(session(2), 2);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none());
}

#[test]
fn an_agent_that_does_not_read_is_cut_off_and_others_are_not_held_up() {
    let dispatcher = Dispatcher::default();
    let mut receiver = join(&dispatcher, 1, 8);
    assert!(dispatcher.send(session(1), Down::Pong));
    assert!(dispatcher.send(session(1), Down::Pong));
    assert!(!dispatcher.send(session(1), Down::Pong), "its queue is full");
    assert!(!dispatcher.send(session(1), Down::Pong));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(Down::Pong), Ok(Down::Pong)));
    assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected), "the connection ends");
    let _again = join(&dispatcher, 1, 8);
    assert!(dispatcher.send(session(1), Down::Pong), "and resumes");
}

#[test]
fn a_call_is_given_what_it_asks_for_and_no_more_though_a_step_ends_meanwhile() {
    let dispatcher = Dispatcher::default();
    let (connection, _receiver) = call(&dispatcher, 1, 1);
    nothing_waits(&dispatcher);
    assert!(dispatcher.reserve(&queue(), &[session(1)], None, NOW).is_some());
    assert!(dispatcher.reserve(&queue(), &[session(1)], None, NOW).is_none(), "not for what it finishes");
    assert!(dispatcher.release(session(1), step(0), 1));
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "it has asked for one");
    dispatcher.unreserve(session(1));
    dispatcher.close(session(1), connection);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "it is about to be answered");
}

#[test]
fn a_call_leaves_nothing_behind_but_what_is_reserved_for_it() {
    let dispatcher = Dispatcher::default();
    let (first, _receiver) = call(&dispatcher, 1, 2);
    nothing_waits(&dispatcher);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
    dispatcher.retire(session(1), first);
    assert!(dispatcher.is_here(session(1)), "a commit is under way");
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "between calls it is given nothing");
    let (second, _receiver) = call(&dispatcher, 1, 2);
    dispatcher.retire(session(1), first);
    assert_eq!(dispatcher.pending(session(1), first), None);
    let (reserved, held) = dispatcher.pending(session(1), second).unwrap();
    assert_eq!((reserved, held), (1, vec![(step(0), 1)]), "the next call counts it in");
    dispatcher.retire(session(1), second);
    assert!(dispatcher.hold(session(1), step(1), 7).is_some());
    assert!(!dispatcher.is_here(session(1)), "settled");
    let (third, _receiver) = call(&dispatcher, 1, 0);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none());
    dispatcher.admit(session(1), second, [], 9);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "not by an old call");
    dispatcher.admit(session(1), third, [(step(1), 7)], 2);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_none(), "what it held when it joined stays");
    dispatcher.retire(session(1), second);
    assert!(dispatcher.is_here(session(1)), "an old call's end is not the new one's");
    dispatcher.retire(session(1), third);
    assert_eq!(dispatcher.len(), 0);
}

#[test]
fn each_session_is_silent_after_its_own_lease() {
    let dispatcher = Dispatcher::default();
    let at = |seconds| Timestamp::default().plus(Span::from_secs(seconds));
    let _receivers = (join(&dispatcher, 1, 1), call(&dispatcher, 2, 1));
    let (stream, called) = ((LEASE, vec![session(1)]), (CALLED, vec![session(2)]));
    assert_eq!(dispatcher.lively(at(0)), BTreeMap::from([stream, called.clone()]));
    assert_eq!(dispatcher.lively(at(5)), BTreeMap::from([called]), "its call stands");
    dispatcher.heard(session(1), at(4));
    assert_eq!(dispatcher.silent(at(21), Span::from_secs(2)), []);
    assert_eq!(dispatcher.silent(at(22), Span::from_secs(2)), [session(1)]);
    assert_eq!(dispatcher.silent(at(63), Span::from_secs(2)).len(), 2);
}

#[test]
fn who_may_have_expired_is_given_nothing_until_renewed() {
    let dispatcher = Dispatcher::default();
    let _one = join(&dispatcher, 1, 5);
    nothing_waits(&dispatcher);
    assert!(dispatcher.reserve(&queue(), &[], None, NOW).is_some());
    assert!(dispatcher.reserve(&queue(), &[], None, GOOD_UNTIL).is_none());
    assert!(dispatcher.reserve_for_backlog(&queue(), None, GOOD_UNTIL).is_none());
    assert_eq!(dispatcher.free_slots(&queue(), GOOD_UNTIL), 0, "or the queue is looked at for ever");
    dispatcher.renewed(session(1), GOOD_UNTIL.plus(LEASE));
    assert!(dispatcher.reserve(&queue(), &[], None, GOOD_UNTIL).is_some());
}
