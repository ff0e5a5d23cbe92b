"""One queue from the inside: what its tasks, handles, flows, handlers and faces share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wopr.access.carrying import not_answered, not_begun
from wopr.access.kinds import access_to
from wopr.access.timing import Time
from wopr.auth.config import Auth
from wopr.calls.bulk import iterated, parts_of
from wopr.calls.followups import has_follow_ups, in_commits, with_follow_ups
from wopr.calls.options import Options, split
from wopr.calls.registry import Registry, TaskDefinition
from wopr.calls.snapshots import info_of, infos_of, result_of
from wopr.calls.tasks import new_task
from wopr.calls.variables import ContextVariables
from wopr.config.settings import Settings
from wopr.domain.checks import check_id, check_label, check_seconds
from wopr.domain.clock import Clock, IdFactory
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import (
    InvalidCallError,
    OwnerSilentError,
    QueueDisabledError,
    StorageError,
    StorageOwnedError,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
)
from wopr.domain.jsontext import safe_text, shown
from wopr.domain.newtask import NewTask
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.ports.answers import attempts
from wopr.ports.backend import AddBackend, Backend
from wopr.ports.storage import TaskFilter
from wopr.storage import missing

A = TypeVar("A")
B = TypeVar("B")


class Core:
    """One queue from the inside: what its tasks, handles, flows, handlers and faces share.

    Args:
        enabled: whether it does anything.
        database: the file.
        settings: all other settings.
        clock: source of time.
        rng: source of randomness, for jitter.
        auth: how protected tasks are checked; ``None`` refuses them.
        storage_factory: makes the storage; ``None`` means DuckDB's on ``database``.
    """

    flow_ids = IdFactory()
    """Of all queues of this process, so that they increase."""

    def __init__(
        self,
        *,
        enabled: bool,
        database: Path,
        settings: Settings,
        clock: Clock,
        rng: random.Random,
        auth: Auth | None,
        storage_factory: Callable[[], Any] | None,
    ) -> None:
        limits = PayloadLimits(args=settings.max_args_bytes, result=settings.max_result_bytes)
        self.enabled = enabled
        self.settings = settings
        self.clock = clock
        """That of this machine."""
        self.auth = auth
        self.registry = Registry(limits)
        self.variables = ContextVariables(limits)
        self.handlers: dict[type, Any] = {}
        """What ``register_handler`` returned, by class."""
        self.was_shut_down = False
        self.provider: Callable[[type[Any]], Any] | None = None
        """Makes the instances of handlers without a factory, given the class; ``None``: nobody."""
        self.access = access_to(settings, database, storage_factory, self.registry, clock, rng)
        self.time = Time(self.access)
        """The clock of where the tasks are, as far as that is known."""
        self.access.as_service = None if auth is None else auth.as_service

    @property
    def database(self) -> Path:
        """The file; may be set while the queue is closed."""
        return self.access.database

    @database.setter
    def database(self, database: Path) -> None:
        self.access.database = database

    @property
    def is_shut_down(self) -> bool:
        """Whether it was shut down, and not opened since."""
        return self.was_shut_down and self.access.closed

    # -- who carries it out ---------------------------------------------------

    async def reader(self, deadline: float | None = None) -> Backend | None:
        """Return the backend for a read; ``None`` if there is nothing to read."""
        if not self.enabled:
            return None
        if (backend := self.access.at_hand()) is not None:
            return backend
        return await self.access.found(deadline)

    async def existing(self) -> Backend:
        """Return the backend for a look that has no answer where there is no queue.

        Raises:
            StorageError: there is none; it says what makes one.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        if (backend := await self.reader()) is None:
            raise missing(self.database)
        return backend

    async def writer(self) -> Backend:
        """Return the backend for a change.

        Raises:
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        return self.access.at_hand() or await self.access.backend()

    async def ask(
        self,
        ask: Callable[[Backend], Awaitable[A]],
        nothing: B,
        deadline: float | None = None,
    ) -> A | B:
        """Ask whoever has the file; again, should that one go: a look changes nothing."""
        while True:
            backend = await self.reader(deadline)
            if backend is None:
                return nothing
            try:
                return await ask(backend)
            except StorageError as error:
                if not not_answered(backend, error):
                    raise
                await asyncio.sleep(0)

    # -- enqueue --------------------------------------------------------------

    async def enqueue(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> str:
        """Enqueue one call and return its id; what the other forms are made of."""
        if options:
            connection, options = await self._split(options)
            if connection is not None:
                return (await self._enqueue_inside(connection, name, [(args, kwargs)], options))[0]
            if has_follow_ups(options):
                return (await self._enqueue_followed(name, [(args, kwargs)], options))[0]
        new = self.new_task(name, args, kwargs, options)
        while True:
            backend = self.access.at_hand() or await self.access.backend()
            try:
                return await backend.add(new)
            except StorageError as error:
                if not not_begun(backend, error):
                    raise
                await asyncio.sleep(0)

    async def enqueue_many(
        self, name: str, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]], options: Options
    ) -> list[str]:
        """Enqueue many calls of one task and return their ids."""
        if options:
            connection, options = await self._split(options)
            whole = map(parts_of, iterated(calls))
            if connection is not None:
                return await self._enqueue_inside(connection, name, whole, options)
            if has_follow_ups(options):
                return await self._enqueue_followed(name, whole, options)
        tasks = self._new_tasks(name, calls, options)
        return await self.change(lambda backend: backend.add_many(tasks))

    async def _split(self, options: Options) -> tuple[Any, Options]:
        """Take the connection out of options, and know the time if they count from now."""
        if self.enabled and ("delay" in options or "expires" in options):
            await self.access.learn_time()
        return split(options)

    def _new_tasks(self, name: str, calls: Iterable[Any], options: Options) -> list[NewTask]:
        """Return the new tasks of calls; what is the same for all is looked at once."""
        tasks: list[NewTask] = []
        definition: TaskDefinition | None = None
        clock = self._clock_of(options)
        for call in iterated(calls):
            if type(call) is not tuple:
                tasks.append(self.new_task(name, *parts_of(call), options))
            elif definition is None:
                tasks.append(self.new_task(name, call, {}, options))
                definition = self.registry.get(name)
            else:
                tasks.append(new_task(definition, call, {}, clock, options))
        return tasks

    async def _enqueue_followed(
        self,
        name: str,
        calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]],
        options: Options,
        add: Callable[[Sequence[NewTask]], Awaitable[list[str]]] | None = None,
    ) -> list[str]:
        """Enqueue calls with what follows on them, each with that in one commit."""
        groups = [with_follow_ups(self.new_task, name, *call, options) for call in calls]
        ids: list[str] = []
        for tasks, begins in in_commits(groups):
            known = await (add or self.add_flow)(tasks)
            ids += [known[begin] for begin in begins]
        return ids

    async def _enqueue_inside(
        self,
        connection: Any,
        name: str,
        calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]],
        options: Options,
    ) -> list[str]:
        """Enqueue calls in a transaction of the application."""
        if has_follow_ups(options):
            inside = await self.inside(connection)
            return await self._enqueue_followed(name, calls, options, inside.add_flow)
        tasks = [self.new_task(name, *call, options) for call in calls]
        return await (await self.inside(connection)).add_many(tasks)

    async def inside(self, connection: Any) -> AddBackend:
        """Return what adds tasks in a transaction of the application.

        Raises:
            InvalidCallError: the queue is not on PostgreSQL, or the connection leads elsewhere.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        return await self.access.inside(connection)

    async def add_flow(self, tasks: Sequence[NewTask], connection: Any = None) -> list[str]:
        """Add tasks that depend on each other, in one commit; return their ids in order."""
        if connection is not None:
            return await (await self.inside(connection)).add_flow(tasks)
        return await self.change(lambda backend: backend.add_flow(tasks))

    async def change(self, change: Callable[[Backend], Awaitable[A]]) -> A:
        """Have a change made; by the next owner, if this one gives up the file before it begins."""
        while True:
            backend = await self.access.backend()
            try:
                return await change(backend)
            except StorageError as error:
                if not not_begun(backend, error):
                    raise
                await asyncio.sleep(0)

    def new_task(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> NewTask:
        """Return the new task of a call; nothing is written.

        Raises:
            QueueDisabledError: the queue is switched off.
            TaskNotRegisteredError: nothing has this name.
            InvalidCallError: a value or an argument is wrong.
        """
        if not self.enabled:
            raise QueueDisabledError
        if type(name) is not str:
            name = check_label(name, "a task's name")
        if type(args) is not tuple and not isinstance(args, list | tuple):
            raise InvalidCallError(f"args must be a tuple or a list, not {shown(args)}.")
        if type(kwargs) is not dict and not isinstance(kwargs, Mapping):
            raise InvalidCallError(f"kwargs must be a dict, not {shown(kwargs)}.")
        try:
            values = tuple(args)
            named = kwargs if type(kwargs) is dict else dict(kwargs)
        except Exception as error:
            raise InvalidCallError(f"The arguments can't be read: {safe_text(error)}") from error
        return new_task(self.registry.get(name), values, named, self._clock_of(options), options)

    def _clock_of(self, options: Options) -> Clock:
        """Return by which clock options count; without any it does not matter."""
        return self.access.time if options else self.clock

    # -- look and change ------------------------------------------------------

    async def info(self, task_id: str) -> TaskInfo | None:
        """Return a snapshot of a task; ``None`` if it is unknown or the queue is switched off."""
        wanted = check_id(task_id)
        record = await self.ask(lambda backend: backend.get(wanted), None)
        return None if record is None else self.info_of(record)

    async def known_info(self, task_id: str) -> TaskInfo:
        """Return a snapshot of a task.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        info = await self.info(task_id)
        if info is None:
            raise self.unknown(task_id)
        return info

    async def ended(self, task_id: str, timeout: float | None = None) -> TaskRecord:
        """Wait until a task has ended; return its record.

        Raises:
            TaskNotFoundError: the queue does not know it.
            TimeoutError: it did not end in time. It goes on.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        task_id = check_id(task_id)
        patience = None if timeout is None else check_seconds(timeout, "timeout", zero="allow")
        loop, left = asyncio.get_running_loop(), patience
        until = None if patience is None else loop.time() + patience

        async def wait(backend: Backend) -> TaskRecord:
            nonlocal left
            try:
                return await backend.wait(task_id, left)
            finally:
                left = None if until is None else max(0.0, until - loop.time())

        try:
            record = await self.ask(wait, None, until)
        except StorageOwnedError as error:
            if until is None or loop.time() < until:
                raise
            raise OwnerSilentError(
                f"Whether task {task_id} ended within {patience:g} s is not known. {error}"
            ) from error
        if record is None:
            raise self.unknown(task_id)
        return record

    async def result(self, task_id: str, timeout: float | None = None) -> Any:
        """Wait until a task has ended and return its result; nothing else of it is decoded.

        Raises:
            TaskFailedError: it ended FAILED.
            TaskCancelledError: it ended CANCELLED.
            TaskNotFoundError: the queue does not know it.
            TimeoutError: it did not end in time. It goes on.
            QueueDisabledError: the queue is switched off.
        """
        record = await self.ended(task_id, timeout)
        if record.status is TaskStatus.FAILED:
            raise TaskFailedError(
                f"Task {task_id} ({record.name}) failed after {attempts(record.attempt)}: "
                f"{record.error}"
            )
        if record.status is TaskStatus.CANCELLED:
            raise TaskCancelledError(f"Task {task_id} ({record.name}) was cancelled.")
        return self.result_of(record)

    async def find(self, query: TaskFilter, cursor: str | None = None) -> list[TaskRecord]:
        """Return the records of matching tasks, newest first; after the task ``cursor``."""
        nothing: list[TaskRecord] = []
        return await self.ask(lambda backend: backend.find(query, cursor), nothing)

    async def cancel(self, task_id: str) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown."""
        return await self.ask(lambda backend: backend.cancel(check_id(task_id)), False)

    # -- snapshots ------------------------------------------------------------

    def info_of(self, record: TaskRecord) -> TaskInfo:
        """Return a snapshot of a record, its payloads decoded."""
        return info_of(record, self.registry)

    def infos_of(self, records: Iterable[TaskRecord]) -> list[TaskInfo]:
        """Return snapshots of records, without those that can't be read; these are told."""
        return infos_of(records, self.registry)

    def result_of(self, record: TaskRecord) -> Any:
        """Return the decoded result of a record; ``None`` without one."""
        return result_of(record, self.registry)

    def unknown(self, task_id: str) -> TaskNotFoundError:
        """Return the error that there is no such task."""
        return TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
