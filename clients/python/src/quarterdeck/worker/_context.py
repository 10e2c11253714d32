"""What a handler knows of its step, and what it can say while at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import grpc

from quarterdeck._durations import from_proto
from quarterdeck._errors import QuarterdeckError
from quarterdeck._payload import Payload
from quarterdeck._typed import to_payload
from quarterdeck.approvals.v1 import action_pb2, approval_pb2, gate_service_pb2
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb
from quarterdeck.worker._authorize import Decided, NotApproved, StartedAction
from quarterdeck.worker._outcome import MAX_SHOWN, Draft

if TYPE_CHECKING:
    from quarterdeck._client import Client


class Context:
    """One attempt of one step.

    When the step is taken away (its task was cancelled, a timeout passed, the session was lost)
    the handler is cancelled as asyncio tasks are: `asyncio.CancelledError` at its next `await`.
    What it answers after that does not count.
    """

    def __init__(
        self,
        assign: pb.Assign,
        client: Client,
        say: Callable[[str, Draft], None],
        wait: Callable[[str], Decided],
    ) -> None:
        self._assign = assign
        self._client = client
        self._say = say
        self._wait = wait
        self._last = Draft(0.0, "")
        self._shown = 0
        self._requests = 0

    @property
    def task_id(self) -> str:
        """Task that the step belongs to."""
        return self._assign.task_id

    @property
    def step_key(self) -> str:
        """Name of the step within its plan."""
        return self._assign.step_key

    @property
    def project(self) -> str:
        """Project of the task."""
        return self._assign.project

    @property
    def capability(self) -> str:
        """Capability that the step wants."""
        return self._assign.capability

    @property
    def attempt(self) -> int:
        """Attempt, from 1."""
        return self._assign.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step: hand it to systems that can tell a repetition by it."""
        return self._assign.idempotency_key

    @property
    def lease_token(self) -> str:
        """Fencing token of this attempt."""
        return self._assign.lease_token

    @property
    def deadline(self) -> datetime | None:
        """When the attempt is taken away, if it has such a limit; in UTC."""
        if not self._assign.HasField("deadline"):
            return None
        return self._assign.deadline.ToDatetime(tzinfo=timezone.utc)

    @property
    def progress_timeout(self) -> float | None:
        """Longest silence, in seconds, before the attempt is taken away, if it has such a limit."""
        if not self._assign.HasField("progress_timeout"):
            return None
        return from_proto(self._assign.progress_timeout)

    @property
    def input(self) -> Payload:
        """Input of the step as it came."""
        return Payload(self._assign.input)

    @property
    def previous_state(self) -> Any:
        """What an earlier attempt left by `heartbeat`, as a Python value; `None` if nothing."""
        return Payload(self._assign.checkpoint).value() if self._assign.HasField("checkpoint") else None

    @property
    def action(self) -> action_pb2.Action | None:
        """What this attempt may carry out, if its step declares an action.

        Exactly what was granted, which people may have edited: carry out this, not what the plan says.
        """
        return self._assign.action if self._assign.HasField("action") else None

    @property
    def approval_id(self) -> str:
        """The approval of `action`; empty where there is none."""
        return self._assign.approval_id

    def progress(self, fraction: float, message: str = "") -> None:
        """Says how far the step is (0 to 1) and restarts its progress timeout.

        Where the connection is slower than the handler only the last word is sent. Call it in the
        event loop's own thread.
        """
        self._last = Draft.of(fraction, message)
        self._say(self.lease_token, self._last)

    def heartbeat(self, state: Any) -> None:
        """Leaves a state for the next attempt, should this one fail, and restarts the progress timeout.

        Any JSON value, dataclass or `Payload` up to 256 KiB; ValueError or TypeError where it is none.
        """
        checkpoint = to_payload(state)
        checkpoint.check()
        self._say(self.lease_token, Draft(self._last.fraction, self._last.message, checkpoint))

    def partial_output(self, text: str) -> None:
        """Text that watchers see at once, after what was shown before: what a model has written so far, say.

        It restarts the progress timeout and is no part of the step's output; a new attempt begins
        anew. ValueError where the attempt would show more than 1 MiB; then nothing of it is shown.
        """
        text = text.replace("\0", "").encode(errors="replace").decode()
        self._shown += (size := len(text.encode()))
        if self._shown > MAX_SHOWN:
            self._shown -= size
            raise ValueError(f"an attempt shows at most {MAX_SHOWN} bytes of partial output")
        self._say(self.lease_token, Draft(self._last.fraction, self._last.message, partial=text))

    async def dependency(self, step_key: str) -> Payload:
        """Output of a step that this one comes after; fetched where the assignment left it out.

        `QuarterdeckError`: STEP_NOT_FOUND where this step does not come after that one,
        LEASE_STALE where the attempt is over.
        """
        for known in self._assign.dependencies:
            output = Payload(known.output)
            if known.step_key == step_key and not output.is_omitted:
                return output
        request = pb.GetDependencyOutputRequest(lease_token=self.lease_token, step_key=step_key)
        response = await self._client.call(lambda stubs: stubs.worker.GetDependencyOutput, request)
        return Payload(response.output)

    async def dependencies(self) -> dict[str, Any]:
        """Outputs of all steps that this one comes after, in the plan's order, as Python values."""
        keys = [known.step_key for known in self._assign.dependencies]
        return {key: (await self.dependency(key)).value() for key in keys}

    async def authorize(self, action: action_pb2.Action, comment: str = "") -> StartedAction:
        """Asks for a yes to an action, waits for it as long as it takes, and has it recorded as started.

        Carry out what is answered, not what was asked for: people may edit it. `comment` says why, for
        people; policy does not look at it. The progress timeout is kept while it waits. Asking again,
        for the same or another action, is another request.

        `NotApproved` where it may not be carried out; `QuarterdeckError`: LEASE_STALE where the attempt
        is over, and what the contract says of Authorize and RedeemGrant.
        """
        self._requests += 1
        request = gate_service_pb2.AuthorizeRequest(
            lease_token=self.lease_token, request_key=str(self._requests), action=action, comment=comment
        )
        approval = (await self._client.call(lambda stubs: stubs.gate.Authorize, request)).approval
        runs: action_pb2.Action | None = request.action
        while approval.state != approval_pb2.APPROVAL_STATE_GRANTED:
            if approval.state == approval_pb2.APPROVAL_STATE_PENDING:
                approval = await self._decision(approval.id)
            elif approval.state == approval_pb2.APPROVAL_STATE_SUPERSEDED:
                # Edited: the other's bytes come with its start.
                runs = None
                approval = await self._decision(approval.superseded_by)
            else:
                raise NotApproved(approval)
        return await self._start(approval.id, runs)

    async def _start(self, approval_id: str, runs: action_pb2.Action | None) -> StartedAction:
        request = gate_service_pb2.RedeemGrantRequest(
            approval_id=approval_id, lease_token=self.lease_token, action=runs
        )
        answer = await self._client.call(lambda stubs: stubs.gate.RedeemGrant, request)
        granted = answer.action if runs is None else runs
        return StartedAction(approval_id, granted, answer.idempotency_key)

    async def _decision(self, approval_id: str) -> approval_pb2.Approval:
        """An approval once it is not pending any more."""
        repeating = asyncio.ensure_future(self._repeat())
        try:
            # Nothing in between: who cancels the handler cancels the wait, at once.
            word = await self._wait(approval_id)
        finally:
            repeating.cancel()
        if word.HasField("approval"):
            return word.approval
        words = f"{approval_id} is not waited for"
        raise QuarterdeckError(
            grpc.StatusCode.FAILED_PRECONDITION, words, reason=word.reason, origin="server"
        )

    async def _repeat(self) -> None:
        """The last word on progress, often enough for the progress timeout."""
        while self.progress_timeout is not None:
            await asyncio.sleep(self.progress_timeout / 3)
            self._say(self.lease_token, self._last)

    async def report_effects(
        self, approval_id: str, effects: Iterable[tuple[str, str]], exit_code: int = 0
    ) -> approval_pb2.Approval:
        """Tells what was observed after an action: pairs such as `("delete", "/srv/uploads")`.

        The effects are in the words of the approval's findings. What was not approved (`report.surplus`
        of the answer) raises an incident. Once an approval; repeating is no error.
        """
        observed = [approval_pb2.ObservedEffect(effect=effect, target=target) for effect, target in effects]
        request = gate_service_pb2.ReportEffectsRequest(
            approval_id=approval_id, effects=observed, exit_code=exit_code
        )
        return (await self._client.call(lambda stubs: stubs.gate.ReportEffects, request)).approval
