"""The server under attack: the real binary in development mode, and how it feels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_LISTENS = re.compile(r"gRPC\s+http://([\d.]+):(\d+)")
_METRICS = re.compile(r"metrics\s+(http://\S+)")
_KEY = re.compile(r"QUARTERDECK_API_KEY=(\S+)")
_START = 60.0


def binary() -> str:
    """The one that QUARTERDECK_TEST_BINARY names, or the debug build of this repository."""
    root = Path(__file__).resolve().parents[3]
    target = root / os.environ.get("CARGO_TARGET_DIR", "target")
    found = os.environ.get("QUARTERDECK_TEST_BINARY") or str(target / "debug" / "quarterdeck")
    if not os.access(found, os.X_OK):
        raise SystemExit(f"no server at {found}: `cargo build -p quarterdeck-cli`")
    return found


@dataclass
class Server:
    host: str
    port: int
    key: str
    metrics_url: str
    process: subprocess.Popen[bytes]
    log: Path
    peak: float = 0.0
    """Highest resident size that was seen since it was set to 0, in MiB."""
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def resident(self) -> float:
        """In MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else 0.0

    def files(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metric(self, name: str) -> float:
        """A metric's value, summed over its labels; what was never counted is 0."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            text = answer.read().decode()
        lines = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def panics(self) -> list[str]:
        text = self.log.read_text(errors="replace")
        return [line for line in text.splitlines() if "panicked" in line]

    def sample(self) -> None:
        while self.alive and not self._over.wait(0.05):
            try:
                self.peak = max(self.peak, self.resident())
            except OSError:
                return

    def stop(self) -> None:
        self._over.set()
        if self.alive:
            self.process.terminate()
            try:
                self.process.wait(35)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@contextmanager
def running() -> Iterator[Server]:
    """A server that ends with the block, and its data with it."""
    directory = tempfile.mkdtemp(prefix="quarterdeck-hostile-")
    log, out = Path(directory) / "log", Path(directory) / "out"
    command = [binary(), "dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    command += ["--data", f"{directory}/data", "--log", "warn"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUARTERDECK_")}
    with log.open("wb") as errors, out.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
    server = None
    try:
        server = _started(process, out, log)
        threading.Thread(target=server.sample, name="memory", daemon=True).start()
        yield server
    finally:
        if server is not None:
            server.stop()
        elif process.poll() is None:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _started(process: subprocess.Popen[bytes], out: Path, log: Path) -> Server:
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        text = out.read_text()
        listens, metrics, key = _LISTENS.search(text), _METRICS.search(text), _KEY.search(text)
        if listens and metrics and key:
            return Server(
                listens.group(1), int(listens.group(2)), key.group(1), metrics.group(1), process, log
            )
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')}")
