"""Durations as callers give them: seconds or `timedelta`."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

Seconds = float | timedelta


def to_proto(value: Seconds) -> Duration:
    """As a message, to the nanosecond."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def from_proto(value: Duration) -> float:
    """In seconds."""
    return value.seconds + value.nanos / 1e9
