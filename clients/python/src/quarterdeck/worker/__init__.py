"""Agents: functions that are given steps. See `Worker`."""

from quarterdeck.worker._authorize import NotApproved, StartedAction
from quarterdeck.worker._context import Context
from quarterdeck.worker._outcome import Refuse, StepFailed
from quarterdeck.worker._session import Status
from quarterdeck.worker._worker import Worker

__all__ = ["Context", "NotApproved", "Refuse", "StartedAction", "Status", "StepFailed", "Worker"]
