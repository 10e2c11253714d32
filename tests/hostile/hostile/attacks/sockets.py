"""Sockets: held for nothing, or opened for nothing."""

from __future__ import annotations

import os
import time

from hostile.attacks import attack
from hostile.wire import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    HEALTH_CHECK,
    Arena,
    Line,
    call_headers,
    frame,
    preface,
)


@attack(
    "2,400 prefaces that never come, stop half way, or arrive byte by byte",
    closes_all=True,
    seconds=14,
    connections=1_000,
)
def unfinished_prefaces(arena: Arena) -> None:
    # The server gives a client ten seconds to say hello; these are all there after three.
    whole, lines = preface(), list[Line]()
    for tick in arena.ticks():
        late = arena.end - time.monotonic() < arena.seconds - 3
        for _ in range(0 if late else min(9, 2_400 - len(lines))):
            slow = len(lines) % 3 == 2
            line = arena.open(b"PRI" if slow else (b"", b"PRI * HTTP/2")[len(lines) % 3])
            line.said = 3 if slow else len(whole)
            lines.append(line)
        # A byte a second: the preface's 24 are not there in time.
        for line in lines[tick % 100 :: 100]:
            if not line.closed:
                line.send(whole[line.said : line.said + 1])
                line.said += 1


@attack("3,000 connections that say nothing after the preface", cut=True, seconds=6, connections=2_600)
def idle_sockets(arena: Arena) -> None:
    # More than one address may have, and all in time for the rest of the attack.
    opened = 0
    for _ in arena.ticks():
        for _ in range(min(20, 3_000 - opened)):
            arena.open()
            opened += 1


@attack("TLS that begins and does not go on, 100 a second", closes_all=True, connections=100)
def half_tls(arena: Arena) -> None:
    for _ in arena.ticks():
        if arena.end - time.monotonic() > 1:
            arena.open(b"\x16\x03\x01\x02\x00\x01\x00")


@attack("200 connections a second that make one call and leave", connections=200)
def churn(arena: Arena) -> None:
    opening = preface() + frame(HEADERS, END_HEADERS | END_STREAM, 1, call_headers(HEALTH_CHECK))
    for _ in arena.ticks():
        for line in arena.alive()[:-20]:
            line.close()
        for _ in range(2):
            arena.open(opening)
            arena.sent(1)


@attack("noise, with and without a preface", cut=True, connections=100)
def noise(arena: Arena) -> None:
    for tick in arena.ticks():
        for line in arena.keep(10, preface() if tick % 2 else b""):
            line.send(os.urandom(2_000))
            arena.sent(1)
