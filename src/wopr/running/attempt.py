"""A worker, and one attempt in it: run the task and say what came of it. Writes nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from wopr.calls.registry import RunOptions
from wopr.calls.resources import check_in_process
from wopr.config.crashpoint import crashpoint
from wopr.domain.again import RetryAfter, Snooze, asked_delay, asked_reason, is_counted
from wopr.domain.clock import naive_now
from wopr.domain.codec import clip
from wopr.domain.errors import (
    InvalidCallError,
    PayloadError,
    RunnerRefusedError,
    StorageError,
    TaskRefusedError,
)
from wopr.domain.fold import first_start
from wopr.domain.guarded import safe_text
from wopr.domain.limits import Meter
from wopr.domain.outcome import (
    Failed,
    Interrupted,
    NotTaken,
    Outcome,
    Snoozed,
    Succeeded,
    Unfit,
)
from wopr.domain.retry import asking_for, decide_retry
from wopr.domain.task import UNLIMITED_RETRIES, TaskRecord
from wopr.executors.beginnings import NotBegunError
from wopr.executors.call import Call, RaisedError
from wopr.executors.cluster import Cluster
from wopr.executors.context import CurrentTask, set_current_task
from wopr.running.failure import failure_of
from wopr.running.inputs import unpack, with_results
from wopr.running.surroundings import Surroundings

log = logging.getLogger(__name__)

LONGEST_TEXT = 65_536
"""Bytes of an error's text, and of its traceback; secrets are masked before it is cut."""
LONGEST_ROOTS = 8_192


class Worker:
    """A slot that runs one task at a time."""

    __slots__ = ("attempt", "last_claim_at", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempt: Attempt | None = None
        self.last_claim_at: datetime | None = None  # naive UTC

    def __repr__(self) -> str:
        doing = f"running {self.attempt.record.id}" if self.attempt else "idle"
        return f"<Worker {self.name} {doing}>"


class Attempt:
    """One run of a claimed task in a worker slot."""

    __slots__ = (
        "_around",
        "_progress_stored",
        "context",
        "definition",
        "expired",
        "interrupted",
        "joins",
        "lent",
        "meters",
        "number",
        "options",
        "over",
        "progress_waits",
        "record",
        "slot",
        "task",
        "timer",
    )

    def __init__(
        self,
        record: TaskRecord,
        slot: Worker,
        options: RunOptions,
        report: Callable[[CurrentTask, float, str, Mapping[str, Any] | None], None],
        around: Surroundings,
    ) -> None:
        self.record = record
        self.slot: Worker | None = slot
        self.options = options
        self.definition = around.registry.definitions[record.name]
        self.number = record.attempt
        self.context = CurrentTask(record.id, record.name, record.category, record.attempt, report)
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.meters: Sequence[Meter] = ()
        self.interrupted: str | None = None
        self.expired = False
        self.joins = 0
        """How many waits for other tasks are under way in it."""
        self.lent = False
        """Whether it has lent its slot while it waits."""
        self.over = False
        """Whether its outcome is decided."""
        self._around = around
        self._progress_stored = -1e9
        self.progress_waits = False

    def stop(self, interrupted: str | None = None) -> None:
        """Cancel the coroutine, or let go of the thread; a function may also look for itself."""
        self.interrupted = interrupted
        self.context.cancel()
        if self.task is not None:
            self.task.cancel()

    def expire(self) -> None:
        """Stop it, because it ran longer than it may."""
        self.expired = True
        self.context.cancel()
        if self.task is not None:
            self.task.cancel("timeout")

    def may_store_progress(self, every: float) -> bool:
        """Whether the last stored progress is at least ``every`` seconds old."""
        now = self._around.clock.monotonic()
        if now - self._progress_stored < every:
            return False
        self._progress_stored = now
        return True

    async def run(self) -> Outcome:
        """Call the function and return the outcome; nothing it raises gets out.

        A ``CancelledError`` of the function's own making is a failure. One that
        comes from outside while nobody asked for it means that the event loop is
        going down: the attempt was interrupted.
        """
        set_current_task(self.context)
        try:
            self._around.executors.beginnings.check()
            crashpoint("attempt.before_run")
            definition = self.definition
            if definition.carriers:
                await unpack(self.record, definition)
            record = self.record
            texts = record.args, record.kwargs
            if record.depends_on is not None and record.options is not None:
                texts = await with_results(record, definition, self._around)
            arguments = self._decoded(*texts)
            if isinstance(arguments, Unfit):
                return arguments
            args, kwargs = arguments
            if supplied := definition.codec.supplied:
                resources = self._around.registry.resources
                args, kwargs = await resources.fill(supplied, args, kwargs)
            value = await self._call(args, kwargs)
            crashpoint("attempt.after_run")
            return Succeeded(definition.codec.encode_result(value))
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if self.interrupted is not None:
                return Interrupted(self.interrupted)
            if not self.expired:
                if current is not None and current.cancelling():
                    return Interrupted("event loop closed")
                return self._failed(error, 0.0, "the function raised CancelledError itself")
            failure: BaseException = self._timeout_error(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit in a task must end only the task
            failure = error.error if type(error) is RaisedError else error
        try:
            return await self._after(failure)
        finally:
            del failure  # it holds this frame, and this frame would hold it

    def _runner(self, refusal: RunnerRefusedError) -> object:
        """Return what did not take the call; ``None`` if the function itself has raised this.

        What runs it may itself lack a thread, say.
        """
        runner = self._around.registry.runner(self.record.name, self.record.category)
        if isinstance(refusal.runner, concurrent.futures.Executor | Cluster):
            return refusal.runner if refusal.runner in (runner, self.definition.executor) else None
        return None if refusal.runner is None else runner

    def _decoded(self, args: str, kwargs: str) -> tuple[tuple[Any, ...], dict[str, Any]] | Unfit:
        """Return the arguments of a call, with the results of parents where they go."""
        try:
            return self.definition.codec.decode_call(args, kwargs)
        except InvalidCallError as error:
            if (args, kwargs) != (self.record.args, self.record.kwargs):  # a parent's result
                raise
            return Unfit(clip(self._around.mask(safe_text(error)), LONGEST_TEXT))

    async def _after(self, failure: BaseException) -> Outcome:
        """Return what a failure comes to."""
        if type(failure) is NotBegunError:
            return Interrupted("shutdown")
        if type(failure) is RunnerRefusedError:
            runner = self._runner(failure)
            if runner is not None:
                return NotTaken(runner, clip(failure.why, 1_000))
        if issubclass(type(failure), Snooze):
            delay = asked_delay(failure, naive_now(self._around.clock))
            if delay is not None:
                reason = self._around.mask(asked_reason(failure, "snoozed"))
                return Snoozed(delay, clip(reason, 1_000))
        if self.timer is not None and not self.expired:  # reading the history may take its time
            self.timer.cancel()
        try:
            return self._failed(failure, await self._age())
        except asyncio.CancelledError:  # stopped meanwhile
            return Interrupted(self.interrupted or "event loop closed")

    async def _age(self) -> float:
        """Return the seconds since the first start of this budget of retries.

        A row holds its last start only. The others are in the history, which is
        read just for a policy that can stop by time.
        """
        record = self.record
        first = record.started_at
        if record.retry_count and self.options.retry.stop is not None:
            try:
                first = first_start(await self._around.past.history(record.id)) or first
            except StorageError as error:
                log.warning("The first start of task %s can't be read: %s", record.id, error)
        if first is None:  # a shutdown gave it back while its function went on
            return 0.0
        steady, now = self._around.steady, naive_now(self._around.clock)
        return max(steady.now() - steady.of(first), now - first).total_seconds()

    async def timed_out(self) -> Outcome:
        """Return what a timeout comes to, while the function still goes on."""
        return self._failed(self._timeout_error(None), await self._age())

    def _timeout_error(self, cause: BaseException | None) -> TimeoutError:
        error = TimeoutError(
            f"attempt {self.number} of task '{self.definition.name}' ran longer than its timeout "
            f"of {self.options.timeout:g} s"
        )
        error.__cause__ = cause
        return error

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call the function, inside of the middlewares if there are any."""
        middlewares = self._around.registry.middlewares
        if not middlewares:
            return self._execute(args, kwargs)

        def after(number: int) -> Callable[[], Awaitable[Any]]:
            if number == len(middlewares):
                return lambda: self._execute(args, kwargs)
            return lambda: middlewares[number](self.context, after(number + 1))

        return after(0)()

    def _execute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call the function by what runs it."""
        definition, soft_timeout = self.definition, self.options.soft_timeout
        executor = definition.executor
        if executor is None:
            executor = self._around.registry.category(self.record.category).executor
        self._around.executors.beginnings.check()  # what came before may have taken its time
        if executor is None and definition.is_async and soft_timeout is None:
            answer: Awaitable[Any] = definition.function(*args, **kwargs)
            return answer
        if definition.codec.supplied:
            check_in_process(executor, definition.name)
        call = Call(
            definition.function,
            args,
            kwargs,
            self.context,
            soft_timeout,
            definition.is_async,
            definition.codec,
            self.record,
            self.options.timeout,
        )
        return self._around.executors.of(executor, definition.is_async).run(call)

    def _failed(self, error: BaseException, age: float, reason: str | None = None) -> Failed:
        """Describe the failure and ask the policy whether to try again."""
        kind, mask = type(error), self._around.mask
        found = failure_of(error)
        delay: float | None = None
        if (refused := _refusal(error)) is not None:
            reason = refused.reason
        if issubclass(kind, Exception) and _may_retry(error):
            delay, note = self._delay(error, age)
            reason = note or reason
        return Failed(
            clip(mask(found.text), LONGEST_TEXT),
            clip(found.kind, 500),
            clip(mask(found.traceback), LONGEST_TEXT),
            delay,
            None if reason is None else clip(mask(reason), 1_000),
            None if found.roots is None else clip(mask(found.roots), LONGEST_ROOTS),
            is_counted(error) if issubclass(kind, RetryAfter) else True,
        )

    def _delay(self, error: BaseException, age: float) -> tuple[float | None, str | None]:
        record = self.record
        limit = None if record.max_retries == UNLIMITED_RETRIES else record.max_retries
        policy, why = self.options.retry, None
        if issubclass(type(error), RetryAfter):
            asked = asked_delay(error, naive_now(self._around.clock))
            if asked is not None:
                why = asked_reason(error, "asked for by the task")
                if not is_counted(error):
                    return asked, why
                policy = asking_for(policy, asked)
        decision = decide_retry(
            policy,
            retry_count=record.retry_count,
            max_retries=limit,
            exception=error,
            attempt=self.number,
            seconds_since_first_start=max(age, 0.0),
            rng=self._around.rng,
        )
        return decision.delay, why if decision.delay is not None else decision.reason


def _may_retry(error: BaseException) -> bool:
    refused = _refusal(error)
    return not issubclass(type(error), PayloadError) if refused is None else refused.retryable


def _refusal(error: BaseException) -> TaskRefusedError | None:
    """Return the error if it is a refusal; ``isinstance`` would ask the error for its class."""
    return cast("TaskRefusedError", error) if issubclass(type(error), TaskRefusedError) else None
