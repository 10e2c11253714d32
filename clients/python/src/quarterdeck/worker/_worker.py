"""An agent: functions by capability, and the session that runs them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from quarterdeck._client import Client
from quarterdeck.worker._handler import Handler
from quarterdeck.worker._session import Ended, Session, Settings, Status

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_MAX_CAPABILITIES = 64
_MAX_SLOTS = 1_000


class Worker:
    """An agent. Several sessions may share its name.

    `slots`: how many steps it holds at a time. `build`: its version, for people. `project`: whom to
    work for; the credential's only one unless set. `grace`: how many seconds a stop waits for the
    steps at work. `abort_grace`: how many it waits for handlers that were cancelled.

    Handlers share one event loop with the session: one that computes for seconds without an `await`
    silences the agent; use `asyncio.to_thread` there.
    """

    def __init__(
        self,
        agent: str,
        *,
        slots: int = 1,
        build: str = "",
        project: str = "",
        grace: float = 10.0,
        abort_grace: float = 2.0,
    ) -> None:
        if not 1 <= slots <= _MAX_SLOTS:
            raise ValueError(f"slots must be 1 to {_MAX_SLOTS}, not {slots}")
        self._handlers: dict[str, Handler] = {}
        self._settings = Settings(agent, build, project, slots, grace, abort_grace, self._handlers)
        self._status = Status()
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self._stopping = False

    def step(self, capability: str) -> Callable[[F], F]:
        """Makes a function the handler of a capability: `async def f(ctx: Context, input: T) -> U`.

        The step's input is converted to T (see `quarterdeck.InputError` for what happens where it
        does not fit: the step fails for good with INPUT_INVALID); what is returned is its output.
        """
        names = sys._getframe(1).f_locals

        def register(function: F) -> F:
            if capability in self._handlers:
                raise ValueError(f"`{capability}` has a handler already")
            if len(self._handlers) == _MAX_CAPABILITIES:
                raise ValueError(f"an agent has at most {_MAX_CAPABILITIES} capabilities")
            self._handlers[capability] = Handler(capability, function, names)
            return function

        return register

    @property
    def status(self) -> Status:
        """Where the worker stands now."""
        return replace(self._status)

    async def wait_until(self, condition: Callable[[Status], bool]) -> Status:
        """Waits until the status fulfils a condition."""
        while not condition(self._status):
            self._changed.clear()
            await self._changed.wait()
        return self.status

    def stop(self) -> None:
        """Ends `run` gently: no more steps, those at work are finished within the grace.

        Call it in the event loop's own thread.
        """
        self._stopping = True
        if self._session is not None:
            self._session.stop()

    async def run(self, client: Client | None = None) -> Ended:
        """Holds a session and runs the steps it is given, over any number of reconnects, until
        `stop` or an operator drains the agent; answers which.

        Without a client it makes its own from the environment. Raises `QuarterdeckError` only for
        what trying again cannot mend: a credential that may not do this, an unknown project, a
        session that another process took over. Cancelling it cancels the handlers; their steps go
        to others at once.
        """
        if not self._handlers:
            raise ValueError("an agent needs a capability: add a function with @worker.step(..)")
        if self._session is not None:
            raise RuntimeError("the worker runs already")
        for handler in self._handlers.values():
            handler.resolve()
        own = Client() if client is None else None
        self._session = Session(client or own or Client(), self._settings, self._status, self._changed)
        try:
            if self._stopping:
                self._session.stop()
            return await self._session.run()
        finally:
            self._session = None
            self._stopping = False
            if own is not None:
                await own.close()

    def serve(self, client: Client | None = None) -> Ended:
        """`run` as a whole program: until SIGINT or SIGTERM, which stop it gently."""

        async def main() -> Ended:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                with suppress(NotImplementedError):  # where the system has no such handlers
                    loop.add_signal_handler(number, self.stop)
            return await self.run(client)

        return asyncio.run(main())
