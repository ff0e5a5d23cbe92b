"""The pool of worker processes."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from wopr.domain.errors import ProcessDiedError, RunnerRefusedError
from wopr.domain.spoken import counted
from wopr.executors.beginnings import Beginnings
from wopr.executors.call import Call, raisable
from wopr.executors.process import WorkerProcess
from wopr.executors.reference import Reference, reference_of
from wopr.executors.threads import Threads

log = logging.getLogger("wopr.worker")

RETIRE_SECONDS = 5.0
"""A process that is replaced may take so long to end by itself."""
CLOSE_SECONDS = 5.0


class Processes:
    """Runs functions in worker processes, which are started when needed and reused.

    Each runs one call at a time. One that dies fails that call only.

    Args:
        limit: processes at most; more calls than that wait, first come, first served.
        max_tasks: a process is replaced after so many calls.
        memory_limit: bytes; a process is replaced after a call that leaves it bigger.
        threads: where this process waits for the others.
        beginnings: whether a call that has waited may still begin.
    """

    def __init__(
        self,
        limit: int,
        *,
        max_tasks: int,
        memory_limit: int | None,
        threads: Threads,
        beginnings: Beginnings,
    ) -> None:
        self._turns = asyncio.Semaphore(limit)
        self._max_tasks = max_tasks
        self._memory_limit = memory_limit
        self._threads = threads
        self._beginnings = beginnings
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._ending: dict[threading.Thread, WorkerProcess] = {}

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises; cancelling kills it.

        Raises:
            InvalidCallError: another process can't find the function.
            PayloadError: the arguments can't be pickled, or the result can't be stored.
            ProcessDiedError: the process died.
            NotBegunError: a shutdown came while it waited for a process.
            RunnerRefusedError: there is none, and none can be started.
        """
        reference = reference_of(call.function)
        async with self._turns:
            ok, value = await self._ask(call, reference)
        if ok:
            return value
        try:
            raise raisable(value)
        finally:
            del value  # it holds this frame, and this frame would hold it

    async def _ask(self, call: Call, reference: Reference) -> tuple[bool, Any]:
        tries = 2  # an idle process may die before it gets the call: then that has not begun
        while True:
            tries -= 1
            self._beginnings.check()
            worker = await self._worker()
            try:
                self._beginnings.check()
                answer: tuple[bool, Any]
                answer = await self._threads.run(worker.ask, (call, reference), {})
            except BaseException as error:
                self._kill(worker)
                if isinstance(error, ProcessDiedError) and not worker.begun and tries:
                    continue
                raise
            self._keep(worker)
            return answer

    async def _worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            self._busy.add(worker)
            if worker.alive:
                return worker
            log.info("Worker process %d died while it had nothing to do.", worker.pid)
            self._kill(worker)
        worker = WorkerProcess()
        self._busy.add(worker)
        try:
            await self._threads.run(worker.start, (), {})
        except ProcessDiedError as error:
            self._kill(worker)
            raise RunnerRefusedError(str(error), "process") from error
        except BaseException:
            self._kill(worker)
            raise
        return worker

    def _keep(self, worker: WorkerProcess) -> None:
        if worker.tasks >= self._max_tasks:
            why = f"it has run {counted(worker.tasks, 'task')}"
        elif self._memory_limit is not None and worker.size > self._memory_limit:
            why = f"it has grown to {worker.size:,} bytes"
        else:
            self._busy.discard(worker)
            self._idle.append(worker)
            return
        log.info("Worker process %d is replaced: %s.", worker.pid, why)
        self._end(worker, RETIRE_SECONDS)

    def _kill(self, worker: WorkerProcess) -> None:
        worker.kill()
        self._end(worker, 0.0)

    def _end(self, worker: WorkerProcess, grace: float) -> None:
        """See to it, in the background, that nothing of a process is left."""
        self._busy.discard(worker)
        ending = self._ending.items()
        self._ending = {thread: other for thread, other in ending if thread.is_alive()}
        thread = threading.Thread(target=worker.end, args=(grace,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, and starts no more threads
            worker.end(0.0)
            return
        self._ending[thread] = worker

    async def close(self) -> None:
        """Kill all processes and wait until they are gone."""
        for worker in [*self._idle, *self._busy]:
            self._kill(worker)
        self._idle.clear()
        for worker in self._ending.values():
            worker.kill()
        for thread in list(self._ending):
            await self._threads.run(thread.join, (CLOSE_SECONDS,), {})
