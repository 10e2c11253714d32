"""Actions: what an agent wants to do, exactly.

They are the contract's own messages. The server looks at them and binds a yes to their
bytes, so that nothing is added or left out here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from quarterdeck.approvals.v1 import action_pb2 as pb

FileOperation = Literal["read", "write", "append", "delete", "move"]

_OPERATIONS: dict[FileOperation, pb.FileOperation] = {
    "read": pb.FILE_OPERATION_READ,
    "write": pb.FILE_OPERATION_WRITE,
    "append": pb.FILE_OPERATION_APPEND,
    "delete": pb.FILE_OPERATION_DELETE,
    "move": pb.FILE_OPERATION_MOVE,
}


class Action:
    """Makes actions (`quarterdeck.approvals.v1.action_pb2.Action`); at most 64 KiB of text each."""

    @staticmethod
    def command(
        command: str | Sequence[str], *, cwd: str = "", environment_names: Iterable[str] = ()
    ) -> pb.Action:
        """Runs a program. Text is for a shell; a list is handed to the system as it is.

        `environment_names`: of the variables that it is given; their values stay here.
        """
        message = pb.CommandAction(cwd=cwd, environment_names=environment_names)
        if isinstance(command, str):
            message.script = command
        else:
            message.argv.extend(command)
        return pb.Action(command=message)

    @staticmethod
    def file(path: str, operation: FileOperation, *, destination: str = "", diff: str = "") -> pb.Action:
        """Changes or reads one file. `destination`: of a move. `diff`: what changes, or the new content."""
        message = pb.FileAction(
            path=path, operation=_OPERATIONS[operation], destination=destination, diff=diff
        )
        return pb.Action(file=message)

    @staticmethod
    def code(language: str, source: str) -> pb.Action:
        """Runs source text; `language` is such as `python`."""
        return pb.Action(code=pb.CodeAction(language=language, source=source))

    @staticmethod
    def sql(text: str, dialect: str = "") -> pb.Action:
        """Runs statements on a database; `dialect` is such as `postgres`."""
        return pb.Action(sql=pb.SqlAction(text=text, dialect=dialect))

    @staticmethod
    def http(method: str, url: str, headers: Mapping[str, str] | None = None, body: str = "") -> pb.Action:
        """Calls an address."""
        lines = [pb.HttpHeader(name=name, value=value) for name, value in (headers or {}).items()]
        return pb.Action(http=pb.HttpAction(method=method, url=url, headers=lines, body=body))

    @staticmethod
    def git(*arguments: str, cwd: str = "") -> pb.Action:
        """Runs git with these arguments."""
        return pb.Action(git=pb.GitAction(arguments=arguments, cwd=cwd))

    @staticmethod
    def workflow(name: str, operation: FileOperation, definition: str = "") -> pb.Action:
        """Changes what runs by itself: pipelines, schedules, plans."""
        message = pb.WorkflowAction(name=name, operation=_OPERATIONS[operation], definition=definition)
        return pb.Action(workflow=message)

    @staticmethod
    def tool(name: str, arguments: Any = None) -> pb.Action:
        """Calls a tool that the server does not know; its arguments are any JSON value."""
        text = "" if arguments is None else json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        return pb.Action(tool=pb.ToolAction(name=name, arguments_json=text))
