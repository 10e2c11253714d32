"""The README's programs run as they are printed."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Client, Context, Worker
from quarterdeck.testing import Server

from .conftest import Running

README = Path(__file__).resolve().parent.parent / "README.md"


def programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def run_program(source: str, scope: dict[str, Any]) -> None:
    # Without this file's own `from __future__`.
    exec(compile(source, str(README), "exec", dont_inherit=True), scope)


async def test_the_readmes_agent_and_client_work_together(
    server: Server,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent, client, testing = programs()
    agent, _, last = agent.rpartition("\nworker.serve()")
    assert last.strip().startswith("#")
    scope: dict[str, Any] = {"__name__": "readme"}
    run_program(agent, scope)
    worker = scope["worker"]
    assert isinstance(worker, Worker)

    @worker.step("print")
    async def show(ctx: Context) -> Any:
        return (await ctx.dependencies())["hello"]["greeting"]

    monkeypatch.setenv("QUARTERDECK_ADDRESS", server.address)
    monkeypatch.setenv("QUARTERDECK_API_KEY", server.api_key)
    async with Client() as own, running(worker, own):
        imports, _, body = client.partition("\n\n")
        run_program(f"{imports}\nasync def program():\n{textwrap.indent(body, '    ')}", scope)
        await asyncio.wait_for(scope["program"](), 30)
    printed = capsys.readouterr().out
    assert "task_ended" in printed
    assert "'print': 'Good to see you, Ada!'" in printed

    run_program(testing.replace("Server()", "Server(start_timeout=20)"), scope)
    assert isinstance(scope["client"], Client)
