"""The client: tasks from creation to end, and deciding on what agents ask for.

Invariant: every mutation carries a request id, and repetitions of a call carry the
same one, so that a lost answer never does a thing twice.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, Union

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from quarterdeck._backoff import Backoff
from quarterdeck._channel import (
    DEFAULT_ADDRESS,
    Connection,
    Stubs,
    Target,
    credential_from_environment,
)
from quarterdeck._errors import QuarterdeckError, from_rpc, transport_error
from quarterdeck._payload import Payload
from quarterdeck._plan import PlanLike, plan_to_proto
from quarterdeck._watch import ApprovalFrame, Frame, Watch, approvals_source, task_source, tasks_source
from quarterdeck.approvals.v1 import action_pb2, approval_pb2, approval_service_pb2
from quarterdeck.orchestration.v1 import agent_service_pb2, task_pb2, task_service_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")
View = Literal["basic", "full"]
Shown = Union[approval_pb2.Approval, tuple[str, bytes]]
"""An approval with the action that was looked at: as it was read, or its id and digest."""

_VIEWS = {"basic": task_service_pb2.TASK_VIEW_BASIC, "full": task_service_pb2.TASK_VIEW_FULL}


class Client:
    """A connection to a server, made at the first call.

    `address` is `http://host:port` or `https://host:port`, by default `QUARTERDECK_ADDRESS` or this
    machine's port 7443; plain text goes to this machine only, unless `allow_plaintext`. `api_key` is
    by default `QUARTERDECK_API_KEY`, or what is in the file `QUARTERDECK_API_KEY_FILE`. `ca_file`
    holds certificates (PEM) of who may sign the server's. `deadline` is how many seconds a call may
    take, repetitions included.

    All calls raise `QuarterdeckError`. Use it in one event loop, as `async with Client(..) as client`.
    """

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        *,
        allow_plaintext: bool = False,
        deadline: float = 10.0,
        watch_silence: float = 30.0,
        reconnect_for: float = 120.0,
    ) -> None:
        address = address or os.environ.get("QUARTERDECK_ADDRESS") or DEFAULT_ADDRESS
        target = Target.parse(address, allow_plaintext)
        key = credential_from_environment() if api_key is None else api_key
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        ca_pem = Path(ca_file).read_bytes() if ca_file else None
        self.connection = Connection(target, ca_pem)
        self.deadline = deadline
        self.watch_silence = watch_silence
        self.reconnect_for = reconnect_for

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and what is under way on it."""
        await self.connection.close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries; secret."""
        return self._metadata

    # Tasks

    async def create_task(
        self,
        plan: PlanLike,
        *,
        project: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> task_pb2.Task:
        """Creates a task and starts it. The plan: a `Plan`, steps, or ProtoJSON as a mapping.

        With a request id of your own the task is created once, however often you call.
        """
        request = task_service_pb2.CreateTaskRequest(
            project=project,
            request_id=_request_id(request_id),
            display_name=display_name,
            labels=dict(labels or {}),
            plan=plan_to_proto(plan),
        )
        response = await self.call(lambda stubs: stubs.tasks.CreateTask, request)
        return response.task

    async def get_task(
        self, task_id: str, *, view: View = "basic", step_keys: Iterable[str] = ()
    ) -> task_pb2.Task:
        """Reads a task as it is now; `full` with payloads, as far as they fit in one answer."""
        request = task_service_pb2.GetTaskRequest(
            task_id=task_id, view=_VIEWS[view], step_keys=list(step_keys)
        )
        response = await self.call(lambda stubs: stubs.tasks.GetTask, request)
        return response.task

    async def list_tasks(
        self,
        *,
        project: str = "",
        states: Iterable[task_pb2.TaskState] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        retry_of: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[task_pb2.Task]:
        """The tasks of one project, newest first, without their steps; pages are fetched as needed."""
        task_filter = task_service_pb2.TaskFilter(
            states=list(states), labels=dict(labels or {}), retry_of=retry_of
        )
        if created_after is not None:
            task_filter.created_after.CopyFrom(_timestamp(created_after))
        if created_before is not None:
            task_filter.created_before.CopyFrom(_timestamp(created_before))
        request = task_service_pb2.ListTasksRequest(project=project, filter=task_filter, page_size=page_size)
        while True:
            page = await self.call(lambda stubs: stubs.tasks.ListTasks, request)
            for task in page.tasks:
                yield task
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def cancel_task(
        self,
        task_id: str,
        *,
        comment: str = "",
        if_revision_match: int | None = None,
        request_id: str | None = None,
    ) -> task_pb2.Task:
        """Ends a running task."""
        request = task_service_pb2.CancelTaskRequest(
            task_id=task_id,
            request_id=_request_id(request_id),
            comment=comment,
            if_revision_match=if_revision_match,
        )
        response = await self.call(lambda stubs: stubs.tasks.CancelTask, request)
        return response.task

    async def retry_task(self, task_id: str, *, request_id: str | None = None) -> task_pb2.Task:
        """Creates a new task with the plan of a failed or cancelled one, keeping what had succeeded."""
        request = task_service_pb2.RetryTaskRequest(task_id=task_id, request_id=_request_id(request_id))
        response = await self.call(lambda stubs: stubs.tasks.RetryTask, request)
        return response.task

    async def events(self, task_id: str, *, page_size: int = 0) -> AsyncIterator[task_pb2.TaskEvent]:
        """The history of a task so far, oldest first."""
        request = task_service_pb2.ListTaskEventsRequest(task_id=task_id, page_size=page_size)
        while True:
            page = await self.call(lambda stubs: stubs.tasks.ListTaskEvents, request)
            for event in page.events:
                yield event
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch_task(self, task_id: str, *, resume_after: str = "") -> Watch[Frame]:
        """Follows a task to its end: a snapshot, then every event once and in order.

        The watch outlives its connections. With the cursor of an earlier frame it goes on after that.
        """
        return Watch(self, task_source(task_id), resume_after)

    def watch_tasks(
        self,
        *,
        project: str = "",
        labels: Mapping[str, str] | None = None,
        include_steps: bool = False,
        resume_after: str = "",
    ) -> Watch[Frame]:
        """Follows all tasks of a project; never ends by itself."""
        request = task_service_pb2.WatchTasksRequest(
            project=project, labels=dict(labels or {}), include_steps=include_steps
        )
        return Watch(self, tasks_source(request), resume_after)

    async def wait_for_task(self, task_id: str, *, timeout: float | None = None) -> task_pb2.Task:
        """Waits until a task has ended and answers it with payloads.

        `asyncio.TimeoutError` after `timeout` seconds; the task goes on.
        """
        await asyncio.wait_for(self._ended(task_id), timeout)
        return await self.get_task(task_id, view="full")

    async def _ended(self, task_id: str) -> None:
        async with self.watch_task(task_id) as watch:
            async for _ in watch:
                pass

    async def outputs(self, task: task_pb2.Task) -> dict[str, Any]:
        """The outputs of a task's finished steps as Python values; those left out are fetched."""
        found = {}
        for step in task.steps:
            if step.state != task_pb2.STEP_STATE_SUCCEEDED:
                continue
            output = Payload(step.output)
            if output.is_omitted:
                alone = await self.get_task(task.id, view="full", step_keys=[step.key])
                output = Payload(alone.steps[0].output)
            found[step.key] = output.value()
        return found

    # Approvals

    async def get_approval(self, approval_id: str) -> approval_service_pb2.GetApprovalResponse:
        """Reads an approval, with the preview that people are to be shown of its action."""
        request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
        return await self.call(lambda stubs: stubs.approvals.GetApproval, request)

    async def list_approvals(
        self,
        *,
        project: str = "",
        states: Iterable[approval_pb2.ApprovalState] = (),
        min_level: approval_pb2.RiskLevel = approval_pb2.RISK_LEVEL_UNSPECIFIED,
        task_id: str = "",
        agent: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[approval_pb2.Approval]:
        """The approvals of one project, newest first, without findings; pages are fetched as needed."""
        approval_filter = approval_service_pb2.ApprovalFilter(
            states=list(states), min_level=min_level, task_id=task_id, agent=agent
        )
        request = approval_service_pb2.ListApprovalsRequest(
            project=project, filter=approval_filter, page_size=page_size
        )
        while True:
            page = await self.call(lambda stubs: stubs.approvals.ListApprovals, request)
            for approval in page.approvals:
                yield approval
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def approve(
        self, *approvals: Shown, comment: str = "", request_id: str | None = None
    ) -> list[approval_pb2.Approval]:
        """Says yes to exactly these, all or none: approvals as they were read, or ids and digests.

        A yes counts for the action that was shown: DIGEST_MISMATCH where it is another by now.
        """
        return await self._decide(approval_pb2.VOTE_APPROVE, approvals, comment, request_id)

    async def deny(
        self, *approvals: Shown, comment: str = "", request_id: str | None = None
    ) -> list[approval_pb2.Approval]:
        """Says no to exactly these, all or none; as `approve`."""
        return await self._decide(approval_pb2.VOTE_DENY, approvals, comment, request_id)

    async def _decide(
        self, vote: approval_pb2.Vote, approvals: Iterable[Shown], comment: str, request_id: str | None
    ) -> list[approval_pb2.Approval]:
        targets = [
            approval_service_pb2.DecisionTarget(approval_id=approval_id, digest=digest)
            for approval_id, digest in map(_shown, approvals)
        ]
        request = approval_service_pb2.DecideApprovalsRequest(
            targets=targets, vote=vote, comment=comment, request_id=_request_id(request_id)
        )
        response = await self.call(lambda stubs: stubs.approvals.DecideApprovals, request)
        return list(response.approvals)

    async def edit_approval(
        self, approval: Shown, action: action_pb2.Action, *, comment: str = "", request_id: str | None = None
    ) -> approval_pb2.Approval:
        """Replaces the action of a pending approval; answers the new approval, which others decide on."""
        approval_id, digest = _shown(approval)
        request = approval_service_pb2.EditApprovalRequest(
            approval_id=approval_id,
            digest=digest,
            action=action,
            comment=comment,
            request_id=_request_id(request_id),
        )
        response = await self.call(lambda stubs: stubs.approvals.EditApproval, request)
        return response.approval

    def watch_approvals(
        self,
        *,
        project: str = "",
        min_level: approval_pb2.RiskLevel = approval_pb2.RISK_LEVEL_UNSPECIFIED,
        resume_after: str = "",
    ) -> Watch[ApprovalFrame]:
        """Follows the approvals of a project: the pending ones, then every change; never ends by itself.

        A connection that breaks among the pending ones starts them again.
        """
        request = approval_service_pb2.WatchApprovalsRequest(project=project, min_level=min_level)
        return Watch(self, approvals_source(request), resume_after)

    # Agents

    async def drain_agent(
        self, agent: str = "", *, session_id: str = "", project: str = ""
    ) -> list[agent_service_pb2.Session]:
        """Asks an agent, or one session of it, to finish what it holds and to end."""
        request = agent_service_pb2.DrainAgentRequest(project=project, request_id=_request_id(None))
        if session_id:
            request.session_id = session_id
        else:
            request.agent = agent
        response = await self.call(lambda stubs: stubs.agents.DrainAgent, request)
        return list(response.sessions)

    # How calls are made

    async def call(
        self,
        method: Callable[[Stubs], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        deadline: float | None = None,
    ) -> Response:
        """Calls until an answer, an error that stays, or the end of the time."""
        loop = asyncio.get_running_loop()
        whole = self.deadline if deadline is None else deadline
        end = loop.time() + whole
        backoff = Backoff()
        while True:
            # Half of the time for one try, so that a lost answer leaves room for asking again.
            limit = min(end - loop.time(), max(whole / 2, 1.0))
            try:
                return await self._once(method, request, limit)
            except QuarterdeckError as error:
                wait = backoff.next(error.retry_after)
                if not error.is_retryable or loop.time() + wait >= end:
                    raise
            await asyncio.sleep(wait)

    async def _once(
        self,
        method: Callable[[Stubs], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        limit: float,
    ) -> Response:
        async with self.connection.use() as link:
            call: Awaitable[Response] = method(link.stubs)(
                request, timeout=limit, metadata=self._metadata, wait_for_ready=False
            )
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error)
                if failure.origin == "transport" and failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    failure = transport_error(failure.code, f"no answer within {limit:.1f} s")
                raise failure from error


def _request_id(given: str | None) -> str:
    return uuid.uuid4().hex if given is None else given


def _shown(approval: Shown) -> tuple[str, bytes]:
    if isinstance(approval, approval_pb2.Approval):
        return approval.id, approval.digest
    return approval


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    # A moment without a zone is local time, as everywhere in `datetime`.
    timestamp.FromDatetime(moment.astimezone(timezone.utc))
    return timestamp
