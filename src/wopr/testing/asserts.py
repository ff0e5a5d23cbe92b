"""Assertions about what was enqueued, whose failures show what was enqueued instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from wopr.core.task import Task
from wopr.domain.checks import check_count
from wopr.domain.codec import CallCodec
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import clip
from wopr.domain.spoken import counted
from wopr.domain.task import TaskInfo
from wopr.queue.queue import TaskQueue, inside
from wopr.testing.bench import PAGE

SHOWN = 10
"""Calls that a failure shows."""


async def assert_enqueued(
    queue: TaskQueue,
    task: str | Task[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    count: int | None = None,
) -> list[TaskInfo]:
    """Check that calls of a task were enqueued, whatever became of them; return those.

    Args:
        queue: looks at all tasks that its file has.
        task: the task, or its name.
        args: the positional arguments of the call; with ``kwargs`` the whole call. It does not
            matter which of them were given by keyword. Neither of the two: any call.
        kwargs: the keyword arguments.
        count: exactly so many; ``None``: at least one.

    Raises:
        AssertionError: others were enqueued; it shows them.
        InvalidCallError: nobody could make such a call of the task.
    """
    if count is not None:
        check_count(count, "count")
    calls = Calls(queue, task, args, kwargs)
    found, others = await calls.find()
    if len(found) == count or (found and count is None):
        return found
    times = "" if count is None else f" {counted(count, 'time')} but {counted(len(found), 'time')}"
    raise AssertionError(f"{calls.wanted} was not enqueued{times}. {await calls.instead(others)}")


async def assert_not_enqueued(
    queue: TaskQueue,
    task: str | Task[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Check that no such call was enqueued; arguments as in :func:`assert_enqueued`.

    Raises:
        AssertionError: one was; it shows which.
        InvalidCallError: nobody could make such a call of the task.
    """
    calls = Calls(queue, task, args, kwargs)
    found, _ = await calls.find()
    if found:
        raise AssertionError(f"{calls.wanted} was enqueued: {_listed(found)}")


class Calls:
    """Calls of one task, and which of them are meant."""

    def __init__(
        self,
        queue: TaskQueue,
        task: str | Task[..., Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
    ) -> None:
        self._queue = queue
        self._name = task.name if isinstance(task, Task) else task
        definition = inside(queue).registry.definitions.get(self._name)
        self._codec: CallCodec | None = None if definition is None else definition.codec
        self._call: object = None
        self.wanted = f"{self._name}(…)"
        if args is not None or kwargs is not None:
            given = tuple(args or ()), dict(kwargs or {})
            self._call = self._comparable(*given)
            self.wanted = _text(self._name, *given)

    async def find(self) -> tuple[list[TaskInfo], list[TaskInfo]]:
        """Return the tasks that are meant, and other calls, each the oldest first."""
        found: list[TaskInfo] = []
        others: list[TaskInfo] = []
        cursor = None
        while page := await self._queue.get_tasks(name=self._name, limit=PAGE, cursor=cursor):
            cursor = page[-1].id
            for info in page:
                (found if self._is_meant(info) else others).append(info)
        return found[::-1], others[::-1]

    async def instead(self, others: Sequence[TaskInfo]) -> str:
        """Say what is there, for somebody who looks for something else."""
        if others:
            return f"Other calls of {self._name!r} were: {_listed(others)}"
        tasks = await self._queue.get_tasks(limit=PAGE)
        names = sorted({info.name for info in tasks})
        near = difflib.get_close_matches(
            self._name, {*names, *self._queue.task_functions} - {self._name}, 3
        )
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        if not names:
            return f"Nothing was enqueued at all in {self._queue.database}.{hint}"
        return f"Tasks of other names were: {', '.join(names)}.{hint}"

    def _is_meant(self, info: TaskInfo) -> bool:
        if self._call is None:
            return True
        try:
            return self._comparable(info.args, info.kwargs) == self._call
        except InvalidCallError:  # the function has changed since
            return False

    def _comparable(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        if self._codec is None:
            return args, kwargs
        texts = self._codec.encode_call(args, kwargs)
        return json.dumps(self._codec.arguments(*texts), sort_keys=True)


def _listed(infos: Sequence[TaskInfo]) -> str:
    lines = [
        f"\n  {_text(info.name, info.args, info.kwargs)}  {info.status.value}  {info.id}"
        for info in infos[:SHOWN]
    ]
    more = f"\n  and {len(infos) - SHOWN} more" if len(infos) > SHOWN else ""
    return "".join(lines) + more


def _text(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call as it would be written."""
    given = [repr(value) for value in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    return clip(f"{name}({', '.join(given)})", 500)
