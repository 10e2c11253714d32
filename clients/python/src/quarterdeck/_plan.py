"""Plans: what a task is made of, as typed objects or as ProtoJSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from google.protobuf import json_format

from quarterdeck._durations import Seconds, to_proto
from quarterdeck._typed import to_payload
from quarterdeck.approvals.v1 import action_pb2
from quarterdeck.orchestration.v1 import plan_pb2


@dataclass(frozen=True)
class Retry:
    """What happens when an attempt fails. What is not set has the server's default."""

    max_attempts: int = 0
    """Attempts in all."""
    initial_backoff: Seconds | None = None
    """Wait before the second attempt."""
    backoff_multiplier: float = 0
    """Factor from one wait to the next."""
    max_backoff: Seconds | None = None
    """Upper bound of a wait."""
    non_retryable_reasons: Sequence[str] = ()
    """Reasons of agents that end the step at once."""


@dataclass(frozen=True)
class Timeouts:
    """Limits on waiting and running; none unless set."""

    waiting: Seconds | None = None
    """From ready until given to an agent; ends the task."""
    attempt: Seconds | None = None
    """From given to an agent until finished."""
    progress: Seconds | None = None
    """Longest silence of the agent about this step."""


@dataclass(frozen=True)
class Step:
    """One unit of work, given to one agent at a time."""

    key: str
    """Name of the step within its plan."""
    capability: str
    """What an agent must offer to be given this step."""
    input: Any = None
    """A JSON value, a dataclass, a pydantic model, bytes or a `Payload`; `None` is nothing."""
    after: Sequence[str] = ()
    """Keys of steps that must succeed first; the agent receives their outputs."""
    retry: Retry | None = None
    timeouts: Timeouts | None = None
    priority: int = 0
    """0 to 9; where agents are short, higher goes first."""
    action: action_pb2.Action | None = None
    """What the step will do, if that needs a yes before it is given to an agent; see `Action`."""


@dataclass(frozen=True)
class Plan:
    """A directed acyclic graph of steps."""

    steps: Sequence[Step]
    timeout: Seconds | None = None
    """Time for the whole task; 24 hours unless set."""


PlanLike = Union[Plan, Sequence[Step], Mapping[str, Any], plan_pb2.Plan]


def plan_to_proto(plan: PlanLike) -> plan_pb2.Plan:
    """The message. A mapping is ProtoJSON; ValueError where it is not."""
    if isinstance(plan, plan_pb2.Plan):
        return plan
    if isinstance(plan, Mapping):
        try:
            return json_format.ParseDict(dict(plan), plan_pb2.Plan())
        except json_format.ParseError as error:
            raise ValueError(f"not a plan: {error}") from error
    if not isinstance(plan, Plan):
        plan = Plan(plan)
    message = plan_pb2.Plan(steps=[_step(step) for step in plan.steps])
    if plan.timeout is not None:
        message.timeout.CopyFrom(to_proto(plan.timeout))
    return message


def _step(step: Step) -> plan_pb2.PlanStep:
    message = plan_pb2.PlanStep(
        key=step.key,
        capability=step.capability,
        after=list(step.after),
        priority=step.priority,
        action=step.action,
    )
    if step.input is not None:
        message.input.CopyFrom(to_payload(step.input).proto)
    if step.retry is not None:
        message.retry.CopyFrom(_retry(step.retry))
    for name in ("waiting", "attempt", "progress"):
        limit = getattr(step.timeouts, name, None)
        if limit is not None:
            getattr(message.timeouts, name).CopyFrom(to_proto(limit))
    return message


def _retry(retry: Retry) -> plan_pb2.RetryPolicy:
    message = plan_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        backoff_multiplier=retry.backoff_multiplier,
        non_retryable_reasons=list(retry.non_retryable_reasons),
    )
    if retry.initial_backoff is not None:
        message.initial_backoff.CopyFrom(to_proto(retry.initial_backoff))
    if retry.max_backoff is not None:
        message.max_backoff.CopyFrom(to_proto(retry.max_backoff))
    return message
