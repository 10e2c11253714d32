#!/usr/bin/env python3
"""Private PostgreSQL and Redis servers for tests.

Each lives in a temporary directory, listens on a free loopback port, and ends
with the process that started it. A server that runs on the machine already is
never touched: what is stopped here is exactly what was started here.

As root, PostgreSQL runs as `postgres` or `nobody`, because it refuses root.

    services.py postgres    starts one, prints its URL, stops it when stdin closes
    services.py redis       the same for Redis

While it runs it takes orders on stdin, one a line, and answers each with a line
(`ok`, or what went wrong): `stop fast`, `stop immediate` (as in a crash) and `start`,
which is on the same port and the same data.

The test harness in tests/harness uses these two commands; scripts/test and
scripts/with-services import the module.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

START_SECONDS = 60
# Below the range that Linux takes outgoing ports from, so that a server which is
# stopped and started again finds its port still free.
PORTS = range(15000, 32000)


class ServiceError(Exception):
    """A server could not be found or started; the text says what to do."""


def postgres_bin() -> str | None:
    """The directory of the newest PostgreSQL's `postgres`, `initdb` and `psql`."""

    def version(path: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", path.split(os.sep)[-2]))

    for found in sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=version, reverse=True):
        if os.access(os.path.join(found, "initdb"), os.X_OK):
            return found
    initdb = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(initdb)) if initdb else None


def redis_binary() -> str | None:
    """Path of a Redis server, or of Valkey, which speaks the same protocol."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def free_port() -> int:
    for _ in range(200):
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no free loopback port in {PORTS.start}..{PORTS.stop}")


def unprivileged() -> pwd.struct_passwd | None:
    """The user to run PostgreSQL as; None where we are not root anyway."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceError("running as root, and there is no user `postgres` or `nobody` to run PostgreSQL as")


def _child(user: pwd.struct_passwd | None, last_signal: int):
    """What a child does before exec: drop root, and ask the kernel for
    `last_signal` should this process die without stopping it."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        if libc is not None:
            libc.prctl(1, last_signal, 0, 0, 0)  # PR_SET_PDEATHSIG; after setuid, which clears it.
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def private_directory(user: pwd.struct_passwd | None) -> str:
    """A new directory that only `user` may enter. A TMPDIR below a directory that
    `user` may not enter is of no use, so others are tried."""
    for base in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        try:
            path = tempfile.mkdtemp(prefix="quarterdeck-", dir=base)
        except OSError:
            continue
        if user is None:
            return path
        os.chown(path, user.pw_uid, user.pw_gid)
        probe = subprocess.run(
            ["test", "-w", path], preexec_fn=_child(user, signal.SIGKILL), cwd="/", check=False
        )
        if probe.returncode == 0:
            return path
        shutil.rmtree(path, ignore_errors=True)
    raise ServiceError("no temporary directory is usable; set TMPDIR to one that every user may enter")


class Server:
    """One private server. Use as a context manager, or call start() and stop()."""

    name = "server"
    # Signals to stop it, each with the seconds it gets.
    stop_signals: tuple[tuple[signal.Signals, int], ...] = ((signal.SIGTERM, 15), (signal.SIGKILL, 5))
    # The same for `stop` orders.
    orders: dict[str, tuple[tuple[signal.Signals, int], ...]] = {"stop fast": stop_signals}

    def __init__(self) -> None:
        self.user: pwd.struct_passwd | None = None
        self.directory = ""
        self.port = 0
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def prepare(self) -> None:
        """Called once, before the first start."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        """True once *our* process answers, not another one on the same port."""
        raise NotImplementedError

    def log(self) -> str:
        try:
            with open(os.path.join(self.directory, "log"), errors="replace") as file:
                return "".join(file.readlines()[-20:])
        except OSError:
            return ""

    def start(self) -> Server:
        self.directory = private_directory(self.user)
        try:
            self.prepare()
            for attempt in range(3):
                self.port = free_port()
                if self._started():
                    return self
                if "in use" not in self.log():
                    break
            raise ServiceError(f"{self.name} did not start; its last words:\n{self.log()}")
        except BaseException:
            self.stop()
            raise

    def _started(self) -> bool:
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is for us; we stop the server in order.
                start_new_session=True,
                preexec_fn=_child(self.user, self.stop_signals[0][0]),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.is_ready():
                return True
            time.sleep(0.02)
        self._end_process()
        return False

    def _end_process(self, stop_signals: tuple[tuple[signal.Signals, int], ...] = ()) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        for number, seconds in stop_signals or self.stop_signals:
            if process.poll() is not None:
                return
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

    def obey(self, order: str) -> None:
        """Stops the process alone, or starts it again where it was."""
        if order in self.orders and self.process is not None:
            self._end_process(self.orders[order])
        elif order == "start" and self.process is None:
            if not self._started():
                raise ServiceError(f"{self.name} did not start again; its last words:\n{self.log()}")
        else:
            raise ServiceError(f"{self.name} cannot do `{order}` now")

    def stop(self) -> None:
        self._end_process()
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = ""

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Postgres(Server):
    """A cluster with the superuser `postgres` and no password. It syncs to disk
    like a real one, because the tests are about what survives."""

    name = "PostgreSQL"
    stop_signals = ((signal.SIGINT, 20), (signal.SIGQUIT, 5), (signal.SIGKILL, 5))
    orders = {"stop fast": stop_signals, "stop immediate": ((signal.SIGQUIT, 20), (signal.SIGKILL, 5))}

    def __init__(self) -> None:
        super().__init__()
        found = postgres_bin()
        if found is None:
            raise ServiceError("PostgreSQL is missing: apt-get install postgresql")
        self.bin = found
        self.user = unprivileged()

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> str:
        return os.path.join(self.directory, "data")

    def prepare(self) -> None:
        made = subprocess.run(
            [os.path.join(self.bin, "initdb"), "--pgdata", self.data, "--username=postgres", "--auth=trust"]
            + ["--encoding=UTF8", "--locale=C", "--no-sync"],
            cwd=self.directory,
            preexec_fn=_child(self.user, signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServiceError(f"initdb failed:\n{made.stdout}")

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": self.directory,
            "max_connections": "300",
            "shared_buffers": "32MB",
            "max_wal_size": "256MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [os.path.join(self.bin, "postgres"), "-D", self.data] + options

    def is_ready(self) -> bool:
        # The first line of the lock file is whose it is, the last its state.
        assert self.process is not None
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as file:
                lines = file.read().split()
                return lines[:1] == [str(self.process.pid)] and lines[-1:] == ["ready"]
        except OSError:
            return False


class Redis(Server):
    """A Redis that stores nothing: Quarterdeck must not need it to remember."""

    name = "Redis"

    def __init__(self) -> None:
        super().__init__()
        found = redis_binary()
        if found is None:
            raise ServiceError("Redis is missing: apt-get install redis-server")
        self.binary = found

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [self.binary, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.directory] + [
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    def is_ready(self) -> bool:
        assert self.process is not None
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                return f"process_id:{self.process.pid}\r".encode() in connection.recv(65536)
        except OSError:
            return False


@contextlib.contextmanager
def running():
    """Runs both servers and yields the environment that tests expect."""
    with Postgres() as postgres, Redis() as redis:
        yield {
            "QUARTERDECK_TEST_POSTGRES_URL": postgres.url,
            "QUARTERDECK_TEST_REDIS_URL": redis.url,
            # A test that lacks a server must fail now, never skip.
            "QUARTERDECK_TEST_REQUIRE": "1",
        }


class Interrupted(BaseException):
    """A signal asked us to end. Like KeyboardInterrupt it passes every handler."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def raise_on_signals() -> None:
    """Turns INT, TERM and HUP into one exception, so that `with` blocks clean up;
    later signals are ignored meanwhile."""

    def interrupt(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)


def main() -> int:
    kinds = {"postgres": Postgres, "redis": Redis}
    if len(sys.argv) != 2 or sys.argv[1] not in kinds:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    raise_on_signals()
    try:
        with kinds[sys.argv[1]]() as server:
            print(server.url, flush=True)
            for order in sys.stdin:
                try:
                    server.obey(order.strip())
                    print("ok", flush=True)
                except ServiceError as error:
                    print(str(error).replace("\n", " | "), flush=True)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        return interrupted.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
