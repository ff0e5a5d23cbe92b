"""Rows of an answer to SQL, read while they come, so that only a few are kept."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from wopr.domain.errors import StorageError

LARGEST_ROW = 64 * 1024 * 1024
"""Characters; what is larger is not read."""
_HEAD_END = '"rows":['
_DECODER = json.JSONDecoder()
_MOMENT = TypeAdapter(datetime)


class RowReader:
    """Reads ``{"columns": …, "moment": …, "truncated": …, "rows": [[…], …]}`` in parts. No I/O."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._enough = 0
        self.columns: list[str] | None = None
        self.truncated = False
        self.moment: datetime | None = None
        self.whole = False

    def read(self, part: bytes) -> Iterator[list[Any]]:
        """Give the rows that a part completes.

        Raises:
            StorageError: it is no such answer, or a row has no end.
        """
        self._text += self._decoder.decode(part)
        if self.columns is None and not self._head():
            return
        at = 0
        while at < len(self._text) and len(self._text) >= self._enough:
            if self._text[at] == "]":
                self.whole = True
                break
            if self._text[at] == ",":
                at += 1
                continue
            try:
                row, at = _DECODER.raw_decode(self._text, at)
            except ValueError:  # the rest of it comes
                self._enough = 2 * (len(self._text) - at)
                break
            self._enough = 0
            yield row
        self._text = self._text[at:]
        self._bounded()

    def end(self) -> Iterator[list[Any]]:
        """Give the rows that are left, and check that all came.

        Raises:
            StorageError: they did not.
        """
        self._enough = 0
        yield from self.read(b"")
        if not self.whole:
            raise StorageError(
                "The answer to the question ended before its rows did. Ask again; the log of "
                "`wopr web` says more."
            )

    def _head(self) -> bool:
        """Read what stands before the rows; whether it has come."""
        at = self._text.find(_HEAD_END)
        if at < 0:
            self._bounded()
            return False
        try:
            said = json.loads(self._text[:at].rstrip().removesuffix(",") + "}")
            self.columns = list(said["columns"])
            self.truncated = bool(said["truncated"])
            if said["moment"] is not None:
                self.moment = _MOMENT.validate_python(said["moment"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"The answer to the question can't be read: {str(error)[:300]}. Does the address "
                "lead to `wopr web`, of the same version?"
            ) from error
        self._text = self._text[at + len(_HEAD_END) :]
        return True

    def _bounded(self) -> None:
        if len(self._text) > LARGEST_ROW:
            raise StorageError(
                f"A row of the answer has more than {LARGEST_ROW // 2**20} Mi characters, which "
                "are not kept. Select less of it."
            )


class _Stream:
    """What is known of an answer before its rows."""

    def __init__(self) -> None:
        self._reader = RowReader()
        self._first: list[list[Any]] = []

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._reader.columns or []

    @property
    def moment(self) -> datetime | None:
        """Of when the answer is."""
        return self._reader.moment

    @property
    def truncated(self) -> bool:
        """Whether there were more rows than the limits allow."""
        return self._reader.truncated

    def _begun(self, part: bytes | None) -> bool:
        """Read the first part, or the next of the first; whether the columns are known."""
        if part is None:
            self._first.extend(self._reader.end())
            return True
        self._first.extend(self._reader.read(part))
        return self._reader.columns is not None


class SqlStream(_Stream):
    """An answer to SQL: iterates over its rows, once."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        while not self._begun(next(self._parts, None)):
            pass

    def __iter__(self) -> Iterator[list[Any]]:
        yield from self._first
        self._first = []
        for part in self._parts:
            yield from self._reader.read(part)
        yield from self._reader.end()


class AsyncSqlStream(_Stream):
    """An answer to SQL: iterates over its rows, once, without blocking the event loop."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        super().__init__()
        self._parts = parts

    async def begin(self) -> None:
        """Read up to the first rows."""
        while not self._begun(await anext(self._parts, None)):
            pass

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        for row in self._first:
            yield row
        self._first = []
        async for part in self._parts:
            for row in self._reader.read(part):
                yield row
        for row in self._reader.end():
            yield row
