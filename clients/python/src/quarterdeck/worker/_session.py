"""The session: what owns the book, the link and the handlers.

Invariants: handlers' words are taken at all times, connected or not; what was taken is in
the book before it is sent; a session is resumed with its token as long as the server knows
it, and everything held is given up when it does not. All of it runs in one event loop, and
no method that changes the book waits, so that each is one step.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import grpc

from quarterdeck._backoff import Backoff
from quarterdeck._errors import QuarterdeckError
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb
from quarterdeck.worker._authorize import Decided, Waits
from quarterdeck.worker._book import Book, Message
from quarterdeck.worker._context import Context
from quarterdeck.worker._handler import Handler
from quarterdeck.worker._link import SessionLink
from quarterdeck.worker._outcome import Draft, Outcome, failed, refused

if TYPE_CHECKING:
    from quarterdeck._client import Client

_log = logging.getLogger("quarterdeck.worker")

Ended = Literal["shutdown", "drained"]
State = Literal["connecting", "connected", "draining", "ended"]
T = TypeVar("T")

# Failures in a row after which the connection itself is replaced.
_FAILURES_UNTIL_FRESH = 3
# A link that lived this long ends the row of failures.
_PROVEN = 5.0
# Most leases that Hello lists.
_MAX_HELD = 1_000
_BYE_TIMEOUT = 2.0
_LOST = frozenset({"SESSION_EXPIRED", "SESSION_NOT_FOUND"})


@dataclass(frozen=True)
class Settings:
    """What an agent is."""

    agent: str
    build: str
    project: str
    slots: int
    grace: float
    abort_grace: float
    handlers: Mapping[str, Handler]


@dataclass
class Status:
    """Where a worker stands."""

    state: State = "connecting"
    session_id: str = ""
    """Session that it has or last had."""
    held: int = 0
    """Steps whose handlers are at work."""
    reconnects: int = 0
    """How often it came back with a session it had before."""


class _Phase(enum.Enum):
    SERVING = enum.auto()
    DRAINING = enum.auto()  # finishes what it holds
    CLOSING = enum.auto()  # out of time: waits for cancelled handlers alone
    OVER = enum.auto()  # waits for nothing any more


class Session:
    """One worker's life."""

    def __init__(self, client: Client, settings: Settings, status: Status, changed: asyncio.Event) -> None:
        self._client = client
        self._settings = settings
        self._status = status
        self._changed = changed
        self._book = Book()
        self._waits = Waits()
        self._handlers: set[asyncio.Task[Outcome]] = set()
        self._link: SessionLink | None = None
        self._resume_token = ""
        self._phase = _Phase.SERVING
        self._ended: Ended = "shutdown"
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        # Set once there is nothing left to do.
        self._settled = asyncio.Event()
        self._failures = 0
        self._backoff = Backoff()

    async def run(self) -> Ended:
        """Lives until it is stopped or drained; raises what trying again cannot mend."""
        try:
            await self._live()
            return self._ended
        finally:
            # Nothing is left to be told, so the handlers stop, too.
            self._book.drop_all()
            if self._handlers:
                await asyncio.wait(set(self._handlers), timeout=self._settings.abort_grace)
            if self._handlers:
                _log.warning("%d handlers did not stop when they were told to", len(self._handlers))
            if self._alarm is not None:
                self._alarm.cancel()
            self._show("ended")

    def stop(self) -> None:
        """Takes no more steps, finishes those at work within the grace, and ends."""
        self._send([Message(credit=pb.Credit(slots=0))])
        self._drain("shutdown", self._settings.grace)

    # Connecting

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        while (link := await self._connect()) is not None:
            since = loop.time()
            fault: QuarterdeckError | None = None
            try:
                await self._serve(link)
            except QuarterdeckError as error:
                fault = error
            if self._settled.is_set():
                return
            if loop.time() - since >= _PROVEN:
                self._failures = 0
                self._backoff.reset()
            else:
                # A server that welcomes and breaks must not be met in a tight loop.
                self._failures += 1
            self._show("connecting")
            if fault is not None:
                self._judge(fault)
                _log.info("agent %s: session interrupted, resuming: %s", self._settings.agent, fault)
            # After a rotation the old connection leads to the replica that wants to be left;
            # after pings without an answer it is dead.
            if fault is None or fault.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                await self._client.connection.renew(link.generation)

    async def _connect(self) -> SessionLink | None:
        """Opens a link, however long it takes; `None` where there is nothing left to do with one."""
        asked: float | None = None
        while True:
            if self._failures:
                await self._unless_settled(asyncio.sleep(self._backoff.next(asked)))
            # Where time is up, only Bye would be left to say, and the lease's end says it, too.
            if self._settled.is_set() or self._phase in (_Phase.CLOSING, _Phase.OVER):
                return None
            try:
                opened = await self._unless_settled(SessionLink.open(self._client, self._hello()))
            except QuarterdeckError as error:
                self._failures += 1
                self._judge(error)
                asked = error.retry_after
                _log.debug("agent %s: no session yet: %s", self._settings.agent, error)
                if self._failures % _FAILURES_UNTIL_FRESH == 0:
                    await self._client.connection.renew_current()
                continue
            if opened is None:
                return None
            link, welcome = opened
            self._welcomed(link, welcome)
            return link

    async def _unless_settled(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Does the work; `None` where the worker has ended before it is done."""
        task = asyncio.ensure_future(work)
        settled = asyncio.ensure_future(self._settled.wait())
        try:
            await asyncio.wait({task, settled}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            settled.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _hello(self) -> pb.Hello:
        settings = self._settings
        return pb.Hello(
            agent=settings.agent,
            build=settings.build,
            capabilities=sorted(settings.handlers),
            slots=settings.slots if self._phase is _Phase.SERVING else 0,
            project=settings.project,
            resume_token=self._resume_token,
            held_leases=self._book.held(_MAX_HELD) if self._resume_token else [],
        )

    def _welcomed(self, link: SessionLink, welcome: pb.Welcome) -> None:
        if not welcome.resumed:
            self._forget()
        self._resume_token = welcome.resume_token
        self._link = link
        link.send(self._book.unacknowledged())
        link.send(self._waits.all())
        if self._phase is not _Phase.SERVING:  # a stop between Hello and Welcome
            link.send([Message(credit=pb.Credit(slots=0))])
        self._status.session_id = welcome.session_id
        self._status.reconnects += int(welcome.resumed)
        self._show("connected" if self._phase is _Phase.SERVING else "draining")

    def _judge(self, error: QuarterdeckError) -> None:
        """Raises what trying again cannot mend."""
        if error.reason in _LOST:
            _log.warning("agent %s: the session has expired, giving up its steps", self._settings.agent)
            self._forget()
        elif not error.is_retryable:
            raise error

    def _forget(self) -> None:
        """Gives up all that is held: the server has given it to others."""
        self._resume_token = ""
        self._book.drop_all()
        self._check()

    # Connected

    async def _serve(self, link: SessionLink) -> None:
        """Until the stream breaks (raises), the server rotates it, or all is done."""
        reader = asyncio.ensure_future(self._receive(link))
        writer = asyncio.ensure_future(link.write())
        pinger = asyncio.ensure_future(link.ping())
        settled = asyncio.ensure_future(self._settled.wait())
        try:
            await asyncio.wait({reader, pinger, settled}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, pinger):
                if task.done():
                    task.result()
                    return
            await self._say_bye(link, reader)
        except asyncio.CancelledError:
            # Who runs the worker wants it to end now: what it held goes to others at once.
            self._book.drop_all()
            await self._say_bye(link, reader)
            raise
        finally:
            self._link = None
            for future in (reader, writer, pinger, settled):
                future.cancel()
            await link.close()
            await asyncio.gather(reader, writer, pinger, settled, return_exceptions=True)

    async def _say_bye(self, link: SessionLink, reader: asyncio.Future[None]) -> None:
        link.bye()
        await asyncio.wait({reader}, timeout=_BYE_TIMEOUT)

    async def _receive(self, link: SessionLink) -> None:
        while True:
            message = await link.read()
            kind = message.WhichOneof("message")
            if kind == "assign":
                self._on_assign(message.assign)
            elif kind == "ack":
                self._send(self._book.acknowledged(message.ack.lease_token, message.ack.up_to))
            elif kind == "reject":
                _log.warning("the server rejected a message: %s", message.reject.reason)
                self._send(self._book.rejected(message.reject))
            elif kind == "revoke":
                _log.info("the server took a step away: %s", pb.RevokeCause.Name(message.revoke.cause))
                self._book.drop(message.revoke.lease_token)
            elif kind == "approval_decided":
                self._waits.decided(message.approval_decided)
            elif kind == "pong":
                link.pong()
            elif kind == "go_away" and self._leaves(message.go_away):
                return
            # Else a second Welcome, or a message of a newer contract.
            self._check()

    def _on_assign(self, assign: pb.Assign) -> None:
        token = assign.lease_token
        if token in self._book:
            return
        handler = self._settings.handlers.get(assign.capability)
        full = self._book.unfinished() >= self._settings.slots
        if self._phase is _Phase.SERVING and handler is not None and not full:
            context = Context(assign, self._client, self._progressed, self._awaited)
            task = asyncio.ensure_future(handler.run(context))
            self._book.enter(token, partial(_stop, task))
            self._handlers.add(task)
            task.add_done_callback(partial(self._handled, token))
            return
        if self._phase is not _Phase.SERVING:
            why = "the agent is stopping"
        else:
            why = "all slots are taken" if full else "the agent has no handler for this capability"
        self._book.enter(token, lambda: None)
        self._send(self._book.finish(token, refused(why)))

    def _leaves(self, go_away: pb.GoAway) -> bool:
        if go_away.cause == pb.GO_AWAY_CAUSE_REPLACED:
            raise QuarterdeckError(grpc.StatusCode.ABORTED, "another connection resumed this session")
        if go_away.cause != pb.GO_AWAY_CAUSE_DRAIN:
            return True
        within = None
        if go_away.HasField("deadline"):
            within = max(go_away.deadline.ToNanoseconds() / 1e9 - time.time(), 0.0)
        self._drain("drained", within)
        return False

    # What happens here

    def _send(self, messages: list[Message]) -> None:
        # Without a link they are in the book or waited for, and go out after Welcome.
        if self._link is not None:
            self._link.send(messages)

    def _progressed(self, token: str, draft: Draft) -> None:
        self._send(self._book.progress(token, draft))

    def _awaited(self, approval_id: str) -> Decided:
        decided, message = self._waits.enter(approval_id)
        self._send([message])
        return decided

    def _handled(self, token: str, task: asyncio.Task[Outcome]) -> None:
        self._handlers.discard(task)
        if not task.cancelled() and task.exception() is None:
            outcome = task.result()
        else:  # of a lease that was dropped nothing is sent
            outcome = failed("AGENT_ERROR", "the handler was cancelled from within")
        self._send(self._book.finish(token, outcome))
        self._check()

    def _drain(self, ended: Ended, within: float | None) -> None:
        if self._phase not in (_Phase.SERVING, _Phase.DRAINING):
            return
        self._phase, self._ended = _Phase.DRAINING, ended
        if within is not None:
            self._set_alarm(within)
        self._show("draining")
        self._check()

    def _set_alarm(self, within: float) -> None:
        loop = asyncio.get_running_loop()
        at = min(self._alarm_at, loop.time() + within)
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = loop.call_at(at, self._time_up)

    def _time_up(self) -> None:
        self._alarm, self._alarm_at = None, float("inf")
        if self._phase is _Phase.DRAINING:
            _log.warning("out of time, giving %d steps back", self._book.unfinished())
            self._phase = _Phase.CLOSING
            self._book.drop_all()
            self._set_alarm(self._settings.abort_grace)
        elif self._phase is _Phase.CLOSING:
            self._phase = _Phase.OVER
        self._check()

    def _check(self) -> None:
        self._status.held = self._book.unfinished()
        if (
            self._phase is _Phase.OVER
            or (self._phase is _Phase.CLOSING and not self._handlers)
            or (self._phase is _Phase.DRAINING and not self._handlers and not len(self._book))
        ):
            self._settled.set()
        self._changed.set()

    def _show(self, state: State) -> None:
        self._status.state = state
        self._status.held = self._book.unfinished()
        self._changed.set()


def _stop(task: asyncio.Task[Outcome]) -> None:
    task.cancel()
