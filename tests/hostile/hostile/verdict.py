"""What has to hold during and after an attack.

Times are compared with a control, not with silence: on a machine of few processors an attacker takes
processor time from the victim without the server's doing, and the control's neighbour takes as much
(printed as `cpu`, in processors) with harmless calls. A bound below FLOOR would measure the
scheduler: with 300 calls in a phase, p99 is the third longest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hostile.attacks import Attack
from hostile.server import Server

# The promise: within three times.
TIMES = 3.0
# In milliseconds, for calls, for tasks from creation to the watcher's knowing, for fresh connections.
FLOOR, TASK_FLOOR, CONNECT_FLOOR = 100.0, 300.0, 1_000.0
# MiB.
MEMORY = 256.0
# Connections and files that may come and go beside the attacker's: the victim's own, the scrape.
SLACK = 6


@dataclass(frozen=True)
class Row:
    name: str
    victim: dict[str, object]
    tally: Counter[str]
    cpu: float
    peak: float

    @property
    def errors(self) -> dict[str, int]:
        value = self.victim["errors"]
        assert isinstance(value, dict)
        return value

    def figure(self, name: str) -> float:
        value = self.victim[name]
        assert isinstance(value, (int, float))
        return float(value)


@dataclass(frozen=True)
class Quiet:
    """What the victim's times are without an attack."""

    call_p99: float
    task_p99: float
    connect_worst: float

    @staticmethod
    def of(row: Row) -> Quiet:
        return Quiet(row.figure("call_p99"), row.figure("task_p99"), row.figure("connect_worst"))

    def best(self, other: Quiet) -> Quiet:
        return Quiet(
            min(self.call_p99, other.call_p99),
            min(self.task_p99, other.task_p99),
            min(self.connect_worst, other.connect_worst),
        )


@dataclass(frozen=True)
class Baseline:
    """What the server holds while only the victim is there."""

    connections: float
    in_flight: float
    files: int

    @staticmethod
    def of(server: Server) -> Baseline:
        return Baseline(*Baseline._now(server))

    @staticmethod
    def _now(server: Server) -> tuple[float, float, int]:
        return (
            server.metric("quarterdeck_connections"),
            server.metric("quarterdeck_grpc_requests_in_flight"),
            server.files(),
        )

    def left(self, server: Server) -> str:
        """What of an attack is still there."""
        try:
            now = self._now(server)
        except OSError as error:
            return f"metrics do not answer: {error}"
        then = (self.connections, self.in_flight, self.files)
        found = [
            f"{name}: {after:.0f}, {before:.0f} before"
            for name, after, before in zip(("connections", "calls", "files"), now, then, strict=True)
            if after > before + SLACK
        ]
        return ", ".join(found)


@dataclass(frozen=True)
class Verdict:
    certain: list[str]
    """What no busy machine excuses."""
    slow: list[str]


def judge(attack: Attack, row: Row, quiet: Quiet, server: Server, left: str) -> Verdict:
    certain, slow = attack.complaints(row.tally), []
    for error, count in row.errors.items():
        certain.append(f"the victim's {error} ({count} times)")
    if row.peak > MEMORY:
        certain.append(f"the server took {row.peak:.0f} MiB, more than {MEMORY:.0f}")
    certain += [f"the server panicked: {line}" for line in server.panics()]
    if left:
        certain.append(f"not given back: {left}")
    for name, before, floor in (
        ("call_p99", quiet.call_p99, FLOOR),
        ("task_p99", quiet.task_p99, TASK_FLOOR),
        ("connect_worst", quiet.connect_worst, CONNECT_FLOOR),
    ):
        bound = max(TIMES * before, floor)
        if row.figure(name) > bound:
            slow.append(f"{name} is {row.figure(name):.0f} ms, more than {bound:.0f}")
    return Verdict(certain, slow)


def print_head() -> None:
    print(
        f"{'beside':22} {'p50':>6} {'p99':>7} {'task':>7} {'connect':>7} {'MiB':>5} {'cpu':>5}"
        f" {'conns':>6} {'cut':>6} {'frames':>8}",
        flush=True,
    )


def print_row(row: Row, what: str) -> None:
    tally = row.tally
    shown = [name for name in sorted(tally) if name.startswith(("goaway", "rst", "refused")) and tally[name]]
    said = [f"{name} {tally[name]}" for name in shown]
    print(
        f"{row.name:22} {row.figure('call_p50'):6.1f} {row.figure('call_p99'):7.1f}"
        f" {row.figure('task_p99'):7.1f} {row.figure('connect_worst'):7.1f} {row.peak:5.0f} {row.cpu:5.2f}"
        f" {tally['connections']:6d} {tally['cut']:6d} {tally['frames']:8d}  {what}"
        + (f" [{', '.join(said)}]" if said else ""),
        flush=True,
    )
