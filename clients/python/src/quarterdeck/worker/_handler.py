"""A handler: the caller's function with the type of its input."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quarterdeck._typed import InputError, Reader
from quarterdeck.worker._context import Context
from quarterdeck.worker._outcome import Outcome, completed, failed, raised

Function = Callable[..., Awaitable[Any]]


class Handler:
    """Runs steps of one capability."""

    def __init__(self, capability: str, function: Function, names: Mapping[str, Any]) -> None:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"the handler of `{capability}` must be `async def`")
        self.capability = capability
        self._function = function
        # Where the function was written: names of classes that are local there.
        self._names = dict(names)
        self._parameters = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        if len(self._parameters) not in (1, 2):
            raise TypeError(f"the handler of `{capability}` must take a context and, mostly, an input")
        self._reader: Reader | None = None

    def resolve(self) -> None:
        """Looks the input's type up. NameError where there is none of that name."""
        if len(self._parameters) == 1:
            return
        wanted = self._parameters[1].annotation
        if isinstance(wanted, str):
            scope = getattr(self._function, "__globals__", {})
            wanted = eval(wanted, scope, self._names)  # what `typing.get_type_hints` does, too
        self._reader = Reader(Any if wanted is inspect.Parameter.empty else wanted, self._names)

    async def run(self, context: Context) -> Outcome:
        """One attempt. Cancellation passes through; everything else is an outcome."""
        arguments: list[Any] = [context]
        try:
            if self._reader is not None:
                arguments.append(self._reader.read(context.input))
        except InputError as error:
            return failed("INPUT_INVALID", str(error), retryable=False)
        try:
            return completed(await self._function(*arguments))
        except Exception as error:  # whatever a handler raises is its step's failure
            return raised(error)
