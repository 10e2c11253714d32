"""A TCP proxy that holds bytes back and cuts connections when a test says so."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal

Direction = Literal["up", "down"]


class Proxy:
    """Between a client and a server. `up` is from client to server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._upstream = (host, int(port))
        # Of connections to come.
        self._flows: dict[Direction, asyncio.Event] = {"up": open_flow(), "down": open_flow()}
        self._connections: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.address = ""

    def hold(self, direction: Direction) -> None:
        """Bytes of the present connections wait in this direction, until those are cut."""
        self._flows[direction].clear()
        self._flows[direction] = open_flow()

    def cut(self) -> None:
        """Ends all connections at once; what was held back is lost."""
        for task in self._connections:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flows = dict(self._flows)
        server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        pumps = [
            asyncio.ensure_future(pump(reader, server_writer, flows["up"])),
            asyncio.ensure_future(pump(server_reader, writer, flows["down"])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            for side in (writer, server_writer):
                side.transport.abort()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)


def open_flow() -> asyncio.Event:
    flow = asyncio.Event()
    flow.set()
    return flow


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    while data := await reader.read(65_536):
        await flow.wait()
        writer.write(data)
        await writer.drain()
