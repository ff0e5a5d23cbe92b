"""Questions in SQL that somebody typed: asked apart, a few at a time, and stopped on request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from starlette.requests import Request

from wopr.domain.errors import QueryError
from wopr.queue.queue import TaskQueue, inside

T = TypeVar("T")

MOST_AT_ONCE = 4
"""So many questions run at once; each is a process, on a copy of the database."""
STOPPED = "It was stopped on request; nothing of it runs any more."
_LINE = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
_NEAR = re.compile(r'at or near "(.+?)"')


class Questions:
    """The questions that run now, by the keys that their askers gave them."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, key: str, asking: Coroutine[Any, Any, T]) -> T:
        """Return the answer.

        Raises:
            QueryError: it was stopped, too many run, or it failed.
        """
        if key in self._running or len(self._running) >= MOST_AT_ONCE:
            asking.close()
            raise QueryError(
                f"{MOST_AT_ONCE} questions run already, or this one does. Wait for one to end, or "
                "stop it."
            )
        task = self._running[key] = asyncio.ensure_future(asking)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():  # who asked has gone
                task.cancel()
                raise
            raise QueryError(STOPPED) from None
        finally:
            self._running.pop(key, None)

    def stop(self, key: str) -> bool:
        """Stop a question; whether it ran."""
        task = self._running.get(key)
        return task is not None and task.cancel()


async def noted(queue: TaskQueue, query: str) -> None:
    """Note that somebody asks in SQL: what they saw is a matter of record, as what they did."""
    await (await inside(queue).existing()).acts.asked(query)


def questions_of(request: Request) -> Questions:
    """Return the questions that run in the application."""
    state = request.app.state
    if not hasattr(state, "questions"):
        state.questions = Questions()
    return cast("Questions", state.questions)


@dataclass(frozen=True, slots=True)
class Where:
    """Where in a text something is wrong; both count from 1."""

    line: int
    column: int
    text: str
    """That line."""


def where_wrong(query: str, error: str) -> Where | None:
    """Return where in a query an error is, if its text says so."""
    lines = query.splitlines() or [""]
    if found := _LINE.search(error):
        number, quoted, spaces = int(found[1]), found[2], len(found[3])
        if not 1 <= number <= len(lines):
            return None
        at = spaces - len(f"LINE {number}: ")
        line = lines[number - 1]
        part = quoted[at:].removesuffix("...")
        column = at if line.startswith(quoted[: at + 1]) else line.find(part)  # a long one is cut
        return Where(number, max(0, column) + 1, line)
    if found := _NEAR.search(error):
        places = [
            (number, line.find(found[1]), line)
            for number, line in enumerate(lines, 1)
            if found[1] in line
        ]
        if len(places) == 1 and query.count(found[1]) == 1:
            [(number, column, line)] = places
            return Where(number, column + 1, line)
    return None
