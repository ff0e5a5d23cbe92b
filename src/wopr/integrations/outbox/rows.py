"""The rows of an outbox: what one says, and what a database has to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from wopr.calls.registry import Registry
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import decode_plain, shown, too_large
from wopr.domain.newtask import NewTask
from wopr.remote import protocol
from wopr.remote.messages import NewTaskMessage, misfits

MOST_ROWS = 100
MOST_TEXT = 4_000_000
"""So many rows, of so many characters in all, are moved together; at least one."""
LONGEST_ERROR = 2_000

_MESSAGE: TypeAdapter[NewTaskMessage] = TypeAdapter(NewTaskMessage)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One call that waits in the application's database. ``created_at`` is naive UTC."""

    number: int
    """Rows are moved in the order of their numbers."""
    id: str
    """Of the task that it becomes."""
    name: str
    call: str
    """The call as JSON text."""
    created_at: datetime
    error: str | None = None
    """Why it can't become a task; such a row is moved when somebody says so."""


class Rows(Protocol):
    """The table of one outbox. One transaction takes some rows and settles what became of them."""

    async def take(self) -> Sequence[OutboxRow]:
        """Return the oldest rows that have no error; none, if another mover is at older ones."""
        ...

    async def settle(self, moved: Sequence[int], refused: Mapping[int, str]) -> None:
        """Delete what was moved, give an error to what was refused, and commit."""
        ...

    async def let_go(self) -> None:
        """End what :meth:`take` began, if it was not settled. Idempotent."""
        ...

    async def refused(self, most: int) -> list[OutboxRow]:
        """Return the oldest rows that have an error."""
        ...

    async def retry(self, ids: Sequence[str]) -> int:
        """Take the errors away from some rows, or from all; return from how many."""
        ...

    async def close(self) -> None:
        """Let go of what moving needs. It may be used again."""
        ...


def within(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the first of the numbers whose sizes are together as much as is moved at once."""
    numbers: list[int] = []
    total = 0
    for number, size in sizes:
        total += size
        if numbers and total > MOST_TEXT:
            break
        numbers.append(number)
    return numbers


def text_of(new: NewTask) -> str:
    """Return a call as it is stored in a row."""
    return protocol.encode(protocol.new_task_to_plain(new)).decode().strip()


def _read(call: str) -> dict[str, object]:
    plain = decode_plain(call)
    if not isinstance(plain, dict):
        raise InvalidCallError(f"What its row says is no call: {shown(call)}.")
    return plain


_NEEDED = {"name": "", "category": "", "priority": 1, "max_retries": 0, "args": "", "kwargs": ""}
_OLDER = {
    name: value
    for name, value in _read(text_of(NewTask(**_NEEDED))).items()  # type: ignore[arg-type]
    if name not in _NEEDED
}
"""What a row of an older wopr may lack."""


def call_of(row: OutboxRow, registry: Registry, most_bytes: int) -> NewTask:
    """Return the call of a row, which may be of another version of the code.

    Raises:
        InvalidCallError: it can't become a task as it is.
    """
    try:
        message = _MESSAGE.validate_python({**_OLDER, **_read(row.call), "id": row.id})
    except ValidationError as error:
        raise InvalidCallError(
            f"Its row says what no call may: {misfits(error)}. Was it written by another version "
            "of wopr?"
        ) from None
    new = protocol.new_task_from_plain(dict(message))
    size = len(new.args) + len(new.kwargs)
    if size > most_bytes:
        what = f"The arguments of task {new.name!r}"
        raise too_large(what, size, most_bytes, "WOPR_TASKS_MAX_ARGS_BYTES")
    definition = registry.get(new.name)
    if not new.depends_on:  # else results of others may be among its arguments
        definition.codec.decode_call(new.args, new.kwargs)
    new.again = True
    return new
