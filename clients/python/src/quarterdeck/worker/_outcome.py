"""What a handler answers, made fit for the wire.

Invariant: nothing built here breaks a rule of the contract. A message that did would end
the whole session, again and again, and not just its own step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Union

from quarterdeck._durations import Seconds
from quarterdeck._payload import Payload
from quarterdeck._typed import to_payload

_MAX_REASON = 64
_MAX_FAIL_MESSAGE = 4_000
_MAX_SHORT_MESSAGE = 1_000
_MAX_PIECE = 4_096
MAX_SHOWN = 1 << 20
_MAX_RETRY_AFTER = 604_800.0


class StepFailed(Exception):
    """Raised by a handler: the attempt failed; the step's retry policy decides what follows.

    `reason` is an UPPER_SNAKE_CASE word for machines, `message` words for people. With
    `retryable=False` the step cannot succeed, whoever tries. `retry_after`: try again after this
    long (at most 7 days) instead of the policy's backoff.
    """

    def __init__(
        self, reason: str, message: str = "", *, retryable: bool = True, retry_after: Seconds | None = None
    ) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after


class Refuse(Exception):
    """Raised by a handler: it does not want the step. Another session gets it; it costs no attempt."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Completed:
    """The step is done."""

    output: Payload


@dataclass(frozen=True)
class Failed:
    """The attempt is over without success."""

    reason: str
    message: str
    retryable: bool = True
    retry_after: float | None = None


@dataclass(frozen=True)
class Refused:
    """The step is given back."""

    message: str


Outcome = Union[Completed, Failed, Refused]


@dataclass(frozen=True)
class Draft:
    """A word on progress that has no number yet."""

    fraction: float
    message: str
    checkpoint: Payload | None = None
    partial: str = ""

    @staticmethod
    def of(fraction: float, message: str, checkpoint: Payload | None = None) -> Draft:
        """Within the contract's limits."""
        within = 0.0 if fraction != fraction else min(max(float(fraction), 0.0), 1.0)
        return Draft(within, words(message, _MAX_SHORT_MESSAGE), checkpoint)

    def superseded_by(self, later: Draft) -> Draft:
        """The later word wins, but neither a checkpoint nor partial output is lost with the earlier one."""
        return replace(
            later, checkpoint=later.checkpoint or self.checkpoint, partial=self.partial + later.partial
        )

    def cut(self) -> tuple[Draft, Draft | None]:
        """What fits into one message, and the rest of the partial output."""
        text = self.partial.encode()
        if len(text) <= _MAX_PIECE:
            return self, None
        fits = text[:_MAX_PIECE].decode(errors="ignore")
        rest = replace(self, checkpoint=None, partial=self.partial[len(fits) :])
        return replace(self, partial=fits), rest


def completed(value: Any) -> Outcome:
    """What a handler returned; an output that cannot be sent fails the step for good."""
    try:
        output = to_payload(value)
        output.check()
        return Completed(output)
    except (TypeError, ValueError, RecursionError) as error:
        return failed("OUTPUT_INVALID", f"the output cannot be sent: {error}", retryable=False)


def raised(error: BaseException) -> Outcome:
    """What a handler raised."""
    if isinstance(error, Refuse):
        return refused(error.message)
    if isinstance(error, StepFailed):
        return failed(error.reason, error.message, retryable=error.retryable, retry_after=error.retry_after)
    return failed("AGENT_ERROR", f"{type(error).__name__}: {error}")


def failed(reason: str, message: str, *, retryable: bool = True, retry_after: float | None = None) -> Failed:
    """A failure within the contract's limits."""
    if retry_after is not None:
        retry_after = min(max(retry_after, 0.0), _MAX_RETRY_AFTER)
    return Failed(word(reason), words(message, _MAX_FAIL_MESSAGE), retryable, retry_after)


def refused(message: str) -> Refused:
    """A refusal within the contract's limits."""
    return Refused(words(message, _MAX_SHORT_MESSAGE))


def word(text: str) -> str:
    """A reason as the contract wants it: `^[A-Z][A-Z0-9_]*$`."""
    fit = re.sub(r"[^A-Za-z0-9]", "_", text).upper()
    return (fit if re.match(r"[A-Z]", fit) else f"AGENT_{fit}")[:_MAX_REASON]


def words(text: str, limit: int) -> str:
    """Text that protobuf and every database take."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:limit]
