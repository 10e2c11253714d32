"""One error type for everything that can go wrong between a caller and the server.

Every error says whose word it is (`origin`), so that "the server refused" is told
from "nobody answered".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import grpc
from google.rpc import error_details_pb2, status_pb2

Origin = Literal["server", "transport", "client"]

_DETAILS = "grpc-status-details-bin"
_BROKEN_TRANSPORT = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL})


@dataclass(frozen=True)
class FieldViolation:
    """One broken rule of a request."""

    field: str
    """Path of the field, as in `plan.steps[3].key`."""
    description: str
    """What it breaks."""


class QuarterdeckError(Exception):
    """What went wrong with a call."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        fields: Iterable[FieldViolation] = (),
        origin: Origin = "client",
    ) -> None:
        self.code = code
        """gRPC status code."""
        self.message = message
        """Words for people."""
        self.reason = reason
        """The server's reason, such as `TASK_NOT_FOUND`; empty where it gave none."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait before trying again."""
        self.fields = tuple(fields)
        """Fields of the request that break their rules."""
        self.origin: Origin = origin
        """Whose word this is: the server's, nobody's (`transport`), or this library's."""
        super().__init__(code, message)

    def __str__(self) -> str:
        text = f"{self.message} ({self.reason or self.code.name})"
        return "; ".join([text, *(f"{broken.field}: {broken.description}" for broken in self.fields)])

    @property
    def is_retryable(self) -> bool:
        """True where the same call, with the same request id, may succeed later."""
        if self.origin == "client":
            return False
        if self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return True
        if self.origin == "transport":
            # What HTTP/2 makes of a broken connection, by the kind of break.
            return self.code in _BROKEN_TRANSPORT
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return self.retry_after is not None or self.reason == "OVERLOADED"
        return self.code is grpc.StatusCode.ABORTED and self.reason == "CONTENTION"


def transport_error(code: grpc.StatusCode, message: str) -> QuarterdeckError:
    """Nobody answered."""
    return QuarterdeckError(code, message, origin="transport")


def from_rpc(error: grpc.aio.AioRpcError) -> QuarterdeckError:
    """What a failed call says. Unreadable details are as none: the code still counts."""
    reason, retry_after, fields = "", None, []
    for detail in _details(error.trailing_metadata()):
        info, retry, bad = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.RetryInfo(),
            error_details_pb2.BadRequest(),
        )
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(bad):
            fields = [FieldViolation(broken.field, broken.description) for broken in bad.field_violations]
    return QuarterdeckError(
        error.code(),
        error.details() or error.code().name,
        reason=reason,
        retry_after=retry_after,
        fields=fields,
        # The server gives a reason with every error; who gives none is in between.
        origin="server" if reason else "transport",
    )


def _details(metadata: Any) -> list[Any]:
    for key, value in metadata or ():
        if key == _DETAILS:
            try:
                return list(status_pb2.Status.FromString(value).details)
            except ValueError:  # protobuf's DecodeError is one
                return []
    return []
