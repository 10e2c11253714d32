"""A real server for tests.

    with Server() as server:
        client = Client(server.address, server.api_key)

It is the binary that `QUARTERDECK_BINARY` names, else the one built in this repository, else
`quarterdeck` on the PATH; in development mode, on free ports of this machine, with its data in a
temporary directory that goes with it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from quarterdeck._client import Client

__all__ = ["Server", "find_binary"]

_ADDRESS = re.compile(r"gRPC\s+(http://\S+)")
_KEY = re.compile(r"QUARTERDECK_API_KEY=(\S+)")


def find_binary() -> str:
    """Where the server's binary is. FileNotFoundError where there is none."""
    named = os.environ.get("QUARTERDECK_BINARY")
    if named:
        return named
    for folder in Path(__file__).resolve().parents:
        if (folder / "Cargo.toml").is_file():
            built = [folder / "target" / profile / "quarterdeck" for profile in ("debug", "release")]
            present = [binary for binary in built if binary.is_file()]
            if present:
                return str(max(present, key=lambda binary: binary.stat().st_mtime))
    found = shutil.which("quarterdeck")
    if found is None:
        raise FileNotFoundError("no quarterdeck binary: set QUARTERDECK_BINARY or put it on the PATH")
    return found


class Server:
    """A server that runs for as long as the `with` or `async with` block.

    `start_timeout`: how many seconds it may take to listen. `log`: what it logs, to stderr.
    """

    def __init__(self, *, start_timeout: float = 30.0, log: str = "error") -> None:
        self.address = ""
        """As `http://127.0.0.1:port`."""
        self.api_key = ""
        """A key that may do everything."""
        self._start_timeout = start_timeout
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._directory = ""

    def client(self) -> Client:
        """A client with the server's key; close it."""
        return Client(self.address, self.api_key)

    def start(self) -> None:
        """Starts the server and waits until it listens. RuntimeError where it does not."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        self._directory = tempfile.mkdtemp(prefix="quarterdeck-test-")
        command = [find_binary(), "dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
        command += ["--data", self._directory, "--log", self._log]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("QUARTERDECK_")
        }
        atexit.register(self.stop)
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
            self._await_banner(self._process)
        except BaseException:
            self.stop()
            raise

    def _await_banner(self, process: subprocess.Popen[str]) -> None:
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            with process.stdout as output:
                for line in output:
                    lines.put(line)
            lines.put(None)

        threading.Thread(target=read, name="quarterdeck-test-output", daemon=True).start()
        end = time.monotonic() + self._start_timeout
        while not (self.address and self.api_key):
            try:
                line = lines.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                raise RuntimeError(f"the server did not listen within {self._start_timeout} s") from None
            if line is None:
                raise RuntimeError(f"the server ended with exit code {process.wait(10)}; see its stderr")
            if found := _ADDRESS.search(line):
                self.address = found.group(1)
            if found := _KEY.search(line):
                self.api_key = found.group(1)

    def stop(self) -> None:
        """Stops the server, in the end by force, and removes its data. Repeating it does nothing."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""
        self.address = self.api_key = ""
        atexit.unregister(self.stop)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Server:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
