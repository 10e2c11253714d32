"""The connection: address, TLS, the credential, and replacing a channel that does not work any more."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio

from quarterdeck.approvals.v1.approval_service_pb2_grpc import ApprovalServiceStub
from quarterdeck.approvals.v1.gate_service_pb2_grpc import GateServiceStub
from quarterdeck.orchestration.v1.agent_service_pb2_grpc import AgentServiceStub
from quarterdeck.orchestration.v1.task_service_pb2_grpc import TaskServiceStub
from quarterdeck.orchestration.v1.worker_service_pb2_grpc import WorkerServiceStub

DEFAULT_ADDRESS = "http://127.0.0.1:7443"

_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The library's own waits would be up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A fresh channel is a fresh connection, not another user of the old one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.primary_user_agent", "quarterdeck-python"),
]


@dataclass(frozen=True)
class Target:
    """Where the server is and how to get in."""

    authority: str
    tls: bool
    loopback: bool

    @staticmethod
    def parse(address: str, allow_plaintext: bool) -> Target:
        """From `http://host:port`, `https://host:port` or `host:port` (as http). ValueError otherwise."""
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"`{address}` is no address: expected http://host:port or https://host:port")
        if "@" in parts.netloc:
            raise ValueError("an address carries no credential; give it as api_key")
        tls = parts.scheme == "https"
        loopback = _is_loopback(parts.hostname)
        if not (tls or loopback or allow_plaintext):
            raise ValueError(
                f"http to {parts.hostname} would show the key to everybody on the way: "
                "use https, or allow_plaintext=True"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Target(f"{host}:{parts.port or (443 if tls else 80)}", tls, loopback)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def credential_from_environment() -> str:
    """`QUARTERDECK_API_KEY`, or the content of the file `QUARTERDECK_API_KEY_FILE` names, or nothing."""
    key = os.environ.get("QUARTERDECK_API_KEY", "")
    if key:
        return key
    file = os.environ.get("QUARTERDECK_API_KEY_FILE", "")
    return Path(file).read_text().strip() if file else ""


class Stubs:
    """The services over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.tasks = TaskServiceStub(channel)
        self.worker = WorkerServiceStub(channel)
        self.agents = AgentServiceStub(channel)
        self.approvals = ApprovalServiceStub(channel)
        self.gate = GateServiceStub(channel)


@dataclass
class Link:
    """One channel and how many calls use it."""

    generation: int
    channel: grpc.aio.Channel
    stubs: Stubs = field(init=False)
    uses: int = 0

    def __post_init__(self) -> None:
        self.stubs = Stubs(self.channel)


class Connection:
    """The current channel. A replaced one is closed once its last call has ended."""

    def __init__(self, target: Target, ca_pem: bytes | None) -> None:
        self._target = target
        self._ca_pem = ca_pem
        self._current: Link | None = None
        self._generation = 0
        self._closed = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Link]:
        """The current channel, kept open for as long as the block runs."""
        if self._closed:
            raise RuntimeError("the client is closed")
        # Made here and not before: a channel belongs to the loop that it is made in.
        link = self._current = self._current or self._open()
        link.uses += 1
        try:
            yield link
        finally:
            link.uses -= 1
            if link is not self._current and link.uses == 0:
                await link.channel.close()

    async def renew(self, generation: int) -> None:
        """Replaces the channel, unless somebody has replaced that one already."""
        link = self._current
        if link is None or link.generation != generation:
            return
        self._current = None
        if link.uses == 0:
            await link.channel.close()

    async def renew_current(self) -> None:
        """Replaces the channel, whichever it is."""
        if self._current is not None:
            await self.renew(self._current.generation)

    async def close(self) -> None:
        """Ends what is under way."""
        self._closed = True
        link, self._current = self._current, None
        if link is not None:
            await link.channel.close()

    def _open(self) -> Link:
        self._generation += 1
        options = list(_OPTIONS)
        if self._target.loopback:
            options.append(("grpc.enable_http_proxy", 0))
        authority = self._target.authority
        if self._target.tls:
            credentials = grpc.ssl_channel_credentials(root_certificates=self._ca_pem)
            channel = grpc.aio.secure_channel(authority, credentials, options=options)
        else:
            channel = grpc.aio.insecure_channel(authority, options=options)
        return Link(self._generation, channel)
