"""A server whose side of a session is written by the test, and a gate that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from quarterdeck import Client
from quarterdeck.approvals.v1 import action_pb2, approval_pb2, gate_service_pb2
from quarterdeck.approvals.v1.gate_service_pb2_grpc import (
    GateServiceServicer,
    add_GateServiceServicer_to_server,
)
from quarterdeck.orchestration.v1 import worker_service_pb2 as pb
from quarterdeck.orchestration.v1.worker_service_pb2_grpc import (
    WorkerServiceServicer,
    add_WorkerServiceServicer_to_server,
)

WAIT = 10.0


class Stream:
    """One session stream as the server sees it."""

    def __init__(self, requests: AsyncIterator[pb.SessionRequest], context: Any) -> None:
        self._requests = requests
        self._context = context
        self.answers: asyncio.Queue[pb.SessionResponse | tuple[grpc.StatusCode, str] | None] = asyncio.Queue()
        self.peer: str = context.peer()
        self.pings = 0
        self.answer_pings = True

    async def next(self) -> pb.SessionRequest:
        """The agent's next message; pings are answered and left out."""
        while True:
            message = await asyncio.wait_for(anext(self._requests), WAIT)
            if not message.HasField("ping"):
                return message
            self.pings += 1
            if self.answer_pings:
                self.send(pong=pb.Pong())

    async def ping(self) -> None:
        """Expects a ping and answers it."""
        message = await asyncio.wait_for(anext(self._requests), WAIT)
        assert message.HasField("ping"), message
        self.send(pong=pb.Pong())

    async def hello(self) -> pb.Hello:
        message = await self.next()
        assert message.HasField("hello"), message
        return message.hello

    def send(self, **message: Any) -> None:
        self.answers.put_nowait(pb.SessionResponse(**message))

    def welcome(self, token: str = "token", *, resumed: bool = False, ping: float = 60.0) -> None:
        interval = Duration()
        interval.FromNanoseconds(int(ping * 1e9))
        self.send(
            welcome=pb.Welcome(
                session_id="ses_1", resume_token=token, resumed=resumed, ping_interval=interval
            )
        )

    def assign(self, token: str, capability: str = "work", *, progress_timeout: float | None = None) -> None:
        assign = pb.Assign(lease_token=token, capability=capability, attempt=1, step_key="a")
        if progress_timeout is not None:
            assign.progress_timeout.FromNanoseconds(int(progress_timeout * 1e9))
        self.send(assign=assign)

    def decide(self, approval_id: str, state: approval_pb2.ApprovalState, **more: Any) -> None:
        """Tells what became of an approval."""
        approval = approval_pb2.Approval(id=approval_id, state=state, **more)
        self.send(approval_decided=pb.ApprovalDecided(approval_id=approval_id, approval=approval))

    def fail(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, reason: str = "DRAINING") -> None:
        """Ends the stream with an error of the server."""
        self.answers.put_nowait((code, reason))

    async def goodbye(self) -> None:
        """Expects Bye and ends the stream."""
        assert (await self.next()).HasField("bye")
        self.answers.put_nowait(None)

    async def serve(self) -> AsyncIterator[pb.SessionResponse]:
        while (answer := await self.answers.get()) is not None:
            if isinstance(answer, pb.SessionResponse):
                yield answer
                continue
            code, reason = answer
            detail = AnyMessage()
            detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="quarterdeck.dev"))
            number: int = code.value[0]
            status = status_pb2.Status(code=number, message="scripted", details=[detail])
            self._context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await self._context.abort(code, "scripted")


class ScriptedGate(GateServiceServicer):
    """Answers every request with an approval of its own, `apr_1`, `apr_2` and so on by its key."""

    def __init__(self) -> None:
        self.verdict = approval_pb2.APPROVAL_STATE_PENDING
        self.edited = action_pb2.Action()
        """What is started where the agent does not say what it runs."""
        self.asked: list[gate_service_pb2.AuthorizeRequest] = []
        self.started: list[gate_service_pb2.RedeemGrantRequest] = []

    async def Authorize(  # the contract's name
        self, request: gate_service_pb2.AuthorizeRequest, context: Any
    ) -> gate_service_pb2.AuthorizeResponse:
        self.asked.append(request)
        approval = approval_pb2.Approval(id=f"apr_{request.request_key}", state=self.verdict)
        return gate_service_pb2.AuthorizeResponse(approval=approval)

    async def RedeemGrant(  # the contract's name
        self, request: gate_service_pb2.RedeemGrantRequest, context: Any
    ) -> gate_service_pb2.RedeemGrantResponse:
        self.started.append(request)
        answer = gate_service_pb2.RedeemGrantResponse(idempotency_key=f"once {request.approval_id}")
        if not request.HasField("action"):
            answer.action.CopyFrom(self.edited)
        return answer


class ScriptedServer(WorkerServiceServicer):
    """Accepts sessions for a test to answer."""

    def __init__(self) -> None:
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._opened: list[Stream] = []
        self._server = grpc.aio.server()
        self._port = 0
        self.gate = ScriptedGate()

    async def Session(  # the contract's name
        self, requests: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse]:
        stream = Stream(requests, context)
        self._opened.append(stream)
        self._streams.put_nowait(stream)
        async for answer in stream.serve():
            yield answer

    async def accept(self) -> Stream:
        """The next session stream that an agent opens."""
        return await asyncio.wait_for(self._streams.get(), WAIT)

    def end_streams(self) -> None:
        """As a server that has heard Bye."""
        for stream in self._opened:
            stream.answers.put_nowait(None)

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self._port}", "")

    async def __aenter__(self) -> ScriptedServer:
        add_WorkerServiceServicer_to_server(self, self._server)
        add_GateServiceServicer_to_server(self.gate, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)
