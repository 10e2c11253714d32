"""Agents: functions that are given steps. See `Worker`."""

from quarterdeck.worker._context import Context
from quarterdeck.worker._outcome import Refuse, StepFailed
from quarterdeck.worker._session import Status
from quarterdeck.worker._worker import Worker

__all__ = ["Context", "Refuse", "Status", "StepFailed", "Worker"]
