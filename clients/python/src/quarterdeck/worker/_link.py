"""One connection's session stream: opening it, sending on it, and its sign of life."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from quarterdeck._durations import from_proto
from quarterdeck._errors import QuarterdeckError, from_rpc, transport_error
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb

if TYPE_CHECKING:
    from quarterdeck._client import Client

_log = logging.getLogger("quarterdeck.worker")

_WELCOME_TIMEOUT = 10.0
_DEFAULT_PING = 5.0
# Pings that may be without an answer before the connection counts as dead.
_UNANSWERED_PINGS = 2


class SessionLink:
    """An open session stream."""

    def __init__(self, call: Any, generation: int, keep: AsyncExitStack) -> None:
        self.generation = generation
        self._call = call
        self._keep = keep
        self._ping_every = _DEFAULT_PING
        self._unanswered = 0
        self._closing = False
        # Holds what the book has unacknowledged, what is waited for, a few pings, one
        # credit and one bye: bounded by the slots.
        self._waiting: deque[pb.SessionRequest] = deque()
        self._wake = asyncio.Event()

    @staticmethod
    async def open(client: Client, hello: pb.Hello) -> tuple[SessionLink, pb.Welcome]:
        """Opens a stream with Hello and waits for Welcome."""
        async with AsyncExitStack() as opening:
            link = await opening.enter_async_context(client.connection.use())
            call = link.stubs.worker.Session(metadata=client.metadata)
            opening.callback(call.cancel)
            session = SessionLink(call, link.generation, opening)
            try:
                welcome = await asyncio.wait_for(session._greet(hello), _WELCOME_TIMEOUT)
            except asyncio.TimeoutError:
                words = f"no Welcome within {_WELCOME_TIMEOUT:.0f} s"
                raise transport_error(grpc.StatusCode.DEADLINE_EXCEEDED, words) from None
            session._keep = opening.pop_all()
            return session, welcome
        raise AssertionError("unreachable")

    async def _greet(self, hello: pb.Hello) -> pb.Welcome:
        # Where this breaks, reading says why.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(pb.SessionRequest(hello=hello))
        while True:
            message = await self.read()
            kind = message.WhichOneof("message")
            if kind == "welcome":
                every = from_proto(message.welcome.ping_interval)
                self._ping_every = every if every > 0 else _DEFAULT_PING
                return message.welcome
            if kind is not None:  # None: a message of a newer contract
                raise QuarterdeckError(grpc.StatusCode.INTERNAL, "the server's first message is no Welcome")

    async def read(self) -> pb.SessionResponse:
        """The next message."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        if message is grpc.aio.EOF:
            raise transport_error(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")
        assert isinstance(message, pb.SessionResponse)
        return message

    def send(self, messages: Iterable[pb.SessionRequest]) -> None:
        """Puts messages in the order of sending; `write` sends them."""
        self._waiting.extend(messages)
        self._wake.set()

    def pong(self) -> None:
        """The server answered."""
        self._unanswered = 0

    async def write(self) -> None:
        """Sends what waits, until Bye is sent or the stream breaks; reading says why it did."""
        try:
            while True:
                while self._waiting:
                    await self._call.write(self._waiting[0])
                    self._waiting.popleft()
                if self._closing:
                    await self._call.done_writing()
                    return
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            _log.debug("the session stream is broken: %s", error)

    async def ping(self) -> None:
        """Pings, and raises where the server owes too many answers."""
        while True:
            await asyncio.sleep(self._ping_every)
            if self._unanswered >= _UNANSWERED_PINGS:
                raise transport_error(grpc.StatusCode.DEADLINE_EXCEEDED, "two pings without an answer")
            self._unanswered += 1
            self.send([pb.SessionRequest(ping=pb.Ping())])

    def bye(self) -> None:
        """Says Bye after what waits; the server ends the stream when it has heard it."""
        self._closing = True
        self.send([pb.SessionRequest(bye=pb.Bye())])

    async def close(self) -> None:
        """Ends the stream."""
        await self._keep.aclose()
