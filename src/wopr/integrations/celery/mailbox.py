"""Where a Celery worker leaves word of a call, and the queue's process looks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, Protocol

from celery import Celery, states
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import (
    NotRegistered,
    TaskRevokedError,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from kombu.exceptions import DecodeError

from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import safe_text, type_name

MOST_AT_ONCE = 500
"""Calls that one question asks for."""


class Kind(Enum):
    """What is known of a call."""

    NOTHING = "nothing"
    BEGUN = "begun"
    DONE = "done"
    RAISED = "raised"
    LOST = "lost"
    """The process that ran it is gone, as its parent has noticed."""
    UNKNOWN = "unknown"
    """The worker has no task of this name."""
    REVOKED = "revoked"


class Word(NamedTuple):
    """What is known of one call, and the JSON that goes with it."""

    kind: Kind
    text: str = ""


NOTHING = Word(Kind.NOTHING)


class Mailbox(Protocol):
    """Keeps word of calls, by the ids of their messages. Safe to use from any thread."""

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Return what is known of calls; those that are left out nothing is known of."""
        ...

    def begun(self, id: str, text: str) -> None:
        """Say that a call runs: once it begins, and again as long as it does."""
        ...

    def done(self, id: str, text: str) -> None:
        """Leave the result."""
        ...

    def raised(self, id: str, text: str) -> None:
        """Leave the error."""
        ...

    def stop(self, id: str) -> None:
        """Ask whoever runs a call to stop, and whoever has not begun it never to begin."""
        ...

    def stopped(self, id: str) -> bool:
        """Whether that was asked."""
        ...

    def forget(self, id: str) -> None:
        """Drop what is known of a call."""
        ...


class CallFailedError(Exception):
    """A function has raised an error, which is told in JSON beside its text."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def stop_id(id: str) -> str:
    """Return where it is said that a call is to stop: the worker's word must not hide that."""
    return f"{id}.stop"


def attempt_id(task_id: str, attempt: int) -> str:
    """Return where it is said that an attempt is to stop, by whoever sends the next one.

    That may be another process, which knows no ids of messages that the last one sent.
    """
    return f"{task_id}.{attempt}"


class ResultBackend:
    """The result backend of the Celery app.

    Raises:
        InvalidCallError: it has none, or one that nobody else can look into.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @staticmethod
    def check(app: Celery) -> None:
        """Refuse a backend that tells nothing.

        Raises:
            InvalidCallError: it is one.
        """
        scheme = str(app.conf.result_backend or "").partition(":")[0]
        if scheme in {"", "rpc", "disabled"}:
            raise InvalidCallError(
                f"CeleryExecutor needs a result backend that several processes can look into, and "
                f"the Celery app {app.main!r} has {scheme or 'none'}. Set one, as in "
                'Celery(…, backend="redis://…") or "db+postgresql://…".'
            )

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Return what is known of calls; one question for many where the backend has such."""
        backend = self._app.backend
        if not isinstance(backend, KeyValueStoreBackend):
            return {id: _read(partial(backend.get_task_meta, id, cache=False)) for id in ids}
        found: dict[str, Word] = {}
        for at in range(0, len(ids), MOST_AT_ONCE):
            part = ids[at : at + MOST_AT_ONCE]
            keys = [backend.get_key_for_task(id) for id in part]
            values = backend.mget(keys)
            if isinstance(values, Mapping):  # of a cache: those that there are
                there = {_text(key): value for key, value in values.items()}
                values = [there.get(_text(key)) for key in keys]
            for id, value in zip(part, values, strict=True):
                if value:
                    found[id] = _read(partial(backend.decode_result, value))
        return found

    def begun(self, id: str, text: str) -> None:
        """Store the state STARTED."""
        self._app.backend.store_result(id, text, states.STARTED)

    def done(self, id: str, text: str) -> None:
        """Store the state SUCCESS."""
        self._app.backend.store_result(id, text, states.SUCCESS)

    def raised(self, id: str, text: str) -> None:
        """Do nothing: Celery itself stores what its task raises."""

    def stop(self, id: str) -> None:
        """Store it beside the call's own state."""
        self._app.backend.store_result(stop_id(id), "stop", states.SUCCESS)

    def stopped(self, id: str) -> bool:
        """Whether there is such a state."""
        meta = self._app.backend.get_task_meta(stop_id(id), cache=False)
        return bool(meta["status"] == states.SUCCESS)

    def forget(self, id: str) -> None:
        """Delete the call's state."""
        self._app.backend.forget(id)


def _text(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _read(meta: Callable[[], Mapping[str, Any]]) -> Word:
    """Return what a state says. One that can't be read is no reason to know nothing of others."""
    try:
        return _word(meta())
    except (DecodeError, LookupError, TypeError, ValueError) as error:
        return Word(Kind.LOST, f"its state can't be read: {type_name(error)}: {safe_text(error)}")


def _word(meta: Mapping[str, Any]) -> Word:
    status, value = meta["status"], meta.get("result")
    if status == states.SUCCESS:
        return Word(Kind.DONE, value if isinstance(value, str) else json.dumps(None))
    if status == states.STARTED:
        return Word(Kind.BEGUN, value if isinstance(value, str) else "")
    if status == states.REVOKED:
        return Word(Kind.REVOKED, str(value))
    if status == states.FAILURE:
        return _failure(value)
    return NOTHING


def _failure(error: object) -> Word:
    if isinstance(error, CallFailedError) and len(error.args) == 2:
        return Word(Kind.RAISED, str(error.args[1]))
    if isinstance(error, NotRegistered):
        return Word(Kind.UNKNOWN, str(error))
    if isinstance(error, TaskRevokedError):
        return Word(Kind.REVOKED, str(error))
    lost = isinstance(error, WorkerLostError | Terminated | TimeLimitExceeded)
    text = f"{type(error).__name__}: {error}"
    return Word(Kind.LOST, text if lost else f"Celery itself failed with {text}")
