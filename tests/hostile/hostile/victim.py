"""The victim's process: `python -m hostile.victim HOST:PORT`, its credential in HOSTILE_KEY.

An ordinary user of the server beside the attacker: calls at a steady rate, whatever becomes of the
ones before; fresh connections; one watch of all tasks; one agent that carries the tasks out. Calls,
connections and the watch are made on bare stubs, without retries: what goes wrong is seen.

It listens on standard input: `begin` forgets what was measured, `report` prints it as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import grpc.aio
from quarterdeck import Client, Context, Worker
from quarterdeck.orchestration.v1 import task_service_pb2 as pb
from quarterdeck.orchestration.v1.plan_pb2 import Plan
from quarterdeck.orchestration.v1.task_service_pb2_grpc import TaskServiceStub

# A second; and of the calls one in so many creates a task, the others read one.
CALLS, CREATE_EVERY, CONNECTS = 60, 6, 4
# No answer within this is an error.
PATIENCE = 10.0
_CAPABILITY = "victim-work"
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]


class Measures:
    """What was noticed since the last `begin`."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.connects: list[float] = []
        self.tasks: list[float] = []
        self.errors: Counter[str] = Counter()

    def report(self) -> dict[str, object]:
        return {
            "calls": len(self.calls),
            "call_p50": rank(self.calls, 0.5),
            "call_p99": rank(self.calls, 0.99),
            "connects": len(self.connects),
            "connect_worst": rank(self.connects, 1.0),
            "tasks": len(self.tasks),
            "task_p99": rank(self.tasks, 0.99),
            "errors": dict(self.errors),
        }


def rank(seconds: list[float], quantile: float) -> float:
    """Nearest rank, in milliseconds; nothing measured is worse than anything."""
    if not seconds:
        return PATIENCE * 1_000
    ordered = sorted(seconds)
    return round(ordered[min(int(len(ordered) * quantile), len(ordered) - 1)] * 1_000, 1)


class Victim:
    def __init__(self, target: str, key: str) -> None:
        self._target, self._key = target, key
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._measures = Measures()
        self._created: dict[str, float] = {}
        # Seen to end before their creation was answered; a few of the last.
        self._early: dict[str, float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._known = ""
        self._ready = asyncio.Event()

    async def run(self) -> None:
        worker = Worker("victim", slots=32)

        @worker.step(_CAPABILITY)
        async def work(ctx: Context) -> str:
            return "done"

        async with Client(f"http://{self._target}", self._key) as client:
            async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
                stub = TaskServiceStub(channel)
                jobs = [
                    asyncio.ensure_future(job)
                    for job in (
                        self._agent(worker, client),
                        self._watch(stub),
                        self._load(stub),
                        self._listen(),
                    )
                ]
                done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
                for job in done:
                    job.result()

    async def _agent(self, worker: Worker, client: Client) -> None:
        running = asyncio.ensure_future(worker.run(client))
        await worker.wait_until(lambda status: status.state == "connected")
        first = worker.status
        while not running.done():
            await asyncio.wait({running}, timeout=0.2)
            now = worker.status
            if (now.session_id, now.reconnects) != (first.session_id, first.reconnects):
                self._measures.errors["agent: lost its connection"] += 1
                first = now
        running.result()

    async def _watch(self, stub: TaskServiceStub) -> None:
        while True:
            try:
                async for frame in stub.WatchTasks(pb.WatchTasksRequest(), metadata=self._metadata):
                    self._ready.set()
                    if frame.HasField("event") and frame.event.HasField("task_ended"):
                        self._ended(frame.event.task_id)
                self._measures.errors["watch: ended"] += 1
            except grpc.aio.AioRpcError as error:
                self._measures.errors[f"watch: {error.code().name}"] += 1
            await asyncio.sleep(0.5)

    def _ended(self, task: str) -> None:
        begun = self._created.pop(task, None)
        if begun is not None:
            self._measures.tasks.append(time.monotonic() - begun)
            return
        self._early[task] = time.monotonic()
        while len(self._early) > 1_000:
            del self._early[next(iter(self._early))]

    async def _load(self, stub: TaskServiceStub) -> None:
        # The watch first: what is created has to be seen.
        while not self._known:
            self._known = await self._create(stub)
        calls, connects = (
            self._every(CALLS, lambda number: self._call(stub, number)),
            self._every(CONNECTS, lambda _: self._connect()),
        )
        await asyncio.gather(calls, connects, self._overdue())

    async def _every(self, rate: int, make: Callable[[int], Awaitable[None]]) -> None:
        """So many a second, begun in time even where others are not back."""
        due, number = time.monotonic(), 0
        while True:
            task = asyncio.ensure_future(make(number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1
            due = max(due + 1 / rate, time.monotonic() - 0.1)
            await asyncio.sleep(max(due - time.monotonic(), 0))

    async def _call(self, stub: TaskServiceStub, number: int) -> None:
        begun = time.monotonic()
        what = "create" if number % CREATE_EVERY == 0 else "get"
        try:
            if what == "create":
                await self._create(stub)
            else:
                request = pb.GetTaskRequest(task_id=self._known)
                await stub.GetTask(request, metadata=self._metadata, timeout=PATIENCE)
            self._measures.calls.append(time.monotonic() - begun)
        except grpc.aio.AioRpcError as error:
            self._measures.errors[f"{what}: {error.code().name} {error.details()}"] += 1

    async def _create(self, stub: TaskServiceStub) -> str:
        begun = time.monotonic()
        plan = Plan(steps=[{"key": "only", "capability": _CAPABILITY}])
        request = pb.CreateTaskRequest(display_name="victim", plan=plan)
        answer = await stub.CreateTask(request, metadata=self._metadata, timeout=PATIENCE)
        task = str(answer.task.id)
        ended = self._early.pop(task, None)
        if ended is None:
            self._created[task] = begun
        else:
            self._measures.tasks.append(ended - begun)
        return task

    async def _connect(self) -> None:
        begun = time.monotonic()
        try:
            async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
                request = pb.GetTaskRequest(task_id=self._known)
                await TaskServiceStub(channel).GetTask(
                    request, metadata=self._metadata, timeout=PATIENCE, wait_for_ready=True
                )
            self._measures.connects.append(time.monotonic() - begun)
        except grpc.aio.AioRpcError as error:
            self._measures.errors[f"connect: {error.code().name} {error.details()}"] += 1

    async def _overdue(self) -> None:
        """Tasks that nobody carried out, or that the watch kept to itself."""
        while True:
            await asyncio.sleep(0.5)
            for task, begun in list(self._created.items()):
                if time.monotonic() - begun > PATIENCE:
                    self._measures.errors["task: not seen to end"] += 1
                    del self._created[task]

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            if line.strip() == b"begin":
                self._measures = Measures()
            elif line.strip() == b"report":
                print(json.dumps(self._measures.report()), flush=True)
            elif line.strip() == b"ready":
                await asyncio.wait_for(self._ready.wait(), 30)
                print("{}", flush=True)


def main() -> None:
    # Longer than any run of all attacks.
    signal.alarm(3_600)
    asyncio.run(Victim(sys.argv[1], os.environ["HOSTILE_KEY"]).run())


if __name__ == "__main__":
    main()
