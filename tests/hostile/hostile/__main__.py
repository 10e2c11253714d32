"""Runs the attacks one after another against one server and judges each."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hostile.attacks import ATTACKS, Attack
from hostile.server import Server, running
from hostile.verdict import FLOOR, Baseline, Quiet, Row, judge, print_head, print_row

# How long the control phases take, and the server has to become itself again.
CONTROL, RECOVERY = 6.0, 15.0


class Victim:
    """The process beside the attacker."""

    def __init__(self, server: Server) -> None:
        command = [sys.executable, "-m", "hostile.victim", f"{server.host}:{server.port}"]
        environment = dict(os.environ, HOSTILE_KEY=server.key)
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask("ready")

    def _ask(self, what: str) -> dict[str, object]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the victim ended with exit code {self.process.wait(10)}")
        return dict(json.loads(line))

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("begin\n")
        self.process.stdin.flush()

    def report(self) -> dict[str, object]:
        return self._ask("report")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def victim_of(server: Server) -> Iterator[Victim]:
    victim = Victim(server)
    try:
        yield victim
    finally:
        victim.stop()


def beside(server: Server, victim: Victim, name: str, seconds: float) -> Row:
    """What the victim notices while somebody does this; nobody where it has no name."""
    server.peak = server.resident()
    victim.begin()
    tally: Counter[str] = Counter()
    cpu = 0.0
    if name:
        command = [sys.executable, "-m", "hostile.attacker"]
        command += [name, server.host, str(server.port), str(seconds)]
        environment = dict(os.environ, HOSTILE_KEY=server.key)
        attacker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            output, _ = attacker.communicate(timeout=seconds + 30)
        finally:
            if attacker.poll() is None:
                attacker.kill()
                attacker.wait()
        said = json.loads(output.splitlines()[-1]) if attacker.returncode == 0 and output else {}
        cpu = float(said.pop("cpu", 0.0))
        tally.update(said)
    else:
        time.sleep(seconds)
    return Row(name or "nobody", victim.report(), tally, cpu, server.peak)


def recovered(server: Server, baseline: Baseline) -> str:
    """Waits until what the attack took is given back. What was not, or nothing."""
    end = time.monotonic() + RECOVERY
    while True:
        left = baseline.left(server)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)


class Disturbed(Exception):
    """The victim has errors although nobody attacks."""


def quiet_beside(server: Server, victim: Victim, tries: int) -> Quiet:
    """The best of the controls: what else this machine does is no excuse for the server."""
    best = None
    for _ in range(tries):
        row = beside(server, victim, "harmless", CONTROL)
        print_row(row, "the control: 400 valid calls a second and half a processor")
        if row.errors:
            raise Disturbed(f"without any attack, or long after, the victim has errors: {row.errors}")
        quiet = Quiet.of(row)
        best = quiet if best is None else best.best(quiet)
        if best.call_p99 <= FLOOR:
            break
    assert best is not None
    return best


def run(names: list[str], seconds: float) -> tuple[int, int]:
    passed = failed = 0
    with running() as server, victim_of(server) as victim:
        print_head()
        time.sleep(2)
        print_row(beside(server, victim, "", CONTROL / 2), "the victim alone")
        quiet = quiet_beside(server, victim, 3)
        baseline = Baseline.of(server)
        for name in names:
            attack = ATTACKS[name]
            complaints, quiet = one(server, victim, attack, seconds, quiet, baseline)
            passed, failed = passed + (not complaints), failed + bool(complaints)
            for complaint in complaints:
                print(f"    FAILED {name}: {complaint}", flush=True)
            if not server.alive:
                print(server.log.read_text(errors="replace")[-4_000:], file=sys.stderr)
                return passed, failed + len(names) - names.index(name) - 1
    return passed, failed


def one(
    server: Server, victim: Victim, attack: Attack, seconds: float, quiet: Quiet, baseline: Baseline
) -> tuple[list[str], Quiet]:
    """One attack. Where only times are too long it is repeated, twice at most, after a fresh control:
    the machine may have become busy since the first."""
    for left_over in (2, 1, 0):
        row = beside(server, victim, attack.name, max(seconds, attack.seconds or 0))
        left = recovered(server, baseline) if server.alive else "the server is gone"
        # What went wrong since counts too; times are the attack's alone.
        row.victim["errors"] = victim.report()["errors"]
        verdict = judge(attack, row, quiet, server, left)
        print_row(row, attack.what)
        if verdict.certain or not verdict.slow or not left_over:
            return verdict.certain + verdict.slow, quiet
        print(f"    {attack.name}: {'; '.join(verdict.slow)}: measured again", flush=True)
        quiet = quiet_beside(server, victim, 1)
    raise AssertionError("unreachable")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/hostile/run", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help="all of them unless named")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each attack (default 4)")
    parser.add_argument("--list", action="store_true", help="print the attacks and end")
    options = parser.parse_args()
    if options.list:
        for attack in ATTACKS.values():
            print(f"{attack.name:22} {attack.what}")
        return 0
    unknown = [name for name in options.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no such attack: {', '.join(unknown)}; see --list")
    # So that everything is ended where this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        passed, failed = run(options.attacks or list(ATTACKS), options.seconds)
    except Disturbed as disturbed:
        print(f"    FAILED {disturbed}")
        passed, failed = 0, 1
    print(f"==> {'ok' if not failed else 'FAILED'} after {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
