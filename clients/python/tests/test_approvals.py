"""Approvals against the real server: agents that ask, and people who decide."""

from __future__ import annotations

from typing import Any

import pytest

from quarterdeck import (
    Action,
    ApprovalFrame,
    Client,
    Context,
    NotApproved,
    QuarterdeckError,
    Step,
    Timeouts,
    Watch,
    Worker,
)
from quarterdeck.approvals.v1 import action_pb2, approval_pb2
from quarterdeck.orchestration.v1 import task_pb2
from quarterdeck.testing import Server

from .conftest import Person, Running
from .proxy import Proxy

# Destroys what cannot be rebuilt: people are asked.
RISKY = Action.command("rm -rf /var/lib/postgresql")
PENDING = approval_pb2.APPROVAL_STATE_PENDING
REDEEMED = approval_pb2.APPROVAL_STATE_REDEEMED


async def pending(client: Client, task_id: str) -> approval_pb2.Approval:
    """What a task waits for, once it does."""
    async with client.watch_approvals() as watch:
        async for frame in watch:
            if (frame.approval.task_id, frame.approval.state) == (task_id, PENDING):
                return frame.approval
    raise AssertionError("unreachable")


async def approve(person: Person, approval: approval_pb2.Approval) -> None:
    """As many yeses as it takes."""
    for number in range(approval.terms.approvals):
        await (await person(f"approver{number}")).approve(approval, comment="looked at it")


def careful(capability: str, action: action_pb2.Action) -> Worker:
    """An agent that asks before it acts, and tells what it would have carried out."""
    worker = Worker("careful")

    @worker.step(capability)
    async def work(ctx: Context) -> list[Any]:
        started = await ctx.authorize(action, "to make room")
        return [ctx.attempt, started.approval_id, started.action.command.script]

    return worker


async def test_an_agent_waits_for_its_yes_and_starts_what_was_shown(
    client: Client, capability: str, running: Running, person: Person
) -> None:
    async with running(careful(capability, RISKY)):
        task = await client.create_task([Step("a", capability)])
        asked = await pending(client, task.id)
        assert (asked.step_key, asked.agent, asked.comment) == ("a", "careful", "to make room")
        await approve(person, asked)
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": [1, asked.id, RISKY.command.script]}
    shown = await client.get_approval(asked.id)
    assert (shown.approval.state, shown.approval.digest) == (REDEEMED, asked.digest)
    assert [decision.comment for decision in shown.approval.decisions] == (
        ["looked at it"] * asked.terms.approvals
    )
    assert "postgresql" in str(shown.preview)


async def test_what_policy_grants_starts_at_once_and_surplus_effects_are_told(
    client: Client, capability: str, running: Running
) -> None:
    worker = Worker("careful")
    surplus: list[tuple[str, str]] = []

    @worker.step(capability)
    async def work(ctx: Context) -> str:
        started = await ctx.authorize(Action.command("git status"))
        effects = [("delete", "/etc/passwd")]
        told = await ctx.report_effects(started.approval_id, effects, exit_code=3)
        surplus.extend((effect.effect, effect.target) for effect in told.report.surplus)
        return f"{told.id} {told.report.exit_code}"

    async with running(worker):
        task = await client.create_task([Step("a", capability)])
        ended = await client.wait_for_task(task.id, timeout=30)
    [granted] = [approval async for approval in client.list_approvals(task_id=task.id)]
    assert await client.outputs(ended) == {"a": f"{granted.id} 3"}
    assert list(granted.decisions) == []
    assert surplus == [("delete", "/etc/passwd")]


async def test_a_no_fails_the_step_for_good_unless_the_handler_knows_better(
    client: Client, capability: str, running: Running, person: Person
) -> None:
    worker = careful(capability, RISKY)

    @worker.step(f"{capability}.other")
    async def other(ctx: Context) -> str:
        try:
            await ctx.authorize(RISKY)
        except NotApproved as refused:
            return f"{refused.reason} {refused.approval.decisions[0].comment}"
        raise AssertionError("nobody said yes")

    decider = await person("ann")
    async with running(worker):
        for capability_ in (capability, f"{capability}.other"):
            task = await client.create_task([Step("a", capability_)])
            await decider.deny(await pending(client, task.id), comment="not today")
            ended = await client.wait_for_task(task.id, timeout=30)
            if capability_ == capability:
                assert ended.state == task_pb2.TASK_STATE_FAILED
                assert ended.steps[0].attempt == 1
                assert ended.steps[0].last_failure.reason == "APPROVAL_DENIED"
            else:
                assert await client.outputs(ended) == {"a": "APPROVAL_DENIED not today"}


async def test_an_edited_action_is_started_without_masks_and_waiting_is_no_silence(
    client: Client, capability: str, running: Running, person: Person
) -> None:
    secret = "rm -rf /var/lib/postgresql/old # ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    async with running(careful(capability, RISKY)):
        step = Step("a", capability, timeouts=Timeouts(progress=2))
        task = await client.create_task([step])
        asked = await pending(client, task.id)
        words = 0
        async with client.watch_task(task.id) as watch:
            async for frame in watch:
                words += frame.kind == "step_progressed"
                if words == 4:  # a third of the timeout apart: it was outlived
                    break
        edited = await (await person("eve")).edit_approval(asked, Action.command(secret), comment="less")
        assert (edited.supersedes, edited.comment) == (asked.id, "less")
        assert "ghp_" not in str(edited.action)
        await approve(person, edited)
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"a": [1, edited.id, secret]}


async def test_a_step_that_declares_its_action_is_given_out_with_it_after_the_yes(
    client: Client, capability: str, running: Running, person: Person
) -> None:
    worker = Worker("gated")

    @worker.step(capability)
    async def work(ctx: Context) -> list[str]:
        return [ctx.action.command.script if ctx.action else "", ctx.approval_id]

    async with running(worker):
        task = await client.create_task(
            [Step("free", capability), Step("gated", capability, after=["free"], action=RISKY)]
        )
        asked = await pending(client, task.id)
        assert (asked.step_key, asked.gate) == ("gated", True)
        await approve(person, asked)
        ended = await client.wait_for_task(task.id, timeout=30)
    assert await client.outputs(ended) == {"free": ["", ""], "gated": [RISKY.command.script, asked.id]}


async def test_a_decision_that_falls_while_the_agent_is_cut_off_reaches_it(
    server: Server, client: Client, capability: str, running: Running, person: Person
) -> None:
    worker = careful(capability, RISKY)
    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        async with running(worker, distant):
            task = await client.create_task([Step("a", capability)])
            asked = await pending(client, task.id)
            proxy.hold("down")
            await approve(person, asked)
            proxy.cut()
            ended = await client.wait_for_task(task.id, timeout=30)
            assert worker.status.reconnects == 1
    assert (await client.outputs(ended))["a"][:2] == [1, asked.id]


async def test_a_decision_counts_once_for_the_action_that_was_shown(
    client: Client, capability: str, person: Person
) -> None:
    tasks = [await client.create_task([Step("a", capability, action=RISKY)]) for _ in range(3)]
    first, second, third = [await pending(client, task.id) for task in tasks]
    decider = await person("ann")
    with pytest.raises(QuarterdeckError) as other:
        await decider.approve((first.id, bytes(32)))
    assert other.value.reason == "DIGEST_MISMATCH"
    with pytest.raises(QuarterdeckError) as own:
        await client.deny(first)
    assert own.value.reason == "NOT_ELIGIBLE"
    both = [await decider.deny(first, (second.id, second.digest), request_id=capability) for _ in range(2)]
    assert [approval.id for approval in both[0]] == [first.id, second.id]
    assert both[0] == both[1]
    with pytest.raises(QuarterdeckError) as reused:
        await decider.deny(third, request_id=capability)
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_a_list_of_approvals_pages_through_what_its_filter_selects(
    client: Client, capability: str, person: Person
) -> None:
    steps = [Step(f"s{place}", capability, action=RISKY) for place in range(3)]
    task = await client.create_task(steps)
    async with client.watch_approvals() as watch:
        waiting = set[str]()
        while len(waiting) < 3:
            frame = await anext(watch)
            if frame.approval.task_id == task.id:
                waiting.add(frame.approval.id)

    async def ids(*states: approval_pb2.ApprovalState, **more: Any) -> set[str]:
        found = client.list_approvals(task_id=task.id, states=states, page_size=2, **more)
        return {approval.id async for approval in found}

    denied = sorted(waiting)[0]
    await (await person("ann")).deny((await client.get_approval(denied)).approval)
    assert await ids() == waiting
    assert await ids(approval_pb2.APPROVAL_STATE_DENIED) == {denied}
    assert await ids(min_level=approval_pb2.RISK_LEVEL_HIGH) == waiting
    assert await ids(agent="nobody") == set()


async def test_a_watch_of_approvals_survives_its_connections_and_resumes_after_any_cursor(
    server: Server, client: Client, capability: str, person: Person
) -> None:
    decider = await person("ann")
    tasks: list[str] = []
    seen: list[ApprovalFrame] = []

    async def change(watch: Watch[ApprovalFrame]) -> ApprovalFrame:
        frame = await anext(watch)
        while frame.approval.task_id not in tasks:  # of other tests
            frame = await anext(watch)
        return frame

    async with Proxy(server.address) as proxy, Client(proxy.address, server.api_key) as distant:
        async with distant.watch_approvals() as watch:
            for turn in range(3):
                tasks.append((await client.create_task([Step("a", capability, action=RISKY)])).id)
                seen.append(await change(watch))
                if turn > 0:  # the first may be of the snapshot, which would start again
                    proxy.cut()
                await decider.deny(seen[-1].approval)
                seen.append(await change(watch))
            assert watch.reconnects >= 2
    assert [frame.approval.task_id for frame in seen] == [task for task in tasks for _ in range(2)]
    assert [frame.approval.state for frame in seen] == [PENDING, approval_pb2.APPROVAL_STATE_DENIED] * 3
    for place in range(1, len(seen)):
        async with client.watch_approvals(resume_after=seen[place].cursor) as resumed:
            assert [await change(resumed) for _ in seen[place + 1 :]] == seen[place + 1 :]
