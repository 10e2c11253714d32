"""Asking for a yes in the middle of a step, against a server that the test plays itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from quarterdeck import Action, Context, NotApproved, QuarterdeckError, StartedAction, Worker
from quarterdeck.approvals.v1 import approval_pb2
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb

from .scripted import WAIT, ScriptedServer, Stream

WANTED = Action.command("rm -rf build")
EDITED = Action.command("rm -rf build/cache")
GRANTED = approval_pb2.APPROVAL_STATE_GRANTED


class Agent:
    """A worker under test: `work` asks for a yes and keeps what it got, `rest` does nothing."""

    def __init__(self) -> None:
        self.worker = Worker("agent", slots=4)
        self.got: list[StartedAction] = []
        self.refused: list[Exception] = []
        self.stopped = asyncio.Event()

        @self.worker.step("work")
        async def work(ctx: Context) -> str:
            ctx.progress(0.5, "asking")
            try:
                self.got.append(await ctx.authorize(WANTED, "to make room"))
            except (NotApproved, QuarterdeckError) as refused:
                self.refused.append(refused)
                raise
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return "done"

        @self.worker.step("twice")
        async def twice(ctx: Context) -> list[str]:
            return [(await ctx.authorize(WANTED)).approval_id for _ in range(2)]

        @self.worker.step("rest")
        async def rest(ctx: Context) -> None: ...


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
async def agent(scripted: ScriptedServer) -> AsyncIterator[Agent]:
    agent = Agent()
    async with scripted.client() as client:
        run = asyncio.ensure_future(agent.worker.run(client))
        yield agent
        run.cancel()
        scripted.end_streams()
        await asyncio.wait({run}, timeout=WAIT)


async def welcomed(scripted: ScriptedServer, *, resumed: bool = False) -> Stream:
    stream = await scripted.accept()
    await stream.hello()
    stream.welcome(resumed=resumed)
    return stream


async def progressed(stream: Stream, lease: str = "lease") -> pb.Progress:
    """The next message, a word on progress, which is acknowledged."""
    message = await stream.next()
    assert message.HasField("progress"), message
    stream.send(ack=pb.Ack(lease_token=lease, up_to=message.progress.number))
    return message.progress


async def awaited(stream: Stream) -> str:
    """The approval that the next message asks to be told of."""
    message = await stream.next()
    assert message.HasField("await_approval"), message
    return message.await_approval.approval_id


async def asking(scripted: ScriptedServer) -> Stream:
    """A stream whose agent waits for `apr_1`."""
    stream = await welcomed(scripted)
    stream.assign("lease")
    await progressed(stream)
    assert await awaited(stream) == "apr_1"
    return stream


async def test_what_is_still_waited_for_is_asked_again_on_every_connection(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await asking(scripted)
    for _ in range(2):
        stream.fail()
        stream = await welcomed(scripted, resumed=True)
        assert await awaited(stream) == "apr_1"
    stream.decide("apr_other", GRANTED)
    stream.decide("apr_1", GRANTED)
    stream.decide("apr_1", GRANTED)
    assert (await stream.next()).HasField("complete")
    assert agent.got == [StartedAction("apr_1", WANTED, "once apr_1")]
    [asked], [started] = scripted.gate.asked, scripted.gate.started
    assert (asked.lease_token, asked.action, asked.comment) == ("lease", WANTED, "to make room")
    assert (started.approval_id, started.lease_token, started.action) == ("apr_1", "lease", WANTED)
    # What was told is not asked for any more: the completion is all that is said again.
    stream.fail()
    stream = await welcomed(scripted, resumed=True)
    assert (await stream.next()).HasField("complete")
    stream.assign("next", "rest")
    assert (await stream.next()).complete.lease_token == "next"


@pytest.mark.parametrize("how", ["revoked", "new session"])
async def test_what_a_stopped_handler_waited_for_is_not_asked_again(
    scripted: ScriptedServer, agent: Agent, how: str
) -> None:
    stream = await asking(scripted)
    if how == "revoked":
        stream.send(revoke=pb.Revoke(lease_token="lease", cause=pb.REVOKE_CAUSE_TASK_CANCELED))
        await asyncio.wait_for(agent.stopped.wait(), WAIT)
    stream.fail()
    stream = await welcomed(scripted, resumed=how == "revoked")
    await asyncio.wait_for(agent.stopped.wait(), WAIT)
    stream.assign("next", "rest")
    assert (await stream.next()).complete.lease_token == "next"
    assert scripted.gate.started == []


async def test_where_people_edited_the_action_theirs_is_started(
    scripted: ScriptedServer, agent: Agent
) -> None:
    scripted.gate.edited = EDITED
    stream = await asking(scripted)
    stream.decide("apr_1", approval_pb2.APPROVAL_STATE_SUPERSEDED, superseded_by="apr_9")
    assert await awaited(stream) == "apr_9"
    stream.decide("apr_9", GRANTED)
    assert (await stream.next()).HasField("complete")
    assert agent.got == [StartedAction("apr_9", EDITED, "once apr_9")]
    assert not scripted.gate.started[0].HasField("action")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (approval_pb2.APPROVAL_STATE_DENIED, "APPROVAL_DENIED"),
        (approval_pb2.APPROVAL_STATE_EXPIRED, "APPROVAL_TIMEOUT"),
        (approval_pb2.APPROVAL_STATE_WITHDRAWN, "APPROVAL_WITHDRAWN"),
        (approval_pb2.APPROVAL_STATE_INVALIDATED, "APPROVAL_WITHDRAWN"),
        (approval_pb2.APPROVAL_STATE_REVOKED, "APPROVAL_WITHDRAWN"),
    ],
)
async def test_a_refusal_fails_the_step_for_good_with_its_reason(
    scripted: ScriptedServer, agent: Agent, state: approval_pb2.ApprovalState, reason: str
) -> None:
    stream = await asking(scripted)
    stream.decide("apr_1", state, reason="no")
    fail = (await stream.next()).fail
    assert (fail.reason, fail.message, fail.not_retryable) == (reason, "apr_1: no", True)
    [refused] = agent.refused
    assert isinstance(refused, NotApproved)
    assert (refused.approval.id, refused.approval.state) == ("apr_1", state)
    assert scripted.gate.started == []


async def test_what_is_not_waited_for_is_an_error_with_the_servers_reason(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await asking(scripted)
    stream.send(approval_decided=pb.ApprovalDecided(approval_id="apr_1", reason="LIMIT_REACHED"))
    assert (await stream.next()).fail.reason == "AGENT_ERROR"
    [refused] = agent.refused
    assert isinstance(refused, QuarterdeckError)
    assert (refused.reason, refused.origin) == ("LIMIT_REACHED", "server")


async def test_while_it_waits_the_last_word_on_progress_is_repeated(
    scripted: ScriptedServer, agent: Agent
) -> None:
    stream = await welcomed(scripted)
    stream.assign("lease", progress_timeout=0.06)
    await progressed(stream)
    assert await awaited(stream) == "apr_1"
    for _ in range(4):
        progress = await progressed(stream)
        assert (progress.fraction, progress.message) == (0.5, "asking")
    stream.decide("apr_1", GRANTED)
    while (message := await stream.next()).HasField("progress"):
        pass
    assert message.HasField("complete")


async def test_each_request_of_an_attempt_has_a_key_of_its_own(
    scripted: ScriptedServer, agent: Agent
) -> None:
    scripted.gate.verdict = GRANTED
    stream = await welcomed(scripted)
    for lease in ("first", "second"):
        stream.assign(lease, "twice")
        # Granted at once: nothing is waited for on the session.
        output = (await stream.next()).complete.output
        assert [value.string_value for value in output.json.list_value.values] == ["apr_1", "apr_2"]
    asked = [(request.lease_token, request.request_key) for request in scripted.gate.asked]
    assert asked == [("first", "1"), ("first", "2"), ("second", "1"), ("second", "2")]
