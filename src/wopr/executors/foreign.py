"""Any ``concurrent.futures.Executor`` that the user brings."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from typing import Any

from wopr.domain.errors import InvalidCallError, ProcessDiedError
from wopr.domain.jsontext import shown
from wopr.executors.abandoned import AbandonedList
from wopr.executors.beginnings import Beginnings
from wopr.executors.call import Call, no_coroutine
from wopr.executors.context import CurrentTask
from wopr.executors.elsewhere import call_by_reference, called
from wopr.executors.reference import reference_of


class Foreign:
    """Runs functions in an executor of somebody else, and never shuts that down."""

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        abandoned: AbandonedList,
        beginnings: Beginnings,
    ) -> None:
        self._executor = executor
        self._abandoned = abandoned
        self._beginnings = beginnings

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises.

        Raises:
            InvalidCallError: the call has a soft timeout, or nobody there finds the function.
            ProcessDiedError: the executor is broken or shut down.
            NotBegunError: a shutdown came while it waited there.
        """
        check_soft_timeout(self._executor, call.context.name, call.soft_timeout)
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def resolve() -> None:
            if not done.done():
                done.set_result(None)

        try:
            future = self._submit(call)
        except RuntimeError as error:  # BrokenExecutor is one, and so is that of a closed one
            raise self._broken(call.context, error) from error
        future.add_done_callback(lambda _: _tell(loop, resolve))
        self._beginnings.wait(future)
        try:
            await done
        except asyncio.CancelledError:
            self._let_go(future, call.context)
            raise
        if future.cancelled():
            self._beginnings.check()
            raise self._broken(call.context, "its future was cancelled by somebody else")
        broken = future.exception()
        if isinstance(broken, concurrent.futures.BrokenExecutor):
            raise self._broken(call.context, broken) from broken
        return no_coroutine(future.result(), call.context.name)

    async def close(self) -> None:
        """Do nothing: the executor belongs to somebody else."""

    def _submit(self, call: Call) -> concurrent.futures.Future[Any]:
        args, kwargs = call.args, call.kwargs
        if runs_here(self._executor):
            context = contextvars.copy_context()
            return self._executor.submit(
                context.run, called, call.function, args, kwargs, call.is_async
            )
        task = call.context
        who = (task.id, task.name, task.category, task.attempt)
        reference = reference_of(call.function)
        return self._executor.submit(call_by_reference, reference, who, args, kwargs, call.is_async)

    def _let_go(self, future: concurrent.futures.Future[Any], task: CurrentTask) -> None:
        if not future.cancel() and not future.done():
            one = self._abandoned.add(task, shown(self._executor))
            future.add_done_callback(lambda _: self._abandoned.ended(one))

    def _broken(self, task: CurrentTask, why: Exception | str) -> ProcessDiedError:
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        return ProcessDiedError(
            f"Attempt {task.attempt} of task '{task.name}' got no answer from "
            f"{shown(self._executor)}: {reason.rstrip('.')}. The executor is yours, so wopr can't "
            "repair it: if it is broken or shut down, restart the program with a new one."
        )


def check_soft_timeout(
    executor: concurrent.futures.Executor, name: str, seconds: float | None
) -> None:
    """Refuse what would have no effect.

    Raises:
        InvalidCallError: there is a soft timeout.
    """
    if seconds is not None:
        raise InvalidCallError(
            f"{name} has soft_timeout={seconds:g}, which works on the event loop, in threads and "
            f'with executor="process". wopr can\'t interrupt a function in {shown(executor)}. '
            "Leave one of the two out."
        )


def runs_here(executor: concurrent.futures.Executor) -> bool:
    """Whether functions run in threads of this interpreter, so that they need not be found."""
    elsewhere = getattr(concurrent.futures, "InterpreterPoolExecutor", ())
    threads = isinstance(executor, concurrent.futures.ThreadPoolExecutor)
    return threads and not isinstance(executor, elsewhere)


def _tell(loop: asyncio.AbstractEventLoop, resolve: Any) -> None:
    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
