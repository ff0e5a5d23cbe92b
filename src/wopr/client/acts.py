"""Acts: verbs over the tasks of a selection, seen before they are done, and taken back."""

from __future__ import annotations

from typing import Any

from wopr.client.answers import ActPage, Done, WouldDo
from wopr.client.calling import call
from wopr.client.inputs import Priority, Selection, Verb, When
from wopr.client.requests import Given, without_none
from wopr.domain.act import ActProgress

ACT_SECONDS = 600.0
"""An act over many tasks may take so much longer than other calls."""


def _doing(verb: Verb, tasks: Selection, **how: Any) -> Given:
    which = {name: _many(name, value) for name, value in tasks.items() if value is not None}
    body = {"verb": verb, "tasks": which, **without_none(**how)}
    return Given(body=body, more_seconds=ACT_SECONDS)


def _many(name: str, value: Any) -> Any:
    """Return a condition as a body has it: several values, where there may be several."""
    return (
        [value]
        if name in {"name", "category", "status", "ids"} and isinstance(value, str)
        else value
    )


@call("POST", "/acts/preview", WouldDo, reads=True)
def preview_act(
    verb: Verb,
    tasks: Selection,
    *,
    reason: str | None = None,
    priority: Priority | None = None,
    category: str | None = None,
    until: When | None = None,
) -> Given:
    """Return what an act would do. Nothing is done."""
    return _doing(verb, tasks, reason=reason, priority=priority, category=category, until=until)


@call("POST", "/acts", Done)
def act(
    verb: Verb,
    tasks: Selection,
    *,
    reason: str | None = None,
    priority: Priority | None = None,
    category: str | None = None,
    until: When | None = None,
    key: str | None = None,
) -> Given:
    """Do something to all selected tasks; this may take minutes.

    Args:
        verb: what to do.
        tasks: the selection; an empty one has all tasks.
        reason: for those who look later.
        priority: of ``set-priority``.
        category: where to ``move``.
        until: of ``delay``: a time with its zone, or seconds from now.
        key: of your choice: ``act_progress(key)`` says meanwhile how far it is.
    """
    return _doing(
        verb, tasks, reason=reason, priority=priority, category=category, until=until, key=key
    )


@call("GET", "/acts/progress", ActProgress)
def act_progress(key: str) -> Given:
    """Return how far an act is that goes on."""
    return Given(query={"key": key})


@call("GET", "/acts", ActPage)
def list_acts(*, limit: int = 100, before: int | None = None) -> Given:
    """Return a page of the acts, the newest first; ``before``: with lower numbers only."""
    return Given(query={"limit": limit, "before": before})


@call("POST", "/acts/{number}/undo", Done)
def undo(number: int) -> Given:
    """Take back what can be of an act.

    Raises:
        ActError: there is no such act.
        ServerRefusedError: it can't be taken back; the message says why.
    """
    return Given(path={"number": number}, more_seconds=ACT_SECONDS)


def _because(id: str, reason: str | None) -> Given:
    return Given(path={"id": id}, body=without_none(reason=reason))


@call("POST", "/tasks/{id}/cancel", Done)
def cancel_task(id: str, *, reason: str | None = None) -> Given:
    """Cancel a task that has not ended.

    Raises:
        TaskNotFoundError: there is none with this id.
        ServerRefusedError: it stays as it is; the message says why. So with the other verbs.
    """
    return _because(id, reason)


@call("POST", "/tasks/{id}/retry", Done)
def retry_task(id: str, *, reason: str | None = None) -> Given:
    """Put a failed task back in its queue."""
    return _because(id, reason)


@call("POST", "/tasks/{id}/run-again", Done)
def run_task_again(id: str, *, reason: str | None = None) -> Given:
    """Enqueue a task once more that succeeded or was cancelled."""
    return _because(id, reason)
