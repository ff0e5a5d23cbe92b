"""What a running task knows about itself."""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wopr.domain.codec import clip
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.domain.jsontext import safe_text, shown

logger = logging.getLogger("wopr.task")

MOST_DATA = 4_096
"""Bytes of JSON that a task can report beside its progress."""


class CurrentTask:
    """The attempt that this code runs in. Safe to use from the task's thread."""

    __slots__ = ("__weakref__", "_cancelled", "_report", "attempt", "category", "id", "name")

    def __init__(
        self,
        id: str,
        name: str,
        category: str,
        attempt: int,
        report: Callable[[CurrentTask, float, str, Mapping[str, Any] | None], None],
    ) -> None:
        self.id = id
        self.name = name
        self.category = category
        self.attempt = attempt
        self._report = report
        self._cancelled = False

    @property
    def logger(self) -> logging.LoggerAdapter[Any]:
        """A logger whose records carry task_id, task_name and attempt."""
        return logging.LoggerAdapter(
            logger, {"task_id": self.id, "task_name": self.name, "attempt": self.attempt}
        )

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked this attempt to stop; a sync function should look now and then."""
        return self._cancelled

    def cancel(self) -> None:
        """Tell the attempt to stop."""
        self._cancelled = True

    def progress(
        self, percent: float, message: str = "", *, data: Mapping[str, Any] | None = None
    ) -> None:
        """Report how far the work is.

        ``get_task_info`` shows it at once; it is stored a few times a second, and with the end
        of the attempt.

        Args:
            percent: 0 to 100.
            message: a short text for people, at most 1,000 characters are kept; what can't
                be stored, like a lone surrogate, becomes an escape.
            data: a JSON object for programs, at most :data:`MOST_DATA` bytes; secrets in it are
                masked. ``None`` leaves what this attempt reported before, ``{}`` takes it away.

        Raises:
            InvalidCallError: ``percent`` is not a number from 0 to 100, or ``data`` is no such
                object.
        """
        number = isinstance(percent, int | float) and not isinstance(percent, bool)
        if not number or not 0 <= percent <= 100:  # NaN is neither
            raise InvalidCallError(
                f"progress() takes a percentage from 0 to 100, not {shown(percent)}"
            )
        if data is not None:
            data = _plain(data)
        self._report(self, float(percent), clip(str(message)[:1_000], 4_000), data)


def _plain(data: object) -> dict[str, Any]:
    """Return a copy of what can be stored as a JSON object."""
    if not isinstance(data, Mapping):
        raise InvalidCallError(
            f"progress(data=…) takes a dict that JSON can hold, not {shown(data)}."
        )
    try:
        text = json.dumps(dict(data), allow_nan=False)
        plain: dict[str, Any] = json.loads(text)
    except Exception as error:  # whatever the values raise
        raise InvalidCallError(
            f"progress(data=…) takes what JSON can hold, and this can't be: {safe_text(error)}"
        ) from error
    if len(text) > MOST_DATA:
        raise InvalidCallError(
            f"progress(data=…) takes up to {MOST_DATA:,} bytes of JSON, and this has "
            f"{len(text):,}. What is larger is a result, or belongs into a file whose name is here."
        )
    return plain


_current: contextvars.ContextVar[CurrentTask] = contextvars.ContextVar("wopr_current_task")


def current_task() -> CurrentTask:
    """Return the task that the calling code runs in.

    Raises:
        WoprError: called from code that no worker runs.
    """
    try:
        return _current.get()
    except LookupError:
        raise WoprError(
            "current_task() was called outside of a task. It works only inside a function that "
            "a wopr worker runs; in tests call the function with its own arguments instead."
        ) from None


def running_task() -> CurrentTask | None:
    """Return the task that the calling code runs in, ``None`` outside of any."""
    return _current.get(None)


_on_behalf_of: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "wopr_on_behalf_of", default=None
)


@contextlib.contextmanager
def on_behalf_of(task_id: str | None) -> Iterator[None]:
    """Carry out, in a ``with`` block, what a task that runs in another process asked for."""
    token = _on_behalf_of.set(task_id)
    try:
        yield
    finally:
        _on_behalf_of.reset(token)


def asking_task() -> str | None:
    """Return the id of the task on whose behalf the calling code runs; see above."""
    return _on_behalf_of.get()


def set_current_task(task: CurrentTask) -> contextvars.Token[CurrentTask]:
    """Make ``task`` the current one in this context."""
    return _current.set(task)
