"""One call on its way: what is known of it, and when it counts as lost."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from wopr.domain.clock import Clock
from wopr.domain.errors import ProcessDiedError, RunnerRefusedError
from wopr.domain.guarded import guarded, safe_text, type_name
from wopr.domain.jsontext import shown
from wopr.executors.call import Call
from wopr.executors.cluster import Sent
from wopr.executors.told import remade
from wopr.integrations.celery.mailbox import CallFailedError, Kind, Word
from wopr.integrations.celery.messages import body_of, headers_of

log = logging.getLogger("wopr.celery")


class Sender(Protocol):
    """Who sent it."""

    app: Any
    lease: float
    begin_within: float
    clock: Clock

    def forget(self, id: str) -> None:
        """Drop what is known of a call that is over."""
        ...

    def revoke(self, id: str, *, begun: bool) -> Future[None]:
        """Tell the workers that it is not wanted any more."""
        ...


class Sending(Sent):
    """One message. The watching thread tells it what is known; anybody may stop it."""

    def __init__(self, sender: Sender, call: Call, id: str) -> None:
        self.id = id
        self.call = call
        self.future: Future[str] = Future()
        self.headers = headers_of(call, sender.lease)  # here: the trace is of this context
        self._sender = sender
        self._lock = threading.Lock()
        self._sent_at = 0.0
        self._seen_at: float | None = None
        self._last: str | None = None
        self._report: object = None
        self._stopped: Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether nobody wants to know any more."""
        return self._stopped is not None or self.future.done()

    def stop(self) -> Future[None]:
        """Take the message back, or stop the function; done once the workers were told."""
        with self._lock:
            if self._stopped is None:
                self._stopped = self._sender.revoke(self.id, begun=self._last is not None)
            return self._stopped

    def sent(self, now: float) -> None:
        """Note that the broker has it."""
        self._sent_at = now
        if self._stopped is not None:  # while it was being sent
            self._sender.revoke(self.id, begun=False)

    def excuse(self, now: float) -> None:
        """Count no silence up to now: nobody could look."""
        if self._seen_at is not None:
            self._seen_at = now

    def seen(self, word: Word, now: float) -> bool:
        """Take what is known of it; whether there is anything new."""
        if self.over:
            return True
        kind = word.kind
        if kind is Kind.DONE:
            self._end(word.text)
        elif kind is Kind.RAISED:
            self._raised(word.text)
        elif kind is Kind.UNKNOWN:
            self.refuse(
                f"its worker has no task {self.call.context.name!r}. Do register(app, queue) of "
                "wopr.integrations.celery there, once all tasks are declared, and restart it"
            )
        elif kind is Kind.REVOKED and self._last is None:
            self.refuse(f"its message was revoked before it began ({word.text or 'by somebody'})")
        elif kind in {Kind.REVOKED, Kind.LOST}:
            self._died(word.text or "it was revoked by somebody else")
        elif kind is Kind.BEGUN and word.text != self._last:
            self._lives(word.text, now)
        else:
            return self._silent(now)
        return True

    def broken(self, error: Exception) -> None:
        """End it: what is known of it makes no sense."""
        self._died(f"what its worker left can't be read: {type_name(error)}: {safe_text(error)}")

    def _lives(self, text: str, now: float) -> None:
        first, self._last, self._seen_at = self._last is None, text, now
        if first and not self.future.set_running_or_notify_cancel():
            self.stop()
            return
        report = guarded(lambda: json.loads(text)["report"], None)
        if report is not None and report != self._report:
            self._report = report
            guarded(lambda: self.call.context.progress(*report[:2], data=report[2]), None)

    def _silent(self, now: float) -> bool:
        lease, within = self._sender.lease, self._sender.begin_within
        if self._seen_at is not None and now - self._seen_at > lease:
            self.stop_for_good()
            self._died(
                f"its Celery worker gave no sign of life for {lease:g} s: it was killed, or its "
                "host is gone or can't reach the result backend. A function that holds the "
                "interpreter's lock for longer looks the same: give CeleryExecutor a longer lease="
            )
            return True
        if self._seen_at is None and now - self._sent_at > within:
            self.stop_for_good()
            self.refuse(
                f"no worker began it within {within:g} s: none listens to its queue, all are busy, "
                "or the broker lost the message"
            )
            return True
        return False

    def stop_for_good(self) -> None:
        """Tell the workers that it must not begin, should one have it still."""
        self._sender.revoke(self.id, begun=self._last is not None)

    # -- how it ends ----------------------------------------------------------

    def run_here(self) -> None:
        """Run it in this process, as Celery's ``task_always_eager`` asks for."""
        if not self.future.set_running_or_notify_cancel():
            return
        self._last = ""
        app, task = self._sender.app, self.call.context
        if task.name not in app.tasks:
            self.refuse(f"the Celery app has no task {task.name!r}: do register(app, queue)")
            return
        args, kwargs = body_of(self.call)
        found = app.tasks[task.name].apply(args, kwargs, task_id=self.id, headers=self.headers)
        error = found.result
        if isinstance(error, CallFailedError):
            self._raised(str(error.args[1]))
        elif isinstance(error, BaseException):
            self.fail(error)
        else:
            self._end(str(error))

    def refuse(self, why: str) -> None:
        """End it: the function has not begun, and the task waits."""
        task = self.call.context
        sender = shown(self._sender)
        self.fail(
            RunnerRefusedError(
                f"Attempt {task.attempt} of task '{task.name}' did not begin on {sender}: {why}.",
                self._sender,
                why,
            )
        )

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        guarded(lambda: self.future.set_exception(error), None)

    def _raised(self, told: str) -> None:
        self.fail(remade(json.loads(told), self.call.context.name))
        self._sender.forget(self.id)

    def _end(self, text: str) -> None:
        self._begin()
        try:
            self.future.set_result(text)
        except InvalidStateError:
            return
        self._sender.forget(self.id)

    def _begin(self) -> None:
        """Let nobody take it back any more."""
        if self._last is None:
            guarded(self.future.set_running_or_notify_cancel, None)

    def _died(self, why: str) -> None:
        task = self.call.context
        self.fail(
            ProcessDiedError(
                f"Attempt {task.attempt} of task '{task.name}' began on {shown(self._sender)}, and "
                f"what became of it is not known: {why.rstrip('.')}."
            )
        )

    @staticmethod
    def log_unreached(why: str) -> None:
        """Say that the workers could not be told something, which is mended by time."""
        log.warning("The Celery workers could not be told that a call is over: %s", why)
