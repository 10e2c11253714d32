"""The programs that the checks need: finds them, installs them where it may.

May means: apt is there, and we are root or have sudo without a password. Where
it may not, one message names everything that is missing and how to get it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import services

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUF_VENV = os.path.join(ROOT, "target", "tools", "buf")
# The version whose formatting and rules the tree follows.
BUF_PACKAGE = "buf-bin==1.75.0"


class MissingTools(Exception):
    """Something is missing and could not be installed; the text says what."""


def buf() -> str | None:
    private = os.path.join(BUF_VENV, "bin", "buf")
    return private if os.access(private, os.X_OK) else shutil.which("buf")


def _has_venv() -> bool:
    return importlib.util.find_spec("venv") is not None and importlib.util.find_spec("ensurepip") is not None


def _cargo_runs(*arguments: str) -> bool:
    if shutil.which("cargo") is None:
        return False
    command = ["cargo", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def add_cargo_to_path() -> None:
    """rustup puts cargo where a fresh shell may not look yet."""
    own = os.path.expanduser("~/.cargo/bin")
    if shutil.which("cargo") is None and os.access(os.path.join(own, "cargo"), os.X_OK):
        os.environ["PATH"] = own + os.pathsep + os.environ.get("PATH", "")


# name -> (is it there?, the apt package that has it)
_APT = {
    "cc": (lambda: shutil.which("cc") is not None, "build-essential"),
    "postgres": (lambda: services.postgres_bin() is not None, "postgresql"),
    "redis": (lambda: services.redis_binary() is not None, "redis-server"),
    "venv": (_has_venv, "python3-venv"),
}


def ensure(needs: set[str], may_install: bool) -> None:
    """Sees to it that every one of `needs` is there: cargo, rustfmt, clippy, cc,
    buf, postgres, redis, venv. Raises MissingTools."""
    add_cargo_to_path()
    hints = _rust(needs, may_install)
    wanted = set(needs) | ({"venv"} if "buf" in needs and buf() is None else set())
    packages = [package for name, (there, package) in _APT.items() if name in wanted and not there()]
    if packages and may_install and _apt_install(packages):
        packages = [package for name, (there, package) in _APT.items() if name in wanted and not there()]
    if packages:
        hints.append(f"packages, as root: apt-get update && apt-get install -y {' '.join(packages)}")
    if "buf" in needs and buf() is None and not (may_install and _has_venv() and _install_buf()):
        hints.append(f"buf: python3 -m venv {BUF_VENV} && {BUF_VENV}/bin/pip install {BUF_PACKAGE}")
    if hints:
        raise MissingTools("missing, and not installed by this script:\n  " + "\n  ".join(hints))


def _rust(needs: set[str], may_install: bool) -> list[str]:
    if not _cargo_runs("--version"):
        return ["Rust 1.95 or newer with cargo (the distribution's package is too old; use rustup)"]
    hints = []
    for name, probe in (("rustfmt", ("fmt", "--version")), ("clippy", ("clippy", "--version"))):
        if name not in needs or _cargo_runs(*probe):
            continue
        command = ["rustup", "component", "add", name]
        if not (may_install and shutil.which("rustup") and _run(command)):
            hints.append(f"{name}: {' '.join(command)}")
    return hints


def _run(command: list[str], **environment: str) -> bool:
    print(f"    {' '.join(command)}", flush=True)
    env = dict(os.environ, **environment)
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _as_root() -> list[str] | None:
    """What to put before a command that needs root; None where we may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(
        ["sudo", "-n", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def _apt_install(packages: list[str]) -> bool:
    root = _as_root()
    if root is None or shutil.which("apt-get") is None:
        return False
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    # A failed update is no end: the lists may be good enough.
    _run([*root, *quiet, "update"])
    return _run([*root, *quiet, "install", "-y", "--no-install-recommends", *packages])


def _install_buf() -> bool:
    made = _run([sys.executable, "-m", "venv", "--clear", BUF_VENV])
    return made and _run([os.path.join(BUF_VENV, "bin", "pip"), "install", "--quiet", BUF_PACKAGE]) and buf() is not None


def versions() -> list[str]:
    """One line for each tool that is there."""
    commands = [["cargo", "--version"], ["buf", "--version"], ["redis-server", "--version"]]
    found_buf, found_postgres, found_redis = buf(), services.postgres_bin(), services.redis_binary()
    commands[1][0] = found_buf or ""
    commands[2][0] = found_redis or ""
    if found_postgres:
        commands.append([os.path.join(found_postgres, "postgres"), "--version"])
    lines = []
    for command in commands:
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            lines.append(said if "buf" not in command[0] else f"buf {said}")
    return lines
