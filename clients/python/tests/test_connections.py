"""Agents whose connection breaks, that are drained, stopped or refused."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from quarterdeck import Client, Context, QuarterdeckError, Step, Worker
from quarterdeck.orchestration.v1 import task_pb2
from quarterdeck.testing import Server

from .conftest import Running
from .proxy import Direction, Proxy


@pytest.mark.parametrize("held", ["up", "down"])
async def test_a_completion_in_flight_when_the_connection_is_cut_counts_once(
    server: Server, client: Client, capability: str, running: Running, held: Direction
) -> None:
    """`up`: the server never saw it. `down`: it did, but the agent never heard so."""
    worker = Worker("cut")
    started, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    @worker.step(capability)
    async def work(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        started.set()
        await go.wait()
        done.set()
        return "once"

    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        async with running(worker, distant):
            session = worker.status.session_id
            task = await client.create_task([Step("a", capability)])
            await started.wait()
            proxy.hold(held)
            go.set()
            await done.wait()
            await worker.wait_until(lambda status: status.held == 0)
            if held == "down":
                await client.wait_for_task(task.id, timeout=30)
            proxy.cut()
            ended = await client.wait_for_task(task.id, timeout=30)
            await worker.wait_until(lambda status: status.reconnects == 1)
            assert worker.status.session_id == session
    assert await client.outputs(ended) == {"a": "once"}
    assert attempts == [1]
    kinds = [event.WhichOneof("kind") async for event in client.events(task.id)]
    assert kinds.count("step_succeeded") == 1
    assert kinds.count("step_assigned") == 1


async def test_steps_are_kept_over_many_cuts(
    server: Server, client: Client, capability: str, running: Running
) -> None:
    worker = Worker("often-cut", slots=4)
    ran: list[str] = []

    @worker.step(capability)
    async def work(ctx: Context, cut: bool) -> str:
        ran.append(ctx.step_key)
        ctx.progress(0.5)
        if cut:
            before = worker.status.reconnects
            proxy.cut()
            await worker.wait_until(lambda status: status.reconnects > before)
        return ctx.step_key

    keys = [f"s{place}" for place in range(8)]
    steps = [
        Step(key, capability, place % 3 == 0, after=keys[place - 1 : place]) for place, key in enumerate(keys)
    ]
    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        async with running(worker, distant):
            task = await client.create_task(steps)
            ended = await client.wait_for_task(task.id, timeout=50)
    assert await client.outputs(ended) == {key: key for key in keys}
    assert ran == keys


async def test_a_drained_agent_finishes_what_it_holds_and_ends(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker(f"drained-{capability}", slots=2)
    started, go = asyncio.Event(), asyncio.Event()

    @worker.step(capability)
    async def work(ctx: Context) -> str:
        started.set()
        await go.wait()
        return "finished"

    async with running(worker) as run:
        task = await client.create_task([Step("a", capability)])
        await started.wait()
        assert len(await client.drain_agent(f"drained-{capability}")) == 1
        await worker.wait_until(lambda status: status.state == "draining")
        late = await client.create_task([Step("a", capability)])
        go.set()
        assert await run == "drained"
    assert await client.outputs(await client.wait_for_task(task.id)) == {"a": "finished"}
    assert (await client.get_task(late.id)).steps[0].state == task_pb2.STEP_STATE_READY
    await client.cancel_task(late.id)


async def test_a_stop_waits_for_its_grace_and_then_gives_steps_back(
    client: Client, capability: str, running: Running
) -> None:
    stubborn, other = Worker("stubborn", grace=0.1), Worker("other")
    started, stopped = asyncio.Event(), asyncio.Event()

    @stubborn.step(capability)
    async def hang(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @other.step(capability)
    async def take(ctx: Context) -> str:
        return "taken over"

    async with running(other), running(stubborn):
        pass  # both work at all
    async with running(stubborn) as run:
        task = await client.create_task([Step("a", capability)])
        await started.wait()
        stubborn.stop()
        assert await run == "shutdown"
        assert stopped.is_set()
        async with running(other):
            ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": "taken over"}


async def test_a_cancelled_worker_gives_its_steps_back_at_once(
    client: Client, capability: str, running: Running
) -> None:
    first, second = Worker("first"), Worker("second")
    started, stopped = asyncio.Event(), asyncio.Event()

    @first.step(capability)
    async def hang(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @second.step(capability)
    async def take(ctx: Context) -> int:
        return ctx.attempt

    async with running(first) as run:
        task = await client.create_task([Step("a", capability)])
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert stopped.is_set()
    async with running(second):
        # Well before the lease of the first would have run out.
        ended = await client.wait_for_task(task.id, timeout=8)
    assert ended.steps[0].agent == "second"


async def test_what_trying_again_cannot_mend_ends_the_worker(server: Server, capability: str) -> None:
    worker = Worker("stranger", project="no-such-project")

    @worker.step(capability)
    async def work(ctx: Context) -> None: ...

    async with server.client() as client:
        with pytest.raises(QuarterdeckError) as nowhere:
            await asyncio.wait_for(worker.run(client), 20)
    assert nowhere.value.reason == "PROJECT_NOT_FOUND"
    async with Client(server.address, "qd_bootstrap_wrong") as stranger:
        with pytest.raises(QuarterdeckError) as unknown:
            await asyncio.wait_for(worker.run(stranger), 20)
    assert unknown.value.code is grpc.StatusCode.UNAUTHENTICATED
