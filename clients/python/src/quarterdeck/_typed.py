"""Payloads to and from the types that a handler names.

Takes JSON values, `Payload`, bytes, dataclasses, `TypedDict`, the usual containers,
unions, literals and enums; pydantic models where pydantic is installed (they are
known by their methods, so it is never imported here).
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from quarterdeck._payload import Payload


class InputError(ValueError):
    """A value is not of the type asked for."""


def to_payload(value: Any) -> Payload:
    """A value of any type that this module takes. ValueError or TypeError where it is none."""
    if value is None or isinstance(value, (Payload, bytes)):
        return Payload.of(value)
    return Payload.of(_plain(value))


def _plain(value: Any) -> Any:
    """JSON's own types."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


class Reader:
    """Reads payloads as one type."""

    def __init__(self, wanted: Any, names: Mapping[str, Any] | None = None) -> None:
        self._wanted = wanted
        # Names that forward references may use beyond their module's.
        self._names = dict(names or {})

    def read(self, payload: Payload) -> Any:
        """The value. InputError where it is of another shape."""
        if self._wanted is Payload:
            return payload
        try:
            if self._wanted is bytes:
                return payload.to_bytes()
            if self._wanted is str:
                return payload.to_text()
            value = payload.value()
        except ValueError as error:
            raise InputError(str(error)) from error
        return self._convert(value, self._wanted, "input")

    def _convert(self, value: Any, wanted: Any, path: str) -> Any:
        if wanted is Any or wanted is object or isinstance(wanted, typing.TypeVar):
            return value
        if hasattr(wanted, "model_validate"):
            try:
                return wanted.model_validate(value)
            except ValueError as error:
                raise InputError(f"{path}: {error}") from error
        if dataclasses.is_dataclass(wanted):
            return self._dataclass(value, wanted, path)
        if typing.is_typeddict(wanted):
            return self._typed_dict(value, wanted, path)
        origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
        if origin is typing.Annotated:
            return self._convert(value, arguments[0], path)
        if origin is Union or origin is types.UnionType:
            return self._union(value, arguments, path)
        if origin is Literal:
            if not any(value == choice and type(value) is type(choice) for choice in arguments):
                raise InputError(f"{path}: {value!r} is none of {', '.join(map(repr, arguments))}")
            return value
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            try:
                return wanted(value)
            except ValueError as error:
                raise InputError(f"{path}: {error}") from error
        if origin is not None:
            return self._container(value, origin, arguments, path)
        return _scalar(value, wanted, path)

    def _hints(self, wanted: Any) -> dict[str, Any]:
        return typing.get_type_hints(wanted, localns=self._names)

    def _dataclass(self, value: Any, wanted: Any, path: str) -> Any:
        _expect(value, dict, path)
        hints = self._hints(wanted)
        fields = {field.name: field for field in dataclasses.fields(wanted) if field.init}
        unknown = sorted(value.keys() - fields.keys())
        if unknown:
            raise InputError(f"{path}: unknown {', '.join(unknown)}")
        missing = [
            name
            for name, field in fields.items()
            if name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise InputError(f"{path}: missing {', '.join(missing)}")
        given = {name: self._convert(item, hints[name], f"{path}.{name}") for name, item in value.items()}
        try:
            return wanted(**given)
        except (TypeError, ValueError) as error:  # of its __post_init__
            raise InputError(f"{path}: {error}") from error

    def _typed_dict(self, value: Any, wanted: Any, path: str) -> Any:
        _expect(value, dict, path)
        missing = sorted(wanted.__required_keys__ - value.keys())
        if missing:
            raise InputError(f"{path}: missing {', '.join(missing)}")
        hints = self._hints(wanted)
        return {
            name: self._convert(item, hints[name], f"{path}.{name}") if name in hints else item
            for name, item in value.items()
        }

    def _union(self, value: Any, choices: tuple[Any, ...], path: str) -> Any:
        faults = []
        for choice in choices:
            try:
                return self._convert(value, choice, path)
            except InputError as error:
                faults.append(str(error))
        raise InputError("; or ".join(faults))

    def _container(self, value: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Any:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            _expect(value, dict, path)
            inner = arguments[1]
            return {key: self._convert(item, inner, f"{path}.{key}") for key, item in value.items()}
        _expect(value, list, path)
        if origin is tuple and arguments[-1:] != (Ellipsis,):
            if len(value) != len(arguments):
                raise InputError(f"{path}: {len(value)} items instead of {len(arguments)}")
            pairs = enumerate(zip(value, arguments, strict=True))
            return tuple(self._convert(item, inner, f"{path}[{place}]") for place, (item, inner) in pairs)
        items = [self._convert(item, arguments[0], f"{path}[{place}]") for place, item in enumerate(value)]
        make: Callable[[Sequence[Any]], Any] = origin if origin in (tuple, set, frozenset) else list
        return make(items)


def _scalar(value: Any, wanted: Any, path: str) -> Any:
    if wanted is None or wanted is type(None):
        if value is not None:
            raise InputError(f"{path}: {type(value).__name__} where nothing is expected")
        return None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is int and isinstance(value, bool):
        raise InputError(f"{path}: bool instead of int")
    if wanted in (tuple, set, frozenset):
        _expect(value, list, path)
        return wanted(value)
    _expect(value, wanted, path)
    return value


def _expect(value: Any, wanted: Any, path: str) -> None:
    if not isinstance(wanted, type):
        raise InputError(f"{path}: the type {wanted!r} is not one that input can have")
    if not isinstance(value, wanted):
        raise InputError(f"{path}: {type(value).__name__} instead of {wanted.__name__}")
