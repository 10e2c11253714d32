"""The attacks by name, and what a server has to have done about each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hostile.wire import Arena

Tally = Counter[str]
Run = Callable[[Arena], None]


@dataclass(frozen=True)
class Attack:
    name: str
    run: Run
    what: str
    """One line for people."""
    cut: bool
    """The server has to end connections that do this."""
    refused: bool
    """Calls have to be answered with an error."""
    closes_all: bool
    """At the end the server must have left none of them open."""
    seconds: float | None
    """How long it needs at least, if longer than others."""
    frames: int
    """Frames that have to have been sent, or it was no attack."""
    connections: int
    """As many connections have to have been opened."""

    def complaints(self, tally: Tally) -> list[str]:
        """What the server, or this attack, failed to do."""
        found = []
        if tally["frames"] < self.frames:
            found.append(f"only {tally['frames']} frames were sent, {self.frames} make the attack")
        if tally["connections"] < self.connections:
            found.append(f"only {tally['connections']} connections, {self.connections} make the attack")
        if self.cut and not tally["cut"]:
            found.append("the server never ended a connection that attacks it")
        if self.refused and not tally["refused"]:
            found.append("the server refused none of the calls")
        if self.closes_all and tally["open_at_end"]:
            found.append(f"{tally['open_at_end']} connections were left open")
        return found


ATTACKS: dict[str, Attack] = {}


def attack(
    what: str,
    *,
    cut: bool = False,
    refused: bool = False,
    closes_all: bool = False,
    seconds: float | None = None,
    frames: int = 0,
    connections: int = 1,
) -> Callable[[Run], Run]:
    """Registers a function as an attack; its name becomes the attack's."""

    def register(run: Run) -> Run:
        name = run.__name__
        ATTACKS[name] = Attack(name, run, what, cut, refused, closes_all, seconds, frames, connections)
        return run

    return register


# Importing them registers them, in the order in which they run.
from hostile.attacks import floods, headers, sockets, streams, windows  # noqa: E402, F401
