"""Payloads, types, plans, addresses and words: what needs no server."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypedDict, Union

import grpc
import pytest
from google.protobuf import json_format

from quarterdeck import Action, Client, InputError, Payload, QuarterdeckError, Step, StepFailed, Worker
from quarterdeck._backoff import Backoff
from quarterdeck._channel import Target
from quarterdeck._durations import from_proto, to_proto
from quarterdeck._plan import plan_to_proto
from quarterdeck._typed import Reader, to_payload
from quarterdeck.approvals.v1 import action_pb2
from quarterdeck.type.v1 import payload_pb2
from quarterdeck.worker._outcome import Draft, Failed, completed, raised, word


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Leaf:
    size: int
    colour: Colour = Colour.RED


@dataclass
class Tree:
    leaves: list[Leaf]
    name: str = "oak"
    by_name: dict[str, Leaf] = field(default_factory=dict)
    parent: Tree | None = None


class Loose(TypedDict, total=False):
    size: float


DEEP: Any = 1
for _ in range(60):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -3, 2**53, 2**53 + 1, -(2**70), 0.5, 1e300, "", "ü\n", [], {}),
        *([1, "a", None, {"b": [True]}], {"n": None, "deep": DEEP}),
    ],
)
def test_json_survives_unchanged(value: Any) -> None:
    message = Payload.json(value).proto.SerializeToString()
    back = Payload(payload_pb2.Payload.FromString(message)).value()
    assert back == value
    assert type(back) is type(value)


def test_payloads_know_what_they_are() -> None:
    assert Payload.json({"a": 1}).media_type == "application/json"
    assert Payload.json({"a": 1}).to_bytes() == b'{"a":1}'
    assert Payload.text("words").value() == "words"
    assert Payload.of(b"\0").media_type == "application/octet-stream"
    assert Payload.of(None).is_empty
    assert Payload.of(None).value() is None
    omitted = Payload(payload_pb2.Payload(omitted=payload_pb2.PayloadSummary(size=7)))
    assert (omitted.is_omitted, omitted.size) == (True, 7)
    with pytest.raises(ValueError, match="left this payload's content out"):
        omitted.value()


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (Union[int, None], None, None),
        (Union[int, str], "x", "x"),
        (int | None, 4, 4),
        (Literal["a", 1], 1, 1),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[str], ["a"], {"a"}),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (list, [1, "a"], [1, "a"]),
        (Colour, "blue", Colour.BLUE),
        (Loose, {"size": 1, "more": 2}, {"size": 1.0, "more": 2}),
        (Leaf, {"size": 1}, Leaf(1)),
        (
            Tree,
            {"leaves": [{"size": 1, "colour": "blue"}], "parent": {"leaves": []}},
            Tree([Leaf(1, Colour.BLUE)], parent=Tree([])),
        ),
    ],
)
def test_values_are_converted_to_the_type_asked_for(wanted: Any, given: Any, expected: Any) -> None:
    converted = Reader(wanted).read(Payload.json(given))
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        (int, "3", "input: str instead of int"),
        (int, True, "input: bool instead of int"),
        (int, 0.5, "input: float instead of int"),
        (str, 3, "no string"),
        (list[int], [1, "a"], "input[1]: str instead of int"),
        (Literal["a"], "b", "input: 'b' is none of 'a'"),
        (Leaf, {"size": 1, "smell": 2}, "input: unknown smell"),
        (Leaf, {}, "input: missing size"),
        (Leaf, [], "input: list instead of dict"),
        (Tree, {"leaves": [{"size": None}]}, "input.leaves[0].size: NoneType instead of int"),
        (Colour, "green", "green"),
        (tuple[int, int], [1], "1 items instead of 2"),
        (Union[int, None], "x", "input: str instead of int; or input: str where nothing is expected"),
    ],
)
def test_a_value_of_another_shape_is_refused_by_its_path(wanted: Any, given: Any, words: str) -> None:
    with pytest.raises(InputError) as refused:
        Reader(wanted).read(Payload.json(given))
    assert words in str(refused.value)


def test_typed_values_go_out_as_json() -> None:
    tree = Tree([Leaf(1, Colour.BLUE)], by_name={"a": Leaf(2)})
    assert Reader(Tree).read(to_payload(tree)) == tree
    assert to_payload((1, {"a"})).value() == [1, ["a"]]


def test_durations_are_exact_to_the_nanosecond() -> None:
    for given, nanoseconds in ((0.25, 250_000_000), (timedelta(days=1, microseconds=1), 86_400_000_001_000)):
        assert to_proto(given).ToNanoseconds() == nanoseconds
    assert from_proto(to_proto(1.5)) == 1.5


def test_a_dict_that_is_no_plan_is_refused_here() -> None:
    with pytest.raises(ValueError, match="not a plan"):
        plan_to_proto({"steps": [{"kee": "a"}]})


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.command("ls | wc", cwd="/srv"), {"command": {"script": "ls | wc", "cwd": "/srv"}}),
        (
            Action.command(["ls", "-l"], environment_names=["HOME"]),
            {"command": {"argv": ["ls", "-l"], "environment_names": ["HOME"]}},
        ),
        (
            Action.file("a", "move", destination="b"),
            {"file": {"path": "a", "operation": "FILE_OPERATION_MOVE", "destination": "b"}},
        ),
        (Action.code("python", "1 + 1"), {"code": {"language": "python", "source": "1 + 1"}}),
        (Action.sql("SELECT 1", "sqlite"), {"sql": {"text": "SELECT 1", "dialect": "sqlite"}}),
        (
            Action.http("POST", "https://a.example", {"Accept": "*/*"}, "{}"),
            {
                "http": {
                    "method": "POST",
                    "url": "https://a.example",
                    "headers": [{"name": "Accept", "value": "*/*"}],
                    "body": "{}",
                }
            },
        ),
        (Action.git("push", "origin", cwd="a"), {"git": {"arguments": ["push", "origin"], "cwd": "a"}}),
        (
            Action.workflow("ci.yml", "write", "on: push"),
            {"workflow": {"name": "ci.yml", "operation": "FILE_OPERATION_WRITE", "definition": "on: push"}},
        ),
        (
            Action.tool("mail", {"to": "Jörg", "n": 1.0}),
            {"tool": {"name": "mail", "arguments_json": '{"to": "Jörg", "n": 1.0}'}},
        ),
        (Action.tool("clock"), {"tool": {"name": "clock"}}),
    ],
)
def test_actions_say_exactly_what_was_given(action: action_pb2.Action, expected: dict[str, Any]) -> None:
    assert json_format.MessageToDict(action, preserving_proto_field_name=True) == expected


def test_a_plan_carries_the_action_that_a_step_declares() -> None:
    action = Action.git("push")
    steps = plan_to_proto([Step("free", "work"), Step("gated", "work", action=action)]).steps
    assert [step.HasField("action") for step in steps] == [False, True]
    assert steps[1].action == action


@pytest.mark.parametrize(
    ("address", "authority", "tls"),
    [
        ("http://127.0.0.1:7443", "127.0.0.1:7443", False),
        ("localhost:7443/", "localhost:7443", False),
        ("http://[::1]:7443", "[::1]:7443", False),
        ("https://deck.example", "deck.example:443", True),
    ],
)
def test_addresses_are_read(address: str, authority: str, tls: bool) -> None:
    target = Target.parse(address, allow_plaintext=False)
    assert (target.authority, target.tls) == (authority, tls)


@pytest.mark.parametrize(
    "address", ["http://deck.example:7443", "ftp://localhost", "http://", "http://a@localhost"]
)
def test_an_address_that_would_show_the_key_or_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"address|api_key|everybody"):
        Client(address, "")
    if address.startswith("http://deck"):
        Client(address, "", allow_plaintext=True)


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("QUARTERDECK_ADDRESS", "QUARTERDECK_API_KEY", "QUARTERDECK_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert Client().metadata == ()
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("QUARTERDECK_API_KEY_FILE", str(tmp_path / "key"))
    assert Client().metadata == (("authorization", "Bearer from-a-file"),)
    monkeypatch.setenv("QUARTERDECK_API_KEY", "direct")
    assert Client().metadata == (("authorization", "Bearer direct"),)
    assert Client(api_key="given").metadata == (("authorization", "Bearer given"),)
    monkeypatch.setenv("QUARTERDECK_ADDRESS", "ftp://nowhere")
    with pytest.raises(ValueError, match="no address"):
        Client()


@pytest.mark.parametrize(
    ("code", "reason", "origin", "retryable"),
    [
        ("UNAVAILABLE", "STORE_UNAVAILABLE", "server", True),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "server", True),
        ("RESOURCE_EXHAUSTED", "OVERLOADED", "server", True),
        ("RESOURCE_EXHAUSTED", "LIMIT_REACHED", "server", False),
        ("ABORTED", "CONTENTION", "server", True),
        ("ABORTED", "REVISION_MISMATCH", "server", False),
        ("INTERNAL", "INTERNAL", "server", False),
        ("INTERNAL", "", "transport", True),
        ("NOT_FOUND", "TASK_NOT_FOUND", "server", False),
        ("UNAVAILABLE", "", "client", False),
    ],
)
def test_only_errors_that_may_pass_are_retryable(
    code: str, reason: str, origin: Any, retryable: bool
) -> None:
    error = QuarterdeckError(grpc.StatusCode[code], "words", reason=reason, origin=origin)
    assert error.is_retryable is retryable


def test_whatever_an_agent_says_fits_the_contract() -> None:
    given = ("BAD_INPUT", "bad input", "4xx", "", "größe", "x" * 100)
    assert [word(text) for text in given] == [
        *("BAD_INPUT", "BAD_INPUT", "AGENT_4XX", "AGENT_", "GR__E"),
        "X" * 64,
    ]
    outcome = raised(StepFailed("x", "ü\0\ud800" * 9_000, retry_after=timedelta(days=70)))
    assert isinstance(outcome, Failed)
    assert len(outcome.message) == 4_000
    assert "\0" not in outcome.message
    outcome.message.encode()
    assert outcome.retry_after == 604_800
    assert [Draft.of(fraction, "").fraction for fraction in (float("nan"), -1, 7)] == [0, 0, 1]
    for output in (b"0" * 262_145, Payload.data("no media type", b""), "\ud800"):
        assert isinstance(completed(output), Failed)


def test_a_checkpoint_is_not_lost_with_the_word_it_came_with() -> None:
    later = Draft.of(0.1, "", Payload.text("kept")).superseded_by(Draft.of(0.2, "later"))
    assert (later.fraction, later.message, later.checkpoint) == (0.2, "later", Payload.text("kept"))


def test_waits_grow_to_the_cap_and_never_undercut_the_server() -> None:
    backoff = Backoff(0.05, 2.0)
    waits = [backoff.next(1.0) for _ in range(200)]
    assert all(1.0 <= wait <= 3.0 for wait in waits)
    assert waits[0] <= 1.05
    assert any(wait > 2.0 for wait in waits[20:])
    assert any(wait < 2.0 for wait in waits[20:])


def test_a_worker_that_cannot_work_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="slots"):
        Worker("a", slots=0)
    worker = Worker("a")
    with pytest.raises(TypeError, match="async def"):
        worker.step("work")(lambda ctx: None)  # type: ignore[type-var]

    @worker.step("work")
    async def work(ctx: Any) -> None: ...

    with pytest.raises(ValueError, match="has a handler already"):
        worker.step("work")(work)
