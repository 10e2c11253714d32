"""Quarterdeck from Python: create and follow tasks, and write agents that carry them out.

`Client` and `Worker` are where to start; `quarterdeck.testing` runs a real server in tests.
The messages are those of the contract, in `quarterdeck.orchestration.v1` and `quarterdeck.approvals.v1`.
"""

from quarterdeck._action import Action
from quarterdeck._client import Client
from quarterdeck._errors import FieldViolation, QuarterdeckError
from quarterdeck._payload import Payload
from quarterdeck._plan import Plan, PlanLike, Retry, Step, Timeouts
from quarterdeck._typed import InputError
from quarterdeck._watch import ApprovalFrame, Frame, Watch
from quarterdeck.worker import Context, NotApproved, Refuse, StartedAction, Status, StepFailed, Worker

__version__ = "0.1.0"

__all__ = [
    "Action",
    "ApprovalFrame",
    "Client",
    "Context",
    "FieldViolation",
    "Frame",
    "InputError",
    "NotApproved",
    "Payload",
    "Plan",
    "PlanLike",
    "QuarterdeckError",
    "Refuse",
    "Retry",
    "StartedAction",
    "Status",
    "Step",
    "StepFailed",
    "Timeouts",
    "Watch",
    "Worker",
]
