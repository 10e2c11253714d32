"""Watches that outlive their connections.

A watch remembers the cursor of the last frame it handed out and opens the stream again
after it when the stream breaks, falls silent or ends early. The server promises that
nothing is missed and nothing comes twice; this code checks neither and hides neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

import grpc
import grpc.aio

from quarterdeck._backoff import Backoff
from quarterdeck._channel import Stubs
from quarterdeck._errors import QuarterdeckError, from_rpc, transport_error
from quarterdeck.approvals.v1 import approval_pb2, approval_service_pb2
from quarterdeck.orchestration.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from quarterdeck._client import Client

_FAILURES_UNTIL_FRESH = 3

_Tasks = Union[task_service_pb2.WatchTaskResponse, task_service_pb2.WatchTasksResponse]
F = TypeVar("F")
R = TypeVar("R", task_service_pb2.WatchTasksRequest, approval_service_pb2.WatchApprovalsRequest)


@dataclass(frozen=True)
class Frame:
    """One frame that carries something; heartbeats are not shown."""

    cursor: str
    """Where to resume after this frame."""
    snapshot: task_pb2.Task | None = None
    """A task as it is at the start of the watch."""
    event: task_pb2.TaskEvent | None = None
    """What happened after."""

    @property
    def kind(self) -> str:
        """`snapshot`, or the kind of the event, such as `step_succeeded`."""
        return (self.event.WhichOneof("kind") or "") if self.event is not None else "snapshot"


@dataclass(frozen=True)
class ApprovalFrame:
    """An approval as it is after a change; heartbeats are not shown."""

    cursor: str
    """Where to resume after this frame; empty for those that were pending at the start."""
    approval: approval_pb2.Approval


@dataclass(frozen=True)
class Source(Generic[F]):
    """What is followed."""

    open: Callable[[Stubs, str, Any], Any]
    """Its stream after a cursor, with a credential."""
    read: Callable[[Any], F | None]
    """What an answer carries; `None` for a heartbeat."""
    is_last: Callable[[F], bool] = lambda frame: False
    """True for the frame after which nothing more can come."""
    task_id: str | None = None
    """The task that it ends with."""


def is_ended(task: task_pb2.Task) -> bool:
    """True for a task that does not change any more."""
    return task.state not in (task_pb2.TASK_STATE_UNSPECIFIED, task_pb2.TASK_STATE_RUNNING)


def _task_frame(raw: _Tasks) -> Frame | None:
    kind = raw.WhichOneof("frame")
    if kind is None:
        return None
    if kind == "snapshot":
        return Frame(raw.cursor, snapshot=raw.snapshot)
    return Frame(raw.cursor, event=raw.event)


def _ends_task(frame: Frame) -> bool:
    if frame.event is not None:
        return frame.event.HasField("task_ended")
    return frame.snapshot is not None and is_ended(frame.snapshot)


def task_source(task_id: str) -> Source[Frame]:
    """One task, to its end."""

    def open_stream(stubs: Stubs, cursor: str, metadata: Any) -> Any:
        request = task_service_pb2.WatchTaskRequest(task_id=task_id, resume_after=cursor)
        return stubs.tasks.WatchTask(request, metadata=metadata)

    return Source(open_stream, _task_frame, _ends_task, task_id)


def tasks_source(request: task_service_pb2.WatchTasksRequest) -> Source[Frame]:
    """The tasks of a project."""

    def open_stream(stubs: Stubs, cursor: str, metadata: Any) -> Any:
        return stubs.tasks.WatchTasks(_after(request, cursor), metadata=metadata)

    return Source(open_stream, _task_frame)


def approvals_source(request: approval_service_pb2.WatchApprovalsRequest) -> Source[ApprovalFrame]:
    """The approvals of a project."""

    def open_stream(stubs: Stubs, cursor: str, metadata: Any) -> Any:
        return stubs.approvals.WatchApprovals(_after(request, cursor), metadata=metadata)

    def read(raw: approval_service_pb2.WatchApprovalsResponse) -> ApprovalFrame | None:
        return ApprovalFrame(raw.cursor, raw.approval) if raw.HasField("approval") else None

    return Source(open_stream, read)


def _after(request: R, cursor: str) -> R:
    again = type(request)()
    again.CopyFrom(request)
    again.resume_after = cursor
    return again


class Watch(AsyncIterator[F]):
    """The frames of a watch: `async for frame in watch`. Close it, or use it as `async with`, where
    it is left before its end."""

    def __init__(self, client: Client, source: Source[F], cursor: str) -> None:
        self.cursor = cursor
        """Of the last frame, heartbeats included."""
        self.reconnects = 0
        """How often the stream was opened again so far."""
        self._client = client
        self._source = source
        self._open = AsyncExitStack()
        self._call: Any = None
        self._generation = 0
        self._carried = False
        self._backoff = Backoff(cap=5.0)
        self._failures = 0
        self._heard: float | None = None
        self._ever_heard = False
        self._idle_ends = 0
        self._finished = False

    def __aiter__(self) -> Watch[F]:
        return self

    async def __aenter__(self) -> Watch[F]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the watch."""
        self._finished = True
        await self._leave()

    async def __anext__(self) -> F:
        while not self._finished:
            try:
                frame = await self._step()
            except BaseException:
                await self.close()
                raise
            if frame is not None:
                return frame
        await self._leave()
        raise StopAsyncIteration

    async def _step(self) -> F | None:
        if self._heard is None:
            self._heard = asyncio.get_running_loop().time()
        try:
            if self._call is None:
                link = await self._open.enter_async_context(self._client.connection.use())
                self._generation, self._carried = link.generation, False
                self._call = self._source.open(link.stubs, self.cursor, self._client.metadata)
            raw = await asyncio.wait_for(self._call.read(), self._client.watch_silence)
        except asyncio.TimeoutError:
            words = f"no frame of the watch within {self._client.watch_silence} s"
            await self._broken(transport_error(grpc.StatusCode.UNAVAILABLE, words))
            return None
        except grpc.aio.AioRpcError as error:
            await self._broken(from_rpc(error))
            return None
        if raw is grpc.aio.EOF:
            await self._ended()
            return None
        return self._received(raw)

    def _received(self, raw: Any) -> F | None:
        self._heard, self._ever_heard = asyncio.get_running_loop().time(), True
        self._failures = 0
        self._backoff.reset()
        self.cursor = raw.cursor or self.cursor
        frame = self._source.read(raw)
        if frame is not None:
            self._carried = True
            self._finished = self._source.is_last(frame)
        return frame

    async def _ended(self) -> None:
        """The server closed the stream without an error and without the task's end."""
        self._idle_ends = 0 if self._carried else self._idle_ends + 1
        # Whoever resumes after the last event of an ended task gets no frame at all;
        # twice, for the first may have been a server that stops.
        task_id = self._source.task_id
        if task_id is not None and self._idle_ends >= 2 and is_ended(await self._client.get_task(task_id)):
            self._finished = True
            return
        await self._broken(transport_error(grpc.StatusCode.UNAVAILABLE, "the server ended the watch early"))

    async def _broken(self, error: QuarterdeckError) -> None:
        """Waits before the next try, or gives up with the error."""
        await self._leave()
        loop, client = asyncio.get_running_loop(), self._client
        patience = client.reconnect_for if self._ever_heard else client.deadline
        waited = loop.time() - (self._heard or 0.0)
        if not error.is_retryable or waited >= patience:
            raise error
        self._failures += 1
        if self._failures >= _FAILURES_UNTIL_FRESH:
            await client.connection.renew(self._generation)
        self.reconnects += 1
        await asyncio.sleep(self._backoff.next(error.retry_after))

    async def _leave(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        await self._open.aclose()
