"""Waits between tries, drawn at random from zero to a doubling bound (full jitter)."""

from __future__ import annotations

import random


class Backoff:
    """One row of tries."""

    def __init__(self, first: float = 0.05, cap: float = 2.0) -> None:
        self._first = first
        self._cap = cap
        self._bound = first

    def next(self, asked: float | None = None) -> float:
        """The next wait in seconds, at least what the server asked for."""
        drawn = random.uniform(0, self._bound)
        self._bound = min(self._bound * 2, self._cap)
        # On top of what was asked, or everybody would come back at that moment.
        return (asked or 0.0) + drawn

    def reset(self) -> None:
        """After a success."""
        self._bound = self._first
