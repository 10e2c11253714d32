"""The attacker's process: `python -m hostile.attacker NAME HOST PORT SECONDS`.

The credential, for attacks of somebody who has one, comes in HOSTILE_KEY. The last line of its
output is its tally as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from hostile.attacks import ATTACKS
from hostile.attacks.streams import harmless
from hostile.wire import Arena


def source_of(name: str) -> str:
    """Not the victim's 127.0.0.1, and another for each attack: what the server remembers of an
    address is not to spare it the next."""
    return "127.0.0.1" if name == "harmless" else f"127.66.0.{list(ATTACKS).index(name) + 1}"


def main() -> None:
    name, host, port, seconds = sys.argv[1:5]
    # Ends in the middle of anything, should its own clock fail.
    signal.alarm(int(float(seconds)) + 20)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run = harmless if name == "harmless" else ATTACKS[name].run
    arena = Arena((host, int(port)), source_of(name), os.environ.get("HOSTILE_KEY", ""), float(seconds))
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        run(arena)
    finally:
        arena.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": round(used / float(seconds), 2), **arena.tally}), flush=True)


if __name__ == "__main__":
    main()
