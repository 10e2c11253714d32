"""What steps take and give, to and from Python values.

Invariant: JSON survives unchanged. What `google.protobuf.Value` cannot hold exactly
(integers beyond 2**53, deep nesting) goes as JSON text instead, as the contract asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from quarterdeck.type.v1 import payload_pb2

MAX_CONTENT = 262_144
"""Largest content of a payload in bytes."""

_EXACT = 2**53
# Each level of JSON is up to three of protobuf, of which decoders take 100.
_DEEP = 16
_MEDIA_TYPE = re.compile(
    r"[a-zA-Z0-9!#$&^_.+-]+/[a-zA-Z0-9!#$&^_.+-]+(; ?[a-zA-Z0-9._-]+=[a-zA-Z0-9._-]+)*", re.ASCII
)


class Payload:
    """A media type and its content, at most 256 KiB. `proto` is the message itself."""

    def __init__(self, proto: payload_pb2.Payload | None = None) -> None:
        self.proto = proto if proto is not None else payload_pb2.Payload()

    @staticmethod
    def json(value: Any) -> Payload:
        """Any JSON value. ValueError or TypeError where it is none."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if not _is_exact(value, _DEEP):
            return Payload.data("application/json", text.encode())
        message = payload_pb2.Payload()
        # From the text: tuples and the like are lists by now.
        _fill(message.json, json.loads(text))
        return Payload(message)

    @staticmethod
    def text(text: str) -> Payload:
        """UTF-8 text."""
        return Payload.data("text/plain; charset=utf-8", text.encode())

    @staticmethod
    def data(media_type: str, data: bytes) -> Payload:
        """Bytes as they are."""
        return Payload(payload_pb2.Payload(media_type=media_type, data=data))

    @staticmethod
    def of(value: Any) -> Payload:
        """`None` is nothing at all, bytes are bytes, a payload is itself; all else is JSON."""
        if isinstance(value, Payload):
            return value
        if isinstance(value, payload_pb2.Payload):
            return Payload(value)
        if value is None:
            return Payload()
        if isinstance(value, bytes):
            return Payload.data("application/octet-stream", value)
        return Payload.json(value)

    @property
    def media_type(self) -> str:
        """With the contract's default where none was given."""
        default = "application/json" if self.proto.HasField("json") else "application/octet-stream"
        return self.proto.media_type or default

    @property
    def is_empty(self) -> bool:
        """True where there is no content."""
        return self.size == 0

    @property
    def is_omitted(self) -> bool:
        """True where the server left the content out."""
        return self.proto.HasField("omitted")

    @property
    def size(self) -> int:
        """Bytes of the content: JSON as compact text, omitted as the server says."""
        if self.is_omitted:
            return self.proto.omitted.size
        return len(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content as bytes; JSON as compact text. ValueError where it was omitted."""
        kind = self.proto.WhichOneof("content")
        if kind == "omitted":
            raise ValueError("the server left this payload's content out; ask for it by step key")
        if kind == "json":
            text = json.dumps(_read(self.proto.json), ensure_ascii=False, separators=(",", ":"))
            return text.encode()
        return self.proto.data

    def to_text(self) -> str:
        """The content as text: a JSON string, or data that is UTF-8. ValueError where it is neither."""
        if self.proto.HasField("json") or self.media_type == "application/json":
            value = self.value()
            if not isinstance(value, str):
                raise ValueError(f"the payload is JSON, but no string: {type(value).__name__}")
            return value
        return self.to_bytes().decode()

    def value(self) -> Any:
        """The content as a Python value: JSON parsed, text as `str`, else bytes; nothing is `None`.

        ValueError where it was omitted or is not what its media type says.
        """
        if self.proto.HasField("json"):
            return _read(self.proto.json)
        data = self.to_bytes()
        if not data:
            return None
        essence = self.media_type.partition(";")[0]
        if essence == "application/json" or essence.endswith("+json"):
            return json.loads(data)
        return data.decode() if essence.startswith("text/") else data

    def check(self) -> None:
        """ValueError where the contract does not take it."""
        if self.is_omitted:
            raise ValueError("its content was omitted when it was received")
        if self.size > MAX_CONTENT:
            raise ValueError(f"{self.size} bytes are more than {MAX_CONTENT}")
        given = self.proto.media_type
        if given and (len(given) > 127 or not _MEDIA_TYPE.fullmatch(given)):
            raise ValueError(f"`{given}` is no media type")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and self.proto == other.proto

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Payload({self.media_type}, {self.size} bytes)"


def _is_exact(value: Any, levels: int) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) <= _EXACT
    if isinstance(value, Mapping):
        return levels > 0 and all(_is_exact(item, levels - 1) for item in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return levels > 0 and all(_is_exact(item, levels - 1) for item in value)
    return True


def _fill(message: Value, value: Any) -> None:
    json_format.ParseDict(value, message)
    if value is None:
        message.null_value = 0  # type: ignore[assignment]


def _read(message: Value) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _read(item) for key, item in message.struct_value.fields.items()}
    if kind == "list_value":
        return [_read(item) for item in message.list_value.values]
    if kind == "number_value":
        number = message.number_value
        # JSON has one kind of number; a whole one is an `int` here.
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "string_value":
        return message.string_value
    return message.bool_value if kind == "bool_value" else None
