"""The session's rules, against a server that the test plays itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from quarterdeck import Context, QuarterdeckError, Worker
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb

from .scripted import WAIT, ScriptedServer


class Agent:
    """A worker under test. Its handler for `work` says what is put into `words` and ends on `None`."""

    def __init__(self, slots: int = 1) -> None:
        self.worker = Worker("agent", slots=slots, build="7", grace=5)
        self.words: asyncio.Queue[float | None] = asyncio.Queue()
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.stopped = asyncio.Event()

        @self.worker.step("work")
        async def work(ctx: Context) -> str:
            self.started.put_nowait(ctx.lease_token)
            try:
                while (word := await self.words.get()) is not None:
                    ctx.progress(word)
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return "done"


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
async def run(scripted: ScriptedServer, agent: Agent) -> AsyncIterator[asyncio.Task[str]]:
    async with scripted.client() as client:
        task: asyncio.Task[str] = asyncio.ensure_future(agent.worker.run(client))
        yield task
        task.cancel()
        scripted.end_streams()
        await asyncio.wait({task}, timeout=WAIT)


pytestmark = pytest.mark.usefixtures("run")


async def test_words_are_numbered_kept_and_sent_again_after_a_resume(
    scripted: ScriptedServer, agent: Agent
) -> None:
    first = await scripted.accept()
    hello = await first.hello()
    assert (hello.agent, hello.build, hello.slots) == ("agent", "7", 1)
    assert list(hello.capabilities) == ["work"]
    assert hello.resume_token == ""
    first.welcome()
    first.assign("lease")
    for word in (0.1, 0.2, 0.3):
        agent.words.put_nowait(word)
    progress = (await first.next()).progress
    assert (progress.number, progress.fraction) == (1, 0.1)
    # Only the last of those that wait is said once the one before it is durable.
    first.send(ack=pb.Ack(lease_token="lease", up_to=1))
    progress = (await first.next()).progress
    assert (progress.number, progress.fraction) == (2, 0.3)
    first.fail()

    second = await scripted.accept()
    hello = await second.hello()
    assert (hello.resume_token, list(hello.held_leases)) == ("token", ["lease"])
    agent.words.put_nowait(None)
    await agent.worker.wait_until(lambda status: status.held == 0)  # finished while not connected
    second.welcome(resumed=True)
    progress = (await second.next()).progress
    assert (progress.number, progress.fraction) == (2, 0.3)
    complete = (await second.next()).complete
    assert (complete.number, complete.output.json.string_value) == (3, "done")
    second.send(ack=pb.Ack(lease_token="lease", up_to=3))
    second.fail()

    third = await scripted.accept()
    assert list((await third.hello()).held_leases) == []
    third.welcome(resumed=True)
    await agent.worker.wait_until(lambda status: status.reconnects == 2)
    agent.worker.stop()
    assert (await third.next()).credit.slots == 0
    await third.goodbye()


async def test_what_an_agent_has_or_does_not_know_is_ignored(scripted: ScriptedServer, agent: Agent) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.send()  # of a newer contract
    stream.welcome()
    stream.assign("lease")
    stream.assign("lease")
    stream.send()
    stream.send(ack=pb.Ack(lease_token="unknown", up_to=9))
    stream.send(revoke=pb.Revoke(lease_token="unknown"))
    stream.send(reject=pb.Reject(lease_token="unknown", number=1, reason="LEASE_STALE"))
    agent.words.put_nowait(None)
    assert (await stream.next()).complete.number == 1
    assert agent.started.qsize() == 1


async def test_what_an_agent_cannot_take_is_refused(scripted: ScriptedServer, agent: Agent) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("first")
    stream.assign("second")
    refuse = (await stream.next()).refuse
    assert (refuse.lease_token, refuse.number, refuse.message) == ("second", 1, "all slots are taken")
    agent.words.put_nowait(None)
    assert (await stream.next()).complete.lease_token == "first"
    stream.assign("third", "cooking")
    assert (await stream.next()).refuse.message == "the agent has no handler for this capability"


@pytest.mark.parametrize("how", ["revoke", "stale", "new session", "expired"])
async def test_a_lease_that_is_gone_stops_its_handler_and_nothing_more_is_said(
    scripted: ScriptedServer, agent: Agent, how: str
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("lease")
    agent.words.put_nowait(0.5)
    assert (await stream.next()).progress.number == 1
    if how == "revoke":
        stream.send(revoke=pb.Revoke(lease_token="lease", cause=pb.REVOKE_CAUSE_TASK_CANCELED))
    elif how == "stale":
        stream.send(reject=pb.Reject(lease_token="lease", number=1, reason="LEASE_STALE"))
    else:
        stream.fail()
        stream = await scripted.accept()
        assert (await stream.hello()).resume_token == "token"
        if how == "expired":
            stream.fail(grpc.StatusCode.FAILED_PRECONDITION, "SESSION_EXPIRED")
            stream = await scripted.accept()
            hello = await stream.hello()
            assert (hello.resume_token, list(hello.held_leases)) == ("", [])
        stream.welcome("other")
    await asyncio.wait_for(agent.stopped.wait(), WAIT)
    stream.assign("next")
    agent.words.put_nowait(None)
    complete = (await stream.next()).complete
    assert (complete.lease_token, complete.number) == ("next", 1)


async def test_a_completion_that_is_at_fault_becomes_a_failure(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("lease")
    agent.words.put_nowait(None)
    assert (await stream.next()).complete.number == 1
    stream.send(reject=pb.Reject(lease_token="lease", number=1, reason="FIELDS_INVALID", message="why"))
    fail = (await stream.next()).fail
    assert (fail.number, fail.reason, fail.message, fail.not_retryable) == (2, "OUTPUT_INVALID", "why", True)


async def test_a_rotation_keeps_the_steps_on_a_fresh_connection(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("lease")
    await agent.started.get()
    stream.send(go_away=pb.GoAway(cause=pb.GO_AWAY_CAUSE_ROTATE))
    other = await scripted.accept()
    assert other.peer != stream.peer
    hello = await other.hello()
    assert (hello.resume_token, list(hello.held_leases)) == ("token", ["lease"])
    other.welcome(resumed=True)
    agent.words.put_nowait(None)
    assert (await other.next()).complete.number == 1
    assert not agent.stopped.is_set()


async def test_a_session_that_another_took_over_ends_the_worker(
    scripted: ScriptedServer, agent: Agent, run: asyncio.Task[str]
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("lease")
    await agent.started.get()
    stream.send(go_away=pb.GoAway(cause=pb.GO_AWAY_CAUSE_REPLACED))
    with pytest.raises(QuarterdeckError) as replaced:
        await run
    assert replaced.value.code is grpc.StatusCode.ABORTED
    assert agent.stopped.is_set()


async def test_pings_without_an_answer_lead_to_a_fresh_connection(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome(ping=0.02)
    # As long as they are answered the connection is good.
    for _ in range(5):
        await stream.ping()
    stream.assign("lease")
    await agent.started.get()
    stream.answer_pings = False
    other = await scripted.accept()
    assert other.peer != stream.peer
    assert list((await other.hello()).held_leases) == ["lease"]


async def test_after_three_failures_the_connection_is_replaced(
    scripted: ScriptedServer, agent: Agent
) -> None:
    peers = []
    for _ in range(4):
        stream = await scripted.accept()
        peers.append(stream.peer)
        await stream.hello()
        stream.fail()
    assert peers[0] == peers[1] == peers[2] != peers[3]


async def test_a_stop_finishes_the_step_at_work_and_hears_that_it_is_durable(
    scripted: ScriptedServer, agent: Agent, run: asyncio.Task[str]
) -> None:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome()
    stream.assign("lease")
    await agent.started.get()
    agent.worker.stop()
    assert (await stream.next()).credit.slots == 0
    agent.words.put_nowait(None)
    assert (await stream.next()).complete.number == 1
    stream.send(ack=pb.Ack(lease_token="lease", up_to=1))
    await stream.goodbye()
    assert await run == "shutdown"
