"""One row of the client's table, and one request of it: method, path, what it sends and answers."""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from wopr.domain.errors import InvalidCallError, StorageError
from wopr.domain.jsontext import shown

T = TypeVar("T")
_NO_BODY = object()


@dataclass(frozen=True, kw_only=True)
class Row(Generic[T]):
    """What a call of the API is."""

    method: str
    path: str
    """Below ``/api/v1``; ``{name}`` stands for a part of it."""
    answer: type[T]
    key: str | None = None
    """The one field of the answer that is given back; ``None``: all of it."""
    reads: bool = False
    """Whether it changes nothing, so that it may be repeated."""

    @functools.cached_property
    def _reader(self) -> TypeAdapter[T]:
        return TypeAdapter(self.answer)

    def read(self, content: bytes) -> T:
        """Return what an answer says.

        Raises:
            StorageError: it is none that this version of wopr understands.
        """
        try:
            if self.answer is type(None):
                return self._reader.validate_python(None)
            if self.key is None:
                return self._reader.validate_json(content)
            return self._reader.validate_python(from_json(content)[self.key])
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.method} {self.path} was answered, but not as this version of wopr knows "
                f"it: {str(error)[:300]}. Does the address lead to `wopr web`, of the same version?"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a call is given."""

    path: Mapping[str, str | int] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = _NO_BODY
    more_seconds: float = 0.0
    """So much longer than others it may take until the answer comes."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """One request of a row."""

    row: Row[T]
    given: Given = field(default_factory=Given)

    @property
    def path(self) -> str:
        """The path, with its parts."""
        found = self.row.path
        for name, value in self.given.path.items():
            found = found.replace(f"{{{name}}}", _part(name, value))
        return found

    @property
    def query(self) -> dict[str, Any]:
        """The parameters that have a value."""
        given = {name: value for name, value in self.given.query.items() if value is not None}
        found: dict[str, Any] = {}
        for name, value in given.items():
            found[name] = to_jsonable_python(_listed(value), timedelta_mode="float", fallback=str)
        return found

    @property
    def body(self) -> bytes | None:
        """The body; ``None``: there is none.

        Raises:
            InvalidCallError: it can't be sent as JSON.
        """
        if self.given.body is _NO_BODY:
            return None
        try:
            return to_json(self.given.body, timedelta_mode="float", bytes_mode="base64")
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise InvalidCallError(
                f"{self.row.method} {self.row.path} can't be sent as JSON: {str(error)[:300]}. "
                "Nothing was sent. Pass texts, numbers, lists, dicts, times and models of pydantic."
            ) from error


Steps = Generator[Asked[Any], Any, T]
"""Several requests, one after the other: each is sent, and its answer comes back."""


def _part(name: str, value: str | int) -> str:
    """Return a part of a path, in which it stands as it is."""
    text = str(value)
    if not text or "\x00" in text or len(text) > 1_000:
        raise InvalidCallError(
            f"{name} must be a text of 1 to 1,000 characters without NUL, not {shown(value)}."
        )
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def _listed(value: Any) -> Any:
    """Return a value of a query as it is, a collection of them as a list."""
    if isinstance(value, str | int | float | timedelta):
        return value
    return list(value) if hasattr(value, "__iter__") else value


def without_none(**given: Any) -> dict[str, Any]:
    """Return what has a value."""
    return {name: value for name, value in given.items() if value is not None}
