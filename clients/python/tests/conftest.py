"""One server for all tests; each test uses capabilities of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

import grpc
import pytest

from quarterdeck import Client, Worker
from quarterdeck.operations.v1 import key_service_pb2
from quarterdeck.operations.v1.key_service_pb2_grpc import KeyServiceStub
from quarterdeck.options.v1 import options_pb2
from quarterdeck.testing import Server


class Running(Protocol):
    """Runs a worker for the length of a block."""

    def __call__(
        self, worker: Worker, client: Client | None = None
    ) -> AbstractAsyncContextManager[asyncio.Task[str]]: ...


class Person(Protocol):
    """Makes clients of people who may decide on what others ask for."""

    async def __call__(self, name: str) -> Client: ...


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client


@pytest.fixture
async def person(server: Server) -> AsyncIterator[Person]:
    async with AsyncExitStack() as clients:
        channel = grpc.aio.insecure_channel(server.address.removeprefix("http://"))
        await clients.enter_async_context(channel)

        async def create(name: str) -> Client:
            request = key_service_pb2.CreateKeyRequest(
                display_name=name, person=name, roles=[options_pb2.ROLE_APPROVER], all_projects=True
            )
            metadata = (("authorization", f"Bearer {server.api_key}"),)
            made = await KeyServiceStub(channel).CreateKey(request, metadata=metadata)
            return await clients.enter_async_context(Client(server.address, made.secret))

        yield create


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
