"""One server for all tests; each test uses capabilities of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from quarterdeck import Client, Worker
from quarterdeck.testing import Server


class Running(Protocol):
    """Runs a worker for the length of a block."""

    def __call__(
        self, worker: Worker, client: Client | None = None
    ) -> AbstractAsyncContextManager[asyncio.Task[str]]: ...


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client


@pytest.fixture
def capability() -> str:
    return f"c{uuid.uuid4().hex}"


@pytest.fixture
def running(client: Client) -> Running:
    default = client

    @asynccontextmanager
    async def run(worker: Worker, client: Client | None = None) -> AsyncIterator[asyncio.Task[str]]:
        task: asyncio.Task[str] = asyncio.ensure_future(worker.run(client or default))
        try:
            connected = asyncio.ensure_future(worker.wait_until(lambda status: status.state == "connected"))
            await asyncio.wait({connected, task}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert connected.done(), task
            yield task
        finally:
            worker.stop()
            done, _ = await asyncio.wait({task}, timeout=20)
            assert done, "the worker did not stop"
            # What it raised is for the test to look at, if it wants to.
            task.cancelled() or task.exception()

    return run


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    """No test hangs for longer than a minute."""
    alarm = asyncio.get_running_loop().call_later(60, cancel_all)
    yield
    alarm.cancel()


def cancel_all() -> None:
    """The test among them: this fixture has a task of its own, and cannot name the test's."""
    for task in asyncio.all_tasks():
        task.cancel()
