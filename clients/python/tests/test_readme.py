"""The README's programs run as they are printed."""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Client, Context, Step, Worker
from quarterdeck.approvals.v1 import approval_pb2
from quarterdeck.orchestration.v1 import task_pb2
from quarterdeck.testing import Server

from .conftest import Person, Running

README = Path(__file__).resolve().parent.parent / "README.md"


def programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def run_program(source: str, scope: dict[str, Any]) -> None:
    # Without this file's own `from __future__`.
    exec(compile(source, str(README), "exec", dont_inherit=True), scope)


def make_worker(source: str, scope: dict[str, Any]) -> Worker:
    """A program that serves, up to there."""
    source, _, last = source.rpartition("\nworker.serve()")
    assert not last.partition("#")[0].strip()
    run_program(source, scope)
    worker = scope["worker"]
    assert isinstance(worker, Worker)
    return worker


def make_coroutine(source: str, scope: dict[str, Any]) -> Awaitable[None]:
    """A program that awaits, as its imports and a function."""
    imports, _, body = source.partition("\n\n")
    run_program(f"{imports}\nasync def program():\n{textwrap.indent(body, '    ')}", scope)
    program: Awaitable[None] = scope["program"]()
    return program


async def test_the_readmes_agent_and_client_work_together(
    server: Server,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent, _, _, client, testing = programs()
    scope: dict[str, Any] = {"__name__": "readme"}
    worker = make_worker(agent, scope)

    @worker.step("print")
    async def show(ctx: Context) -> Any:
        return (await ctx.dependencies())["hello"]["greeting"]

    monkeypatch.setenv("QUARTERDECK_ADDRESS", server.address)
    monkeypatch.setenv("QUARTERDECK_API_KEY", server.api_key)
    async with Client() as own, running(worker, own):
        await asyncio.wait_for(make_coroutine(client, scope), 30)
    printed = capsys.readouterr().out
    assert "task_ended" in printed
    assert "'print': 'Good to see you, Ada!'" in printed

    run_program(testing.replace("Server()", "Server(start_timeout=20)"), scope)
    assert isinstance(scope["client"], Client)


class Database:
    def __init__(self) -> None:
        self.executed: list[str] = []

    async def execute(self, text: str) -> None:
        self.executed.append(text)


async def test_the_readmes_agent_asks_and_its_approver_decides(
    server: Server, client: Client, running: Running, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, agent, approver, _, _ = programs()
    database = Database()
    worker = make_worker(agent, {"__name__": "readme", "database": database})
    ann = await person("ann")
    monkeypatch.setenv("QUARTERDECK_ADDRESS", server.address)
    monkeypatch.setenv("QUARTERDECK_API_KEY", ann.metadata[0][1].removeprefix("Bearer "))
    scope = {"__name__": "readme", "looks_good": lambda preview: "tenant_7" in str(preview)}
    deciding = asyncio.ensure_future(make_coroutine(approver, scope))
    async with running(worker):
        for tenant, state in ((7, task_pb2.TASK_STATE_SUCCEEDED), (8, task_pb2.TASK_STATE_FAILED)):
            task = await client.create_task([Step("a", "remove-tenant", tenant)])
            ended = await client.wait_for_task(task.id, timeout=30)
            assert ended.state == state, ended.stop_reason
    deciding.cancel()
    await asyncio.wait({deciding})
    assert database.executed == ["DROP SCHEMA tenant_7 CASCADE"]
    [denied, carried_out] = [one async for one in client.list_approvals(agent="janitor")]
    assert denied.state == approval_pb2.APPROVAL_STATE_DENIED
    assert carried_out.state == approval_pb2.APPROVAL_STATE_REDEEMED
    assert list(carried_out.report.surplus) == []
