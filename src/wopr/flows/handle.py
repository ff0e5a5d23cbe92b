"""An enqueued flow: its result, its progress, its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Generic, NoReturn, TypeVar

from wopr.core.core import Core
from wopr.core.handle import TaskHandle
from wopr.domain.checks import check_seconds
from wopr.domain.errors import TaskCancelledError, TaskFailedError, TaskNotFoundError
from wopr.domain.jsontext import shown
from wopr.domain.spoken import counted
from wopr.domain.status import LIVE, TaskStatus
from wopr.flows.members import (
    FlowProgress,
    Member,
    cause_of,
    first_to_cancel,
    outputs_of,
    progress_of,
)
from wopr.flows.mermaid import mermaid
from wopr.flows.reading import read_members
from wopr.ports.answers import attempts
from wopr.ports.storage import TaskFilter

R_co = TypeVar("R_co", covariant=True)

PAGE = 500
AT_ONCE = 50
"""How many tasks are waited for, or cancelled, at the same time."""


class FlowHandle(Generic[R_co]):
    """An enqueued flow. Can be made anew from its id with ``await queue.flow(id)``."""

    __slots__ = ("_core", "_keys", "_listed", "_outputs", "id", "task_ids")

    def __init__(self, core: Core, flow_id: str, members: Sequence[Member]) -> None:
        self._core = core
        self.id = flow_id
        self.task_ids = [one.id for one in members]
        """The ids of its tasks, each after those that it depends on."""
        self._keys = {one.key: one.id for one in members if one.key is not None}
        outputs, self._listed = outputs_of(members)
        self._outputs = [one.id for one in outputs]

    def __repr__(self) -> str:
        return f"<FlowHandle {self.id}: {counted(len(self.task_ids), 'task')}>"

    def task(self, key: str) -> TaskHandle[Any]:
        """Return the handle of the task with this key.

        Raises:
            TaskNotFoundError: no task of the flow has it.
        """
        if key not in self._keys:
            keys = ", ".join(map(repr, self._keys)) or "no keys at all"
            raise TaskNotFoundError(
                f"Flow {self.id} has no task with the key {shown(key)}; it has {keys}."
            )
        return TaskHandle(self._core, self._keys[key])

    # -- results -------------------------------------------------------------

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait for the result of the flow and return it.

        That is the last task's, or the list of the last ones' where nothing gathers them.
        A list is waited for until all have ended, also if one fails early.

        Args:
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TaskFailedError: a task failed, so there is no result; the message names it.
            TaskCancelledError: likewise, for one that was cancelled.
            TimeoutError: it did not end in time. It goes on.
            TaskNotFoundError: tasks of the flow were deleted.
        """
        value: Any = await (self._list(timeout) if self._listed else self._single(timeout))
        return value  # type: ignore[no-any-return]

    async def _single(self, timeout: float | None) -> Any:
        try:
            record = await self._core.ended(self._outputs[0], timeout)
        except TimeoutError:
            raise self._late(timeout, await self.progress()) from None
        if record.status is not TaskStatus.SUCCESS:
            await self._raise_cause()
        return self._core.result_of(record)

    async def _list(self, timeout: float | None) -> list[Any]:
        await self.wait(timeout)
        found = await self._results()
        if any(task_id not in found for task_id in self._outputs):
            await self._raise_cause()
        return [found[task_id] for task_id in self._outputs]

    async def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until all tasks have ended; return the results of those that succeeded.

        They are under the key of the task where it has one, else under its id.

        Args:
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TimeoutError: they did not end in time. They go on.
        """
        await self.wait(timeout)
        names = {task_id: key for key, task_id in self._keys.items()}
        found = await self._results()
        return {
            names.get(task_id, task_id): found[task_id]
            for task_id in self.task_ids
            if task_id in found
        }

    async def _results(self) -> dict[str, Any]:
        """Return the results of the tasks that succeeded, by id."""
        found: dict[str, Any] = {}
        cursor: str | None = None
        query = TaskFilter(status=TaskStatus.SUCCESS, flow_id=self.id, limit=PAGE)
        while page := await self._core.find(query, cursor):
            found.update((record.id, self._core.result_of(record)) for record in page)
            cursor = page[-1].id
        return found

    async def _raise_cause(self) -> NoReturn:
        cause = cause_of(await self._members(), self._outputs)
        if cause is None:
            raise TaskNotFoundError(
                f"Flow {self.id} has no result: tasks of it were deleted by a cleanup, or put "
                f"back in their queue. See: wopr flows show {self.id}"
            )
        info = await self._core.known_info(cause.id)
        key = f" {cause.key!r}" if cause.key else ""
        what = f"task{key} {cause.id} ({cause.name})"
        if cause.status is TaskStatus.FAILED:
            raise TaskFailedError(
                f"Flow {self.id} has no result: {what} failed after {attempts(info.attempt)}: "
                f"{info.error}"
            )
        why = f": {info.error}" if info.error else "."
        raise TaskCancelledError(f"Flow {self.id} has no result: {what} was cancelled{why}")

    # -- the whole -----------------------------------------------------------

    async def wait(self, timeout: float | None = None) -> FlowProgress:
        """Wait until all tasks have ended; return how.

        Args:
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TimeoutError: they did not end in time. They go on.
            TaskNotFoundError: the queue does not know the flow (any more).
        """
        seconds = None if timeout is None else check_seconds(timeout, "timeout", zero="allow")
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._whole()
        except TimeoutError:
            if not limit.expired():
                raise
        at = await self.progress()
        if at.ended < at.total:
            raise self._late(timeout, at)
        return at

    async def _whole(self) -> FlowProgress:
        """Wait for the newest live tasks until there is none: mostly that is one round."""
        while (at := await self.progress()).ended < at.total:
            live = [
                record.id
                for status in LIVE
                for record in await self._core.find(
                    TaskFilter(status=status, flow_id=self.id, limit=AT_ONCE)
                )
            ]
            await asyncio.gather(*map(self._ended, live))
        return at

    async def _ended(self, task_id: str) -> None:
        with contextlib.suppress(TaskNotFoundError):  # it ended, and a cleanup came by
            await self._core.ended(task_id)

    async def progress(self) -> FlowProgress:
        """Return how many of the tasks have ended, run and wait.

        Raises:
            TaskNotFoundError: the queue does not know the flow (any more).
        """
        return progress_of(await self._members())

    async def cancel(self) -> int:
        """Cancel all tasks that have not ended; return how many that were.

        Returns once all have ended. Nothing of the flow is started because of it; only
        what was released just before may have begun, and is cancelled then.
        """
        before = (await self.progress()).cancelled
        while True:
            members = await self._members()
            chosen = [one.id for one in first_to_cancel(members)]
            if not chosen:
                return progress_of(members).cancelled - before
            for first in range(0, len(chosen), AT_ONCE):
                batch = chosen[first : first + AT_ONCE]
                await asyncio.gather(*map(self._core.cancel, batch))

    async def mermaid(self) -> str:
        """Return a picture of the flow as it stands: the text of a Mermaid flow chart.

        Raises:
            TaskNotFoundError: the queue does not know the flow (any more).
        """
        return mermaid(await self._members())

    def _late(self, timeout: float | None, at: FlowProgress) -> TimeoutError:
        return TimeoutError(
            f"Flow {self.id} did not end within {timeout} s: {at.ended} of "
            f"{counted(at.total, 'task')} ended. It goes on; "
            f"`wopr flows show {self.id}` says where it stands."
        )

    async def _members(self) -> list[Member]:
        return await read_members(self._core, self.id)
