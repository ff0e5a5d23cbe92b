"""Which executor runs what: the words that a task is registered with."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from typing import Any, Literal

from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.executors.abandoned import Abandoned, AbandonedList
from wopr.executors.beginnings import Beginnings
from wopr.executors.call import Executor
from wopr.executors.cluster import Cluster, OnCluster
from wopr.executors.coroutines import Coroutines
from wopr.executors.foreign import Foreign, check_soft_timeout, runs_here
from wopr.executors.reference import check_reference
from wopr.executors.threads import ThreadExecutor, Threads, is_inline

ExecutorChoice = Literal["thread", "process"] | concurrent.futures.Executor | Cluster | None
"""Values of ``executor=``. ``None``: coroutine functions on the loop, others in threads."""


class Executors:
    """The executors of one queue. Nothing is started before it is used.

    Args:
        processes: worker processes at most; ``None``: as many as there are CPUs to use.
        max_tasks: a worker process is replaced after so many tasks.
        memory_limit: bytes; a worker process is replaced after a task that leaves it bigger.
        clock: tells since when something is abandoned.
    """

    def __init__(
        self,
        processes: int | None = None,
        max_tasks: int = 1_000,
        memory_limit: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._abandoned = AbandonedList(clock)
        self.beginnings = Beginnings()
        self.threads = Threads(self._abandoned)
        self._coroutines = Coroutines()
        self._in_threads = ThreadExecutor(self.threads)
        self._limits = processes, max_tasks, memory_limit
        self._processes: Executor | None = None
        self._folder: str | None = None

    def of(self, executor: ExecutorChoice, is_async: bool) -> Executor:  # noqa: FBT001 - of a definition
        """Return what runs a function that was registered with ``executor=``."""
        if executor is not None and is_inline():
            return self._coroutines if is_async else self._in_threads
        if executor == "process":
            return self._pool()
        if isinstance(executor, concurrent.futures.Executor):
            return Foreign(executor, self._abandoned, self.beginnings, self._begun)
        if isinstance(executor, Cluster):
            return OnCluster(executor, self.beginnings)
        return self._coroutines if is_async else self._in_threads

    def _begun(self) -> str:
        """Return a folder of our own, where calls in processes of others say that they began."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="wopr-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    @staticmethod
    def check(
        executor: object,
        function: Callable[..., Any],
        is_async: bool,  # noqa: FBT001 - of a definition
        soft_timeout: float | None,
    ) -> None:
        """Check that a function can run where it is meant to.

        Raises:
            InvalidCallError: it can't, or there is no such executor.
        """
        name = getattr(function, "__qualname__", None) or shown(function)
        if executor is None:
            return
        if executor == "thread":
            if is_async:
                raise InvalidCallError(
                    f"{name} is a coroutine function: it runs on the event loop, not in a thread. "
                    'Leave executor="thread" out, or declare it with a plain def.'
                )
        elif executor == "process":
            check_reference(function)
        elif isinstance(executor, concurrent.futures.Executor):
            check_soft_timeout(executor, name, soft_timeout)
            if not runs_here(executor):
                check_reference(function)
        elif isinstance(executor, Cluster):
            executor.check(name, soft_timeout)
        else:
            raise InvalidCallError(
                f'executor= of {name} is None, "thread", "process", a concurrent.futures.'
                f"Executor or a CeleryExecutor, not {shown(executor)}."
            )

    @property
    def abandoned(self) -> list[Abandoned]:
        """Functions that still run although nobody awaits them any more, the oldest first."""
        return self._abandoned.running

    async def close(self) -> None:
        """Kill the worker processes. Threads and executors of others are left alone."""
        if self._processes is not None:
            await self._processes.close()

    def _pool(self) -> Executor:
        if self._processes is None:  # who uses none does not load multiprocessing
            from wopr.executors.processes import Processes

            processes, max_tasks, memory_limit = self._limits
            self._processes = Processes(
                processes or _cpus(),
                max_tasks=max_tasks,
                memory_limit=memory_limit,
                threads=self.threads,
                beginnings=self.beginnings,
            )
        return self._processes


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        return os.cpu_count() or 1
