"""Agents against the real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pydantic
import pytest

from quarterdeck import (
    Client,
    Context,
    Payload,
    QuarterdeckError,
    Refuse,
    Retry,
    Step,
    StepFailed,
    Timeouts,
    Worker,
)
from quarterdeck.orchestration.v1 import task_pb2
from quarterdeck.testing import Server, find_binary

from .conftest import Running

QUICK = Retry(max_attempts=3, initial_backoff=0.01)
PACKAGE = Path(__file__).resolve().parent.parent


@dataclass
class Item:
    name: str
    price: float
    tags: list[str]


@dataclass
class Order:
    items: list[Item]
    note: str | None = None


class Point(TypedDict):
    x: int
    y: int


class Query(pydantic.BaseModel):
    text: str
    limit: int = 10


async def total(ctx: Context, order: Order) -> Item:
    assert isinstance(order.items[0], Item)
    return Item("all", sum(item.price for item in order.items), ["sum"])


async def mirror(ctx: Context, point: Point) -> Point:
    return {"x": point["y"], "y": point["x"]}


async def search(ctx: Context, query: Query) -> Query:
    return Query(text=query.text.upper(), limit=query.limit + 1)


async def raw(ctx: Context, payload: Payload) -> Payload:
    return Payload.data("text/plain", payload.to_bytes() + b"!")


async def anything(ctx: Context, value: Any) -> Any:
    return value


Case = tuple[Callable[..., Awaitable[Any]], Any, Any]
CASES: dict[str, Case] = {
    "dataclass": (
        total,
        Order([Item("a", 2, []), Item("b", 0.5, ["x"])]),
        {"name": "all", "price": 2.5, "tags": ["sum"]},
    ),
    "typed dict": (mirror, {"x": 1, "y": 2}, {"x": 2, "y": 1}),
    "pydantic": (search, {"text": "who"}, {"text": "WHO", "limit": 11}),
    "payload": (raw, b"bytes", "bytes!"),
    "big integer": (anything, {"n": 2**60 + 1}, {"n": 2**60 + 1}),
    "deep": (
        anything,
        [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]],
        [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]],
    ),
    "nothing": (anything, None, None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_input_and_output_have_the_handlers_types(
    client: Client, capability: str, running: Running, case: Case
) -> None:
    function, given, expected = case
    worker = Worker("typed")
    worker.step(capability)(function)
    async with running(worker):
        task = await client.create_task([Step("a", capability, given)])
        ended = await client.wait_for_task(task.id, timeout=30)
    assert ended.state == task_pb2.TASK_STATE_SUCCEEDED, ended.stop_reason
    assert await client.outputs(ended) == {"a": expected}


async def failure(client: Client, step: Step) -> tuple[str, int]:
    """Runs a one-step task that fails; its reason and its attempts."""
    task = await client.create_task([step])
    ended = await client.wait_for_task(task.id, timeout=30)
    assert ended.state == task_pb2.TASK_STATE_FAILED
    return ended.stop_reason.step_reason, ended.steps[0].attempt


async def test_input_of_another_shape_fails_the_step_at_once(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("typed")
    worker.step(capability)(total)
    worker.step(f"{capability}.model")(search)
    async with running(worker):
        assert await failure(client, Step("a", capability, {"items": [{}]})) == ("INPUT_INVALID", 1)
        model = Step("a", f"{capability}.model", {"limit": "many"})
        assert await failure(client, model) == ("INPUT_INVALID", 1)


async def test_output_that_cannot_be_sent_fails_the_step_and_not_the_session(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("large")

    @worker.step(capability)
    async def handle(ctx: Context, kind: str) -> Any:
        return {"large": "x" * 300_000, "object": object(), "nan": float("nan")}[kind]

    async with running(worker):
        session = worker.status.session_id
        for kind in ("large", "object", "nan"):
            assert await failure(client, Step("a", capability, kind, retry=QUICK)) == ("OUTPUT_INVALID", 1)
        assert worker.status.session_id == session
        assert worker.status.reconnects == 0


async def test_a_failed_attempt_is_tried_again_by_the_policy(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("flaky")
    keys: list[str] = []

    @worker.step(capability)
    async def flaky(ctx: Context) -> int:
        keys.append(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ZeroDivisionError("by chance")
        return ctx.attempt

    async with running(worker):
        task = await client.create_task([Step("a", capability, retry=QUICK)])
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": 3}
    failure = ended.steps[0].last_failure
    assert (failure.reason, failure.message) == ("AGENT_ERROR", "ZeroDivisionError: by chance")
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_an_agent_may_say_when_to_try_again(client: Client, capability: str, running: Running) -> None:
    worker = Worker("busy")

    @worker.step(capability)
    async def busy(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise StepFailed("BUSY", "later", retry_after=0.02)
        return ctx.attempt

    async with running(worker):
        # By the policy alone the second attempt would be hours away.
        slow = Retry(max_attempts=2, initial_backoff=80_000)
        task = await client.create_task([Step("a", capability, retry=slow)])
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": 2}
    assert ended.steps[0].last_failure.reason == "BUSY"


async def test_a_refused_step_goes_to_another_agent_and_costs_no_attempt(
    client: Client, capability: str, running: Running
) -> None:
    picky, eager = Worker("picky"), Worker("eager")
    refused = asyncio.Event()

    @picky.step(capability)
    async def refuse(ctx: Context) -> None:
        refused.set()
        raise Refuse("not for me")

    @eager.step(capability)
    async def take(ctx: Context) -> str:
        return "taken"

    async with running(picky):
        task = await client.create_task([Step("a", capability)])
        await refused.wait()
        async with running(eager):
            ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": "taken"}
    assert (ended.steps[0].agent, ended.steps[0].attempt) == ("eager", 1)


async def test_cancelling_the_task_cancels_the_handler(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("patient")
    started, stopped = asyncio.Event(), asyncio.Event()

    @worker.step(capability)
    async def wait(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with running(worker):
        task = await client.create_task([Step("a", capability)])
        await started.wait()
        await client.cancel_task(task.id)
        await asyncio.wait_for(stopped.wait(), 10)
        await worker.wait_until(lambda status: status.held == 0)
        assert worker.status.state == "connected"


async def test_a_checkpoint_reaches_the_next_attempt(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("careful")

    @worker.step(capability)
    async def count(ctx: Context) -> list[int]:
        done: list[int] = ctx.previous_state or []
        for number in range(5):
            if number in done:
                continue
            done.append(number)
            ctx.progress(number / 5, f"at {number}")
            ctx.heartbeat(done)
            if number == 2:
                raise StepFailed("INTERRUPTED")
        return [ctx.attempt, *done]

    async with running(worker):
        task = await client.create_task([Step("a", capability, retry=QUICK)])
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": [2, 0, 1, 2, 3, 4]}


async def test_progress_is_seen_and_keeps_the_step_alive(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("slow")
    seen = asyncio.Event()

    @worker.step(capability)
    async def work(ctx: Context) -> list[Any]:
        assert ctx.deadline is not None
        ctx.progress(0.25, "a quarter")
        ctx.partial_output("é" * 3_000)
        ctx.partial_output("!")
        with pytest.raises(ValueError, match="at most 1048576 bytes"):
            ctx.partial_output("x" * (1 << 20))
        await seen.wait()
        return [ctx.progress_timeout, ctx.step_key, ctx.task_id]

    async with running(worker):
        timeouts = Timeouts(attempt=60, progress=30)
        task = await client.create_task([Step("a", capability, timeouts=timeouts)])
        shown = ""
        async with client.watch_task(task.id) as watch:
            async for frame in watch:
                if frame.kind == "step_progressed":
                    assert frame.event is not None
                    assert frame.event.step_progressed.fraction == 0.25
                    assert frame.event.step_progressed.message == "a quarter"
                    assert frame.event.step_progressed.partial_offset == len(shown.encode())
                    shown += frame.event.step_progressed.partial_output
                    seen.set()
        assert shown == "é" * 3_000 + "!"
        ended = await client.get_task(task.id, view="full")
    assert await client.outputs(ended) == {"a": [30, "a", task.id]}


async def test_a_silent_step_is_taken_away_and_its_handler_cancelled(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("hanging")
    stopped = asyncio.Event()

    @worker.step(capability)
    async def hang(ctx: Context) -> str:
        if ctx.attempt > 1:
            return "woken"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError("unreachable")

    async with running(worker):
        step = Step("a", capability, retry=QUICK, timeouts=Timeouts(progress=0.1))
        task = await client.create_task([step])
        ended = await client.wait_for_task(task.id, timeout=30)
        assert stopped.is_set()
    assert await client.outputs(ended) == {"a": "woken"}


async def test_outputs_that_the_assignment_leaves_out_are_fetched(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("joining", slots=20)
    keys = [f"part{place}" for place in range(14)]
    size = 250_000

    @worker.step(capability)
    async def part(ctx: Context, letter: str) -> bytes:
        return letter.encode() * size

    @worker.step(f"{capability}.join")
    async def join(ctx: Context) -> dict[str, Any]:
        outputs = await ctx.dependencies()
        with pytest.raises(QuarterdeckError) as unknown:
            await ctx.dependency("stranger")
        whole = {key: [chr(value[0]), len(value)] for key, value in outputs.items()}
        return {"parts": whole, "reason": unknown.value.reason}

    steps = [Step(key, capability, chr(97 + place)) for place, key in enumerate(keys)]
    async with running(worker):
        task = await client.create_task([*steps, Step("join", f"{capability}.join", after=keys)])
        ended = await client.wait_for_task(task.id, timeout=40)
    assert ended.state == task_pb2.TASK_STATE_SUCCEEDED, ended.stop_reason
    outputs = await client.outputs(ended)
    assert outputs["join"]["reason"] == "STEP_NOT_FOUND"
    assert outputs["join"]["parts"] == {key: [chr(97 + place), size] for place, key in enumerate(keys)}


@contextmanager
def program(server: Server, *command: str) -> Iterator[None]:
    environment = dict(os.environ, QUARTERDECK_ADDRESS=server.address, QUARTERDECK_API_KEY=server.api_key)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


async def test_the_example_agent_greets(server: Server, client: Client) -> None:
    example = PACKAGE / "examples" / "agent.py"
    assert len(example.read_text().splitlines()) == 12
    with program(server, sys.executable, str(example)):
        task = await client.create_task([Step("hello", "greet", {"name": "Ada"})])
        ended = await client.wait_for_task(task.id, timeout=40)
    assert await client.outputs(ended) == {"hello": {"greeting": "Good to see you, Ada!"}}


async def test_an_agent_in_rust_and_one_in_python_share_a_task(
    server: Server, client: Client, capability: str, running: Running
) -> None:
    binary = Path(find_binary()).parent / "examples" / "agent"
    if not binary.exists():
        pytest.fail("the Rust example agent is not built: cargo build --examples")
    worker = Worker("python")

    @worker.step(capability)
    async def measure(ctx: Context) -> dict[str, Any]:
        return {key: [value, len(value)] for key, value in (await ctx.dependencies()).items()}

    with program(server, str(binary)):
        async with running(worker):
            steps = [
                Step("shout", "echo", Payload.text("from one to the other")),
                Step("measure", capability, after=["shout"]),
                Step("again", "echo", Payload.text("and back"), after=["measure"]),
            ]
            task = await client.create_task(steps)
            ended = await client.wait_for_task(task.id, timeout=40)
    assert await client.outputs(ended) == {
        "shout": "FROM ONE TO THE OTHER",
        "measure": {"shout": ["FROM ONE TO THE OTHER", 21]},
        "again": "AND BACK",
    }
    assert [step.agent for step in ended.steps] == ["echo", "python", "echo"]
