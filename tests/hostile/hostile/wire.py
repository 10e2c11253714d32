"""HTTP/2 as an attacker speaks it: a connection that says what it is told to, legal or not.

`h2` opens the connection and `hpack` encodes headers; what `h2` would refuse to send is made from
`hyperframe`'s frames or, where thousands a second are needed, from bytes. Nothing here blocks: a
server that does not read makes `busy` true, and the attacker waits like a real one.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hpack import Encoder, NeverIndexedHeaderTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
TICK = 0.01
_UNSENT_MAX = 256 * 1024
_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK)

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame, whether it makes sense or not."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(payload: bytes = b"") -> bytes:
    """A gRPC message as it stands in DATA frames."""
    return struct.pack(">BI", 0, len(payload)) + payload


def call_headers(path: str, key: str = "", extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The header block of a call; it touches no dynamic table, so any stream may use it."""
    pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "hostile.test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *extra,
    ]
    if key:
        pairs.append(("authorization", f"Bearer {key}"))
    return Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in pairs])


def preface(settings: dict[SettingCodes, int] | None = None) -> bytes:
    """What a client opens a connection with."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    opening = connection.data_to_send()
    if settings:
        body = b"".join(struct.pack(">HI", code, value) for code, value in settings.items())
        opening += frame(SETTINGS, 0, 0, body)
    return opening


@dataclass
class Arena:
    """Where an attack happens: the server, for how long, and what came of it."""

    address: tuple[str, int]
    source: str
    key: str
    seconds: float
    tally: Counter[str] = field(default_factory=Counter)
    lines: list[Line] = field(default_factory=list)
    end: float = 0.0

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.seconds

    def ticks(self) -> Iterator[int]:
        """Once every 10 ms until the time is up; what a slow attacker misses is not made up for."""
        count, due = 0, time.monotonic()
        while (now := time.monotonic()) < self.end:
            if now < due:
                time.sleep(due - now)
            due = max(due + TICK, time.monotonic() - TICK)
            for line in self.lines:
                line.pump()
            yield count
            count += 1

    def open(self, opening: bytes | None = None, *, reads: bool = True) -> Line:
        """A new connection that begins with these bytes, by default a plain preface."""
        line = Line(self, reads)
        self.lines.append(line)
        line.send(preface() if opening is None else opening)
        return line

    def keep(self, count: int, opening: bytes | None = None, *, reads: bool = True) -> list[Line]:
        """Sees to it that so many connections are open, at most two new ones a call."""
        alive = self.alive()
        for _ in range(min(2, count - len(alive))):
            alive.append(self.open(opening, reads=reads))
        return alive

    def alive(self) -> list[Line]:
        self.lines = [line for line in self.lines if not line.closed]
        return list(self.lines)

    def sent(self, frames: int) -> None:
        self.tally["frames"] += frames

    def close(self) -> None:
        for line in self.alive():
            line.pump()
        self.tally["open_at_end"] = len(self.alive())
        for line in self.lines:
            line.close()


class Line:
    """One connection of the attacker's."""

    def __init__(self, arena: Arena, reads: bool) -> None:
        self._arena, self._reads = arena, reads
        self._out, self._in = bytearray(), bytearray()
        self.closed = False
        self.next_stream = 1
        self.said = 0
        """Frames that were sent here, counted by the attack."""
        self.heard: Counter[int] = Counter()
        """Frames of the server's, by kind."""
        self.credit = 65_535
        """Bytes of DATA that the connection's window still takes."""
        # Calls of whose answer something has come.
        self._answered: set[int] = set()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Thousands of connections from one address need its ports again at once.
        self._socket.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self._socket.bind((arena.source, 0))
        arena.tally["connections"] += 1
        code = self._socket.connect_ex(arena.address)
        if code not in (0, *_IN_PROGRESS):
            self._ended()

    @property
    def busy(self) -> bool:
        """True while the server does not take what was sent."""
        return len(self._out) > _UNSENT_MAX

    def stream(self) -> int:
        """A fresh stream id."""
        self.next_stream += 2
        return self.next_stream - 2

    def send(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out and not self.closed:
                count = self._socket.send(self._out[:131_072])
                self._arena.tally["bytes"] += count
                del self._out[:count]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, *_IN_PROGRESS):
                self._ended()

    def pump(self) -> None:
        """Sends what is left, takes what is there."""
        if self.closed:
            return
        self._flush()
        if not self._reads:
            return
        try:
            # Bounded, so that a server with much to say does not stop the attack.
            for _ in range(16):
                data = self._socket.recv(65_536)
                if not data:
                    self._ended()
                    break
                self._in += data
                if len(data) < 65_536:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._ended()
        self._frames()

    def _frames(self) -> None:
        position = 0
        while len(self._in) - position >= 9:
            length = int.from_bytes(self._in[position : position + 3], "big")
            kind, flags = self._in[position + 3], self._in[position + 4]
            if len(self._in) - position < 9 + length:
                break
            payload = bytes(self._in[position + 9 : position + 9 + length])
            position += 9 + length
            stream = int.from_bytes(self._in[position - length - 4 : position - length], "big")
            self._hear(kind, flags, stream, payload)
        del self._in[:position]

    def _hear(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.heard[kind] += 1
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            # Answered, so that the server's keepalive is not what ends an attack.
            self.send(frame(PING, ACK, 0, payload))
        elif kind == DATA:
            self._answered.add(stream)
        elif kind == HEADERS and flags & END_STREAM:
            # Trailers: of an answer, or of an error where nothing came before them.
            self._arena.tally["refused"] += stream not in self._answered
            self._answered.discard(stream)
        elif kind == WINDOW_UPDATE and stream == 0:
            self.credit += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self._arena.tally[f"goaway_{int.from_bytes(payload[4:8], 'big')}"] += 1
        elif kind == RST_STREAM:
            self._arena.tally[f"rst_{int.from_bytes(payload[:4], 'big')}"] += 1

    def _ended(self) -> None:
        if not self.closed:
            self._arena.tally["cut"] += 1
            self.close()

    def close(self) -> None:
        self.closed = True
        self._socket.close()
