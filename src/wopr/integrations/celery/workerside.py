"""What a Celery worker does with a call: the tasks of a queue as Celery tasks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import signal
from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.exceptions import Ignore

from wopr.calls.registry import TaskDefinition
from wopr.domain.errors import InvalidCallError, TaskRefusedError
from wopr.domain.guarded import safe_text, type_name
from wopr.domain.jsontext import shown
from wopr.executors.call import no_coroutine
from wopr.executors.context import CurrentTask, set_current_task
from wopr.executors.told import tell
from wopr.integrations.celery.mailbox import (
    CallFailedError,
    Kind,
    Mailbox,
    ResultBackend,
    attempt_id,
)
from wopr.integrations.celery.messages import Letter, letter_of, record_of
from wopr.integrations.celery.pulse import Pulse
from wopr.queue.queue import TaskQueue, inside

log = logging.getLogger("wopr.celery")

TERMINATED = -(256 - signal.SIGTERM)
"""What a process of Celery's pool exits with that is told to end; a function's own exit is an error
of its task only."""


def register(app: Celery, queue: TaskQueue, *, mailbox: Mailbox | None = None) -> list[str]:
    """Make the tasks of a queue tasks of a Celery app, under their names; return these.

    Functions, and methods of handlers. Call it once all of them are declared, in what the Celery
    workers import. The queue need be neither open nor enabled there: its file is not touched.

    A message of a :class:`CeleryExecutor` gives signs of life while it runs, and what comes of it
    goes back to the queue. A message of anybody else, of ``celery beat`` say, runs as a plain
    Celery task: nothing of it is in the queue.

    Args:
        app: of the workers.
        queue: whose tasks they run.
        mailbox: as of the :class:`CeleryExecutor`; ``None`` means the app's result backend.

    Raises:
        InvalidCallError: it is no app or no queue; there is no task to run; or the app has another
            task of one's name.
    """
    if not isinstance(app, Celery):
        raise InvalidCallError(f"register() takes a Celery app, not {shown(app)}.")
    if not isinstance(queue, TaskQueue):
        raise InvalidCallError(f"register() takes a TaskQueue, not {shown(queue)}.")
    names = sorted(inside(queue).registry.definitions)
    if not names:
        raise InvalidCallError(
            "register(app, queue) found no task in the queue. Call it below the tasks, or import "
            "the modules that declare them before."
        )
    if mailbox is None:
        ResultBackend.check(app)
    box: Mailbox = mailbox or ResultBackend(app)
    definitions = inside(queue).registry.definitions
    new = [name for name in names if not _is_registered(app, definitions, name)]
    for name in new:
        _register(app, definitions, name, box)
    return names


def _is_registered(app: Celery, definitions: dict[str, TaskDefinition], name: str) -> bool:
    """Whether a name is this queue's already; it may be registered again with more tasks.

    Raises:
        InvalidCallError: the app has another task of this name, which would stay.
    """
    known = app.tasks.get(name)
    if known is not None and getattr(known, "definitions", None) is not definitions:
        raise InvalidCallError(
            f"The Celery app {app.main!r} has a task {name!r} that is not of this queue, and "
            "Celery keeps the first one. Give one of them another name."
        )
    return known is not None


def _register(
    app: Celery, definitions: dict[str, TaskDefinition], name: str, mailbox: Mailbox
) -> None:
    # Late acknowledgement: a message whose worker dies before it has begun is given to another.
    # One that has begun is not run again by Celery: see _begin.
    @app.task(  # type: ignore[untyped-decorator]
        name=name,
        bind=True,
        shared=False,  # with other apps of this process
        typing=False,
        acks_late=True,
        reject_on_worker_lost=False,
        store_errors_even_if_ignored=True,
        throws=(TaskRefusedError,),
        definitions=definitions,  # whose it is
    )
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        letter = letter_of(self.request)
        work = Work(definitions[name], letter, list(args), kwargs)
        if not letter.counted:
            return _plain(self, work)
        if self.request.is_eager:
            with _told(work, lambda text: None):
                return work.run()
        id = str(self.request.id)
        attempt = attempt_id(letter.id, letter.attempt)
        _begin(mailbox, id, attempt)
        with _told(work, lambda text: mailbox.raised(id, text)):
            with Pulse(mailbox, id, attempt, letter.lease) as pulse:
                work.report = pulse.progress
                pulse.watch(work.task)
                text = work.run()
            mailbox.done(id, text)
        return None


def _begin(mailbox: Mailbox, id: str, attempt: str) -> None:
    """Go on, if the queue still waits for this message, and nobody has begun it.

    Raises:
        Ignore: it was revoked, its next attempt was sent, or a broker has delivered it again.
    """
    known = mailbox.look([id]).get(id)
    stopped = mailbox.stopped(id) or mailbox.stopped(attempt)
    if stopped or (known is not None and known.kind is not Kind.NOTHING):
        log.info("Message %s was taken back or has begun before: it is dropped.", id)
        raise Ignore


@contextlib.contextmanager
def _told(work: Work, leave: Any) -> Iterator[None]:
    """Let what a function raises travel as text, which no backend has to pickle."""
    try:
        yield
    except Ignore:
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            raise
        told = json.dumps(tell(error))
        leave(told)
        raise CallFailedError(f"{type_name(error)}: {safe_text(error)}", told) from error


def _plain(task: Any, work: Work) -> Any:
    """Run a message that no queue waits for.

    A check of who may run it that got no answer is asked again, by Celery's own rules.
    """
    try:
        return json.loads(work.run())
    except TaskRefusedError as refused:
        if refused.retryable:
            raise task.retry(exc=refused) from refused
        raise


class Work:
    """One call in a worker."""

    def __init__(
        self, definition: TaskDefinition, letter: Letter, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        self._definition = definition
        self._letter = letter
        self._args, self._kwargs = args, kwargs
        self.report: Any = None
        who = (letter.id, definition.name, letter.category, letter.attempt)
        self.task = CurrentTask(*who, lambda *said: self.report and self.report(*said))

    def run(self) -> str:
        """Call the function, and return its result as JSON text.

        What was taken along is set in a context of its own, of which nothing is left.
        """
        definition = self._definition
        args, kwargs = definition.codec.decode_call(
            json.dumps(self._args), json.dumps(self._kwargs)
        )
        if definition.codec.supplied:
            raise InvalidCallError(
                f"Task {definition.name!r} needs a resource, which there is none of in a Celery "
                "worker. Open what it needs inside of the function."
            )
        context = contextvars.Context()
        context.run(set_current_task, self.task)
        if definition.carriers or definition.is_async:
            with asyncio.Runner() as runner:
                runner.run(self._unpack(), context=context)
                if definition.is_async:
                    value = runner.run(definition.function(*args, **kwargs), context=context)
                    return definition.codec.encode_result(value)
        value = context.run(definition.function, *args, **kwargs)
        return definition.codec.encode_result(no_coroutine(value, definition.name))

    async def _unpack(self) -> None:
        letter, name = self._letter, self._definition.name
        record = record_of(name, letter, self._args, self._kwargs)
        for carrier in self._definition.carriers:
            await carrier.unpack(record, letter.packed.get(carrier.key))
