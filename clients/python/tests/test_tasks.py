"""Tasks: from creation to end, and what the client says when it cannot be."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timezone

import grpc
import pytest

from quarterdeck import Client, Context, Plan, QuarterdeckError, Retry, Step, StepFailed, Timeouts, Worker
from quarterdeck.orchestration.v1 import plan_pb2, task_pb2
from quarterdeck.testing import Server

from .conftest import Running
from .proxy import Proxy


def upper(capability: str) -> Worker:
    worker = Worker("upper", slots=4)

    @worker.step(capability)
    async def handle(ctx: Context, text: str) -> str:
        return text.upper()

    return worker


async def test_a_task_lives_from_creation_to_its_outputs(
    client: Client, capability: str, running: Running
) -> None:
    async with running(upper(capability)):
        task = await client.create_task(
            [Step("a", capability, "one"), Step("b", capability, "two", after=["a"])],
            display_name="both",
            labels={"suite": capability},
        )
        assert task.state == task_pb2.TASK_STATE_RUNNING
        ended = await client.wait_for_task(task.id, timeout=30)
    assert ended.state == task_pb2.TASK_STATE_SUCCEEDED
    assert await client.outputs(ended) == {"a": "ONE", "b": "TWO"}
    kinds = [event.WhichOneof("kind") async for event in client.events(task.id, page_size=2)]
    assert kinds[0] == "task_created"
    assert kinds[-1] == "task_ended"
    assert kinds.count("step_succeeded") == 2


@pytest.mark.parametrize("form", ["typed", "dict", "message"])
async def test_a_plan_may_be_objects_a_dict_or_a_message(client: Client, capability: str, form: str) -> None:
    plan = {
        "typed": Plan(
            [
                Step(
                    "a",
                    capability,
                    {"n": 1},
                    retry=Retry(max_attempts=5, initial_backoff=0.25),
                    timeouts=Timeouts(waiting=60),
                    priority=7,
                )
            ],
            timeout=3600,
        ),
        "dict": {
            "steps": [
                {
                    "key": "a",
                    "capability": capability,
                    "input": {"json": {"n": 1}},
                    "retry": {"maxAttempts": 5, "initialBackoff": "0.250s"},
                    "timeouts": {"waiting": "60s"},
                    "priority": 7,
                }
            ],
            "timeout": "3600s",
        },
        "message": plan_pb2.Plan(steps=[plan_pb2.PlanStep(key="a", capability=capability, priority=7)]),
    }[form]
    task = await client.create_task(plan)  # type: ignore[arg-type]
    events = [event async for event in client.events(task.id)]
    accepted = events[0].task_created.plan
    assert accepted.steps[0].priority == 7
    if form != "message":
        assert accepted.steps[0].retry.max_attempts == 5
        assert accepted.steps[0].retry.initial_backoff.ToMilliseconds() == 250
        assert accepted.steps[0].timeouts.waiting.seconds == 60
        assert accepted.timeout.seconds == 3600
        full = await client.get_task(task.id, view="full")
        assert full.steps[0].input.json.struct_value.fields["n"].number_value == 1
    await client.cancel_task(task.id)


async def test_a_list_pages_through_everything_that_its_filter_selects(
    client: Client, capability: str
) -> None:
    label = {"suite": capability}
    created = [(await client.create_task([Step("a", capability)], labels=label)).id for _ in range(5)]
    await client.cancel_task(created[0])

    async def ids(*states: task_pb2.TaskState) -> list[str]:
        found = client.list_tasks(labels=label, states=states, page_size=2)
        return [task.id async for task in found]

    assert await ids() == created[::-1]
    assert await ids(task_pb2.TASK_STATE_CANCELED) == created[:1]
    later = client.list_tasks(labels=label, created_after=datetime(2999, 1, 1, tzinfo=timezone.utc))
    assert [task async for task in later] == []
    for task_id in created[1:]:
        await client.cancel_task(task_id)


async def test_a_request_id_makes_a_task_once_and_is_refused_for_another(
    client: Client, capability: str
) -> None:
    request_id = uuid.uuid4().hex
    first = await client.create_task([Step("a", capability)], request_id=request_id)
    again = await client.create_task([Step("a", capability)], request_id=request_id)
    assert again.id == first.id
    with pytest.raises(QuarterdeckError) as refused:
        await client.create_task([Step("b", capability)], request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert refused.value.code is grpc.StatusCode.ALREADY_EXISTS
    assert not refused.value.is_retryable
    await client.cancel_task(first.id)


async def test_a_lost_answer_is_asked_for_again_with_the_same_request_id(
    server: Server, client: Client, capability: str
) -> None:
    label = {"suite": capability}
    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        await distant.get_task((await client.create_task([Step("a", capability)])).id)  # connects
        proxy.hold("down")
        creating = asyncio.ensure_future(distant.create_task([Step("a", capability)], labels=label))
        async for frame in client.watch_tasks(labels=label):
            if (frame.snapshot or frame.event) is not None:
                break
        proxy.cut()
        task = await creating
        assert proxy.accepted > 1
    found = [task.id async for task in client.list_tasks(labels=label)]
    assert found == [task.id]


async def test_a_cancelled_task_can_be_retried_and_keeps_what_had_succeeded(
    client: Client, capability: str, running: Running
) -> None:
    async with running(upper(capability)):
        plan = [Step("a", capability, "one"), Step("b", f"{capability}.late", after=["a"])]
        task = await client.create_task(plan)
        async with client.watch_task(task.id) as watch:
            async for frame in watch:
                if frame.kind == "step_succeeded":
                    break
                if frame.snapshot and frame.snapshot.steps[0].state == task_pb2.STEP_STATE_SUCCEEDED:
                    break
        cancelled = await client.cancel_task(task.id, comment="enough")
        assert cancelled.stop_reason.message == "enough"
        retried = await client.retry_task(task.id)
    assert retried.retry_of == task.id
    steps = (await client.get_task(retried.id)).steps
    assert [step.reused for step in steps] == [True, False]
    found = [task.id async for task in client.list_tasks(retry_of=task.id)]
    assert found == [retried.id]
    await client.cancel_task(retried.id)


async def test_a_revision_that_does_not_match_is_refused(client: Client, capability: str) -> None:
    task = await client.create_task([Step("a", capability)])
    with pytest.raises(QuarterdeckError) as refused:
        await client.cancel_task(task.id, if_revision_match=task.revision + 10)
    assert refused.value.reason == "REVISION_MISMATCH"
    await client.cancel_task(task.id, if_revision_match=task.revision)


async def test_errors_carry_code_reason_and_fields(server: Server, client: Client, capability: str) -> None:
    with pytest.raises(QuarterdeckError) as missing:
        await client.get_task("tsk_00000000000000000000000000")
    assert (missing.value.code, missing.value.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert missing.value.origin == "server"

    with pytest.raises(QuarterdeckError) as invalid:
        await client.create_task([Step("not a key", capability)])
    assert (invalid.value.code, invalid.value.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELDS_INVALID",
    )
    assert [broken.field for broken in invalid.value.fields] == ["plan.steps[0].key"]
    assert "plan.steps[0].key" in str(invalid.value)

    with pytest.raises(QuarterdeckError) as cyclic:
        await client.create_task([Step("a", capability, after=["b"]), Step("b", capability, after=["a"])])
    assert cyclic.value.reason == "PLAN_INVALID"

    for key, reason in (("", "CREDENTIAL_MISSING"), ("qd_bootstrap_wrong", "CREDENTIAL_INVALID")):
        async with Client(server.address, key) as stranger:
            with pytest.raises(QuarterdeckError) as unknown:
                await stranger.get_task("tsk_00000000000000000000000000")
        assert (unknown.value.code, unknown.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_nobody_there_is_a_transport_error_after_the_deadline() -> None:
    async with Client("http://127.0.0.1:1", "", deadline=0.3) as nobody:
        with pytest.raises(QuarterdeckError) as silent:
            await nobody.get_task("tsk_00000000000000000000000000")
        assert silent.value.origin == "transport"
        assert silent.value.is_retryable
        with pytest.raises(QuarterdeckError) as unwatched:
            await anext(nobody.watch_task("tsk_00000000000000000000000000"))
        assert unwatched.value.origin == "transport"


def history(capability: str) -> tuple[Worker, list[Step]]:
    """Ten steps in a row."""
    keys = [f"s{place}" for place in range(10)]
    steps = [Step(key, capability, key, after=keys[place - 1 : place]) for place, key in enumerate(keys)]
    return upper(capability), steps


async def test_a_watch_resumes_after_any_cursor_without_gap_or_duplicate(
    client: Client, capability: str, running: Running
) -> None:
    worker, steps = history(capability)
    task = await client.create_task(steps)
    watch = client.watch_task(task.id)
    async with running(worker), watch:
        frames = [frame async for frame in watch]
    assert frames[0].snapshot is not None
    sequences = [frame.event.sequence for frame in frames[1:] if frame.event is not None]
    assert sequences == list(range(frames[0].snapshot.revision + 1, sequences[-1] + 1))
    for place, frame in enumerate(frames):
        resumed = client.watch_task(task.id, resume_after=frame.cursor)
        rest = [later.event.sequence async for later in resumed if later.event is not None]
        assert rest == sequences[place:]


async def test_a_watch_survives_its_connections(
    server: Server, client: Client, capability: str, running: Running
) -> None:
    worker, steps = history(capability)
    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        task = await client.create_task(steps)
        watch = distant.watch_task(task.id)
        first = await anext(watch)
        assert first.snapshot is not None
        sequences = []
        async with running(worker):
            async for frame in watch:
                assert frame.event is not None
                sequences.append(frame.event.sequence)
                if len(sequences) in (3, 9, 15):
                    proxy.cut()
        assert watch.reconnects >= 1
    assert sequences == list(range(first.snapshot.revision + 1, sequences[-1] + 1))
    assert (await client.get_task(task.id)).revision == sequences[-1]


async def test_a_silent_watch_is_opened_again_in_the_end_on_a_fresh_connection(
    server: Server, client: Client, capability: str
) -> None:
    async with (
        Proxy(server.address) as proxy,
        Client(proxy.address, server.api_key, watch_silence=0.3) as distant,
    ):
        task = await client.create_task([Step("a", capability)])
        watch = distant.watch_task(task.id)
        assert (await anext(watch)).kind == "snapshot"
        proxy.hold("down")
        await client.cancel_task(task.id)
        assert [frame.kind async for frame in watch] == ["task_ended"]
        assert watch.reconnects >= 3
        assert proxy.accepted == 2


async def test_waiting_has_its_own_time(client: Client, capability: str) -> None:
    task = await client.create_task([Step("a", capability)])
    with pytest.raises(asyncio.TimeoutError):
        await client.wait_for_task(task.id, timeout=0.1)
    await client.cancel_task(task.id)
    assert (await client.wait_for_task(task.id)).state == task_pb2.TASK_STATE_CANCELED


async def test_a_failed_task_says_which_step_and_why(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("failing")

    @worker.step(capability)
    async def fail(ctx: Context) -> None:
        raise StepFailed("NO_PAPER", "the tray is empty", retryable=False)

    async with running(worker):
        task = await client.create_task([Step("print", capability)])
        ended = await client.wait_for_task(task.id, timeout=30)
    assert ended.state == task_pb2.TASK_STATE_FAILED
    stop = ended.stop_reason
    assert (stop.code, stop.step_key) == (task_pb2.STOP_CODE_NOT_RETRYABLE, "print")
    assert (stop.step_reason, stop.message) == ("NO_PAPER", "the tray is empty")
