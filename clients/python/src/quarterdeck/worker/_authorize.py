"""Asking for a yes in the middle of a step: what comes of it, and what is waited for.

What became of a request is told on the session. Invariant: every connection of it is asked
again for what is still waited for, and for nothing else. `Context.authorize` is who asks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from quarterdeck.approvals.v1 import action_pb2, approval_pb2
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb
from quarterdeck.worker._outcome import StepFailed

_REASONS: dict[int, str] = {
    approval_pb2.APPROVAL_STATE_DENIED: "APPROVAL_DENIED",
    approval_pb2.APPROVAL_STATE_EXPIRED: "APPROVAL_TIMEOUT",
}


@dataclass(frozen=True)
class StartedAction:
    """An action that is recorded as started."""

    approval_id: str
    action: action_pb2.Action
    """What to carry out. Not what was asked for where people edited it."""
    idempotency_key: str
    """The same for every answer to this start: hand it to systems that can tell a repetition by it."""


class NotApproved(StepFailed):
    """The action may not be carried out. Where a handler lets it pass the step fails, and is not tried again.

    Its reason is APPROVAL_DENIED, APPROVAL_TIMEOUT, or APPROVAL_WITHDRAWN for all that takes a
    request or its grant back.
    """

    def __init__(self, approval: approval_pb2.Approval) -> None:
        reason = _REASONS.get(approval.state, "APPROVAL_WITHDRAWN")
        super().__init__(reason, f"{approval.id}: {approval.reason}", retryable=False)
        self.approval = approval


Decided = asyncio.Future[pb.ApprovalDecided]


class Waits:
    """What the handlers wait for."""

    def __init__(self) -> None:
        self._waits: dict[str, list[Decided]] = {}

    def enter(self, approval_id: str) -> tuple[Decided, pb.SessionRequest]:
        """A handler waits: for what, and what is to be sent. It cancels it where it waits no more."""
        self._prune()
        decided: Decided = asyncio.get_running_loop().create_future()
        self._waits.setdefault(approval_id, []).append(decided)
        return decided, _ask(approval_id)

    def decided(self, word: pb.ApprovalDecided) -> None:
        """Tells the handlers that wait for it."""
        self._prune()
        for decided in self._waits.pop(word.approval_id, []):
            decided.set_result(word)

    def all(self) -> list[pb.SessionRequest]:
        """What a new connection is to be asked for."""
        self._prune()
        return [_ask(approval_id) for approval_id in self._waits]

    def _prune(self) -> None:
        for approval_id, waiting in list(self._waits.items()):
            waiting[:] = [decided for decided in waiting if not decided.done()]
            if not waiting:
                del self._waits[approval_id]


def _ask(approval_id: str) -> pb.SessionRequest:
    return pb.SessionRequest(await_approval=pb.AwaitApproval(approval_id=approval_id))
