"""Any ``concurrent.futures.Executor`` that the user brings."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

from wopr.domain.errors import InvalidCallError, ProcessDiedError, RunnerRefusedError
from wopr.domain.guarded import guarded, safe_text, shown, type_name
from wopr.executors.abandoned import AbandonedList
from wopr.executors.beginnings import Beginnings, take_back
from wopr.executors.call import Call, no_coroutine, raisable
from wopr.executors.context import CurrentTask
from wopr.executors.elsewhere import call_by_reference, called
from wopr.executors.reference import reference_of
from wopr.executors.told import remade


class Foreign:
    """Runs functions in an executor of somebody else, and never shuts that down."""

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        abandoned: AbandonedList,
        beginnings: Beginnings,
        folder: Callable[[], str],
    ) -> None:
        self._executor = executor
        self._abandoned = abandoned
        self._beginnings = beginnings
        self._folder = folder

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises.

        Raises:
            InvalidCallError: the call has a soft timeout, or nobody there finds the function.
            ProcessDiedError: the executor broke down while the function ran.
            RunnerRefusedError: it is broken or shut down, and the function has not begun.
            NotBegunError: a shutdown came while it waited there.
        """
        check_soft_timeout(self._executor, call.context.name, call.soft_timeout)
        begin = Begin(self._folder())
        try:
            return await self._outcome(call, begin)
        finally:
            begin.forget()

    async def _outcome(self, call: Call, begin: Begin) -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def resolve() -> None:
            if not done.done():
                done.set_result(None)

        future = self._submit(call, begin)
        future.add_done_callback(lambda _: _tell(loop, resolve))
        self._beginnings.wait(future)
        try:
            await done
        except asyncio.CancelledError:
            self._let_go(future, call.context)
            raise
        if future.cancelled():
            self._beginnings.check()
            raise self._broken(call.context, "its future was cancelled by somebody else", begin)
        broken = future.exception()
        if broken is not None:
            if issubclass(type(broken), concurrent.futures.BrokenExecutor):
                raise self._broken(call.context, broken, begin) from broken
            raise raisable(broken)
        if runs_here(self._executor):
            return no_coroutine(future.result(), call.context.name)
        result, told = json.loads(future.result())
        if told is not None:
            raise raisable(remade(told, call.context.name))
        return call.codec.decode_result(result)

    async def close(self) -> None:
        """Do nothing: the executor belongs to somebody else."""

    def _submit(self, call: Call, begin: Begin) -> concurrent.futures.Future[Any]:
        submit = self._submission(call, begin)
        try:
            future = submit()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            own = isinstance(error, TypeError | AttributeError)  # what can't be pickled
            if own or type(error).__name__ == "PicklingError" or begin.seen:
                raise
            raise self._broken(call.context, error, begin) from error
        if (why := no_future(future)) is not None:
            raise self._broken(call.context, why, begin)
        return future

    def _submission(self, call: Call, begin: Begin) -> Callable[[], concurrent.futures.Future[Any]]:
        args, kwargs = call.args, call.kwargs
        if runs_here(self._executor):
            context = contextvars.copy_context()

            def here() -> Any:
                begin.seen_here = True
                return context.run(called, call.function, args, kwargs, call.is_async)

            return lambda: self._executor.submit(here)
        task = call.context
        who = (task.id, task.name, task.category, task.attempt)
        limits = call.codec.limits
        what = (reference_of(call.function), who, args, kwargs, call.is_async, begin.path, limits)
        return lambda: self._executor.submit(call_by_reference, *what)

    def _let_go(self, future: concurrent.futures.Future[Any], task: CurrentTask) -> None:
        if not take_back(future) and not future.done():
            one = self._abandoned.add(task, shown(self._executor))
            future.add_done_callback(lambda _: self._abandoned.ended(one))

    def _broken(
        self, task: CurrentTask, why: BaseException | str, begin: Begin
    ) -> ProcessDiedError:
        reason = why if isinstance(why, str) else f"{type_name(why)}: {safe_text(why)}"
        runner, reason = shown(self._executor), reason.rstrip(".")
        if begin.seen:
            return ProcessDiedError(
                f"Attempt {task.attempt} of task '{task.name}' got no answer from {runner}: "
                f"{reason}. The executor is yours, so wopr can't repair it: if it is broken or "
                "shut down, restart the program with a new one."
            )
        return RunnerRefusedError(
            f"Attempt {task.attempt} of task '{task.name}' got no answer from {runner}, which did "
            f"not take it: {reason}. The executor is yours, so wopr can't repair it: if it is "
            "broken or shut down, register the tasks with a new one, or restart the program.",
            self._executor,
            reason,
        )


_numbers = itertools.count()


class Begin:
    """Whether one call has begun, be it in another process of this machine.

    The call leaves an empty file there, which is taken away when its end is known.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, str(next(_numbers)))
        self.seen_here = False

    @property
    def seen(self) -> bool:
        """Whether it has."""
        return self.seen_here or os.path.exists(self.path)

    def forget(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def ready() -> None:
    """Be something to do for an executor that is asked whether it takes work again."""


def no_future(value: object) -> str | None:
    """Say that what ``submit()`` returned tells nothing of the call; ``None`` if it does."""
    if callable(guarded(lambda: getattr(value, "add_done_callback", None), None)):
        return None
    return (
        f"its submit() returned {type_name(value)} {shown(value)} and no Future, so nobody is told "
        "what comes of a call"
    )


async def refusal_of(executor: concurrent.futures.Executor, patience: float) -> str | None:
    """Return why an executor takes no work; ``None`` if it does, or is busy."""
    try:
        future = executor.submit(ready)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever somebody's executor raises
        return f"{type_name(error)}: {safe_text(error)}"
    if (why := no_future(future)) is not None:
        return why
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: _tell(loop, done.set))
    try:
        async with asyncio.timeout(patience):
            await done.wait()
    except TimeoutError:
        return None
    finally:
        take_back(future)  # who is asked again need not answer this one, too
    if future.cancelled():
        return "its future was cancelled by somebody else"
    broken = future.exception()
    if not isinstance(broken, concurrent.futures.BrokenExecutor):
        return None
    return f"{type_name(broken)}: {safe_text(broken)}"


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
