"""The book of leases: what the agent holds, and what it said that is not durable yet.

Invariants: messages of a lease are numbered from 1 without gaps; a number, once given,
belongs to its message for ever, and that message stays here until it is acknowledged or
the lease ends. A lease holds at most one word on progress that is on its way, one that
waits, what of that had to go ahead of the end, and one final message: the book is
bounded by the slots and the limit of partial output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quarterdeck._durations import to_proto
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb
from quarterdeck.worker._outcome import Completed, Draft, Failed, Outcome, failed, words

Message = pb.SessionRequest
Number = Callable[[int], Message]

_AT_FAULT = frozenset({"FIELDS_INVALID", "MESSAGE_TOO_LARGE", "MESSAGE_MALFORMED"})


@dataclass
class _Lease:
    stop: Callable[[], None]
    next_number: int = 1
    unacknowledged: list[Message] = field(default_factory=list)
    waiting: Draft | None = None
    shown: int = 0
    finished: bool = False

    def number(self, make: Number) -> Message:
        message = make(self.next_number)
        self.next_number += 1
        self.unacknowledged.append(message)
        return message

    def release(self, token: str) -> list[Message]:
        """The word on progress that waits, unless one is on its way."""
        if self.finished or self.unacknowledged or self.waiting is None:
            return []
        return [self.word(token, self.waiting)]

    def word(self, token: str, draft: Draft) -> Message:
        """A message of this draft; what does not fit into it waits on."""
        now, self.waiting = draft.cut()
        offset = self.shown
        self.shown += len(now.partial.encode())
        return self.number(lambda number: _progress(token, number, offset, now))


class Book:
    """Leases by token. Methods answer the messages that are to be sent now."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}

    def __contains__(self, token: str) -> bool:
        return token in self._leases

    def __len__(self) -> int:
        return len(self._leases)

    def enter(self, token: str, stop: Callable[[], None]) -> None:
        """Enters a new lease; `stop` tells its handler to stop."""
        self._leases[token] = _Lease(stop)

    def unfinished(self) -> int:
        """Leases whose handler is at work."""
        return sum(not lease.finished for lease in self._leases.values())

    def held(self, limit: int) -> list[str]:
        """Tokens to list at a resume; those at work first, for the list is limited."""
        return sorted(self._leases, key=lambda token: self._leases[token].finished)[:limit]

    def progress(self, token: str, draft: Draft) -> list[Message]:
        """Takes a word on progress; one that still waits is superseded."""
        lease = self._leases.get(token)
        if lease is None or lease.finished:
            return []
        lease.waiting = lease.waiting.superseded_by(draft) if lease.waiting else draft
        return lease.release(token)

    def finish(self, token: str, outcome: Outcome) -> list[Message]:
        """Takes the end of a step."""
        lease = self._leases.get(token)
        if lease is None or lease.finished:
            return []
        messages = []
        # Of the progress that waits partial output matters still, and to a next attempt a checkpoint.
        last = lease.waiting
        if last is not None and not last.partial and not (isinstance(outcome, Failed) and last.checkpoint):
            lease.waiting = None
        while lease.waiting is not None:
            messages.append(lease.word(token, lease.waiting))
        lease.finished = True
        messages.append(lease.number(lambda number: _final(token, number, outcome)))
        return messages

    def acknowledged(self, token: str, up_to: int) -> list[Message]:
        """Everything of a lease up to a number is durable."""
        lease = self._leases.get(token)
        if lease is None:
            return []
        lease.unacknowledged = [message for message in lease.unacknowledged if number_of(message) > up_to]
        if lease.finished and not lease.unacknowledged:
            del self._leases[token]
            return []
        return lease.release(token)

    def rejected(self, reject: pb.Reject) -> list[Message]:
        """A message does not count. Usually the lease is gone, and nothing more is said about it.

        Where the message itself was at fault the step must not hang on it: a completion is
        turned into a failure, other words are forgotten.
        """
        token = reject.lease_token
        lease = self._leases.get(token)
        if lease is None:
            return []
        faulty = [m for m in lease.unacknowledged if number_of(m) == reject.number]
        lease.unacknowledged = [m for m in lease.unacknowledged if number_of(m) != reject.number]
        kind = faulty[0].WhichOneof("message") if faulty else None
        if reject.reason in _AT_FAULT and kind == "progress":
            return lease.release(token)
        if reject.reason in _AT_FAULT and kind == "complete":
            outcome = failed("OUTPUT_INVALID", words(reject.message, 1_000), retryable=False)
            return [lease.number(lambda number: _final(token, number, outcome))]
        self.drop(token)
        return []

    def drop(self, token: str) -> None:
        """Ends a lease: its handler is told to stop, and nothing more is sent for it."""
        lease = self._leases.pop(token, None)
        if lease is not None:
            lease.stop()

    def drop_all(self) -> None:
        """Ends all leases."""
        for token in list(self._leases):
            self.drop(token)

    def unacknowledged(self) -> list[Message]:
        """Everything that is not acknowledged, each lease's messages in their order."""
        return [message for lease in self._leases.values() for message in lease.unacknowledged]


def number_of(message: Message) -> int:
    """Its place in the lease's sequence."""
    kind = message.WhichOneof("message")
    return int(getattr(message, kind).number) if kind else 0


def _progress(token: str, number: int, offset: int, draft: Draft) -> Message:
    progress = pb.Progress(
        lease_token=token,
        number=number,
        fraction=draft.fraction,
        message=draft.message,
        partial_output=draft.partial,
        partial_offset=offset,
    )
    if draft.checkpoint is not None:
        progress.checkpoint.CopyFrom(draft.checkpoint.proto)
    return Message(progress=progress)


def _final(token: str, number: int, outcome: Outcome) -> Message:
    if isinstance(outcome, Completed):
        return Message(complete=pb.Complete(lease_token=token, number=number, output=outcome.output.proto))
    if isinstance(outcome, Failed):
        fail = pb.Fail(
            lease_token=token,
            number=number,
            reason=outcome.reason,
            message=outcome.message,
            not_retryable=not outcome.retryable,
        )
        if outcome.retry_after is not None:
            fail.retry_after.CopyFrom(to_proto(outcome.retry_after))
        return Message(fail=fail)
    return Message(refuse=pb.Refuse(lease_token=token, number=number, message=outcome.message))
