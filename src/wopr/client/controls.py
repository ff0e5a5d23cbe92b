"""Categories, limits, pauses, revocations, schedules and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack

from wopr.client.answers import AlertDocument, Category, ScheduleDocument
from wopr.client.calling import call
from wopr.client.inputs import AlertOptions, LimitChange, Plan
from wopr.client.requests import Given, without_none
from wopr.domain.controls import Pause, Revocation
from wopr.domain.limits import Limit


def _because(name: str, reason: str | None) -> Given:
    return Given(path={"name": name}, body=without_none(reason=reason))


@call("GET", "/categories", list[Category], key="categories")
def list_categories() -> Given:
    """Return how each category stands."""
    return Given()


@call("POST", "/categories/{name}/pause", list[Pause], key="pauses")
def pause_category(name: str, *, reason: str | None = None) -> Given:
    """Start no more tasks of a category; return what is paused."""
    return _because(name, reason)


@call("POST", "/categories/{name}/resume", bool, key="resumed")
def resume_category(name: str) -> Given:
    """Start tasks of a category again; return whether it was paused."""
    return Given(path={"name": name})


@call("POST", "/categories/{name}/workers", int, key="workers")
def add_workers(name: str, count: int = 1) -> Given:
    """Add workers of a category to the process that runs them; return how many it has then."""
    return Given(path={"name": name}, body={"count": count})


@call("POST", "/functions/{name}/pause", list[Pause], key="pauses")
def pause_name(name: str, *, reason: str | None = None) -> Given:
    """Start no more tasks of a name; return what is paused."""
    return _because(name, reason)


@call("POST", "/functions/{name}/resume", bool, key="resumed")
def resume_name(name: str) -> Given:
    """Start tasks of a name again; return whether it was paused."""
    return Given(path={"name": name})


@call("GET", "/pauses", list[Pause], key="pauses")
def list_pauses() -> Given:
    """Return what is paused."""
    return Given()


@call("GET", "/limits", list[Limit], key="limits")
def list_limits() -> Given:
    """Return all limits."""
    return Given()


@call("PATCH", "/limits", Limit)
def set_limit(category: str, **change: Unpack[LimitChange]) -> Given:
    """Change what is given of a limit; ``None`` takes it away."""
    return Given(body={"category": category, **change})


@call("DELETE", "/limits", bool, key="removed")
def remove_limit(category: str, *, task: str | None = None, key: str | None = None) -> Given:
    """Take a limit away; return whether there was one."""
    return Given(query={"category": category, "task": task, "key": key})


@call("GET", "/revocations", list[Revocation], key="revocations")
def list_revocations() -> Given:
    """Return the standing revocations."""
    return Given()


@call("POST", "/revocations", int, key="cancelled")
def revoke(
    task: str,
    where: Mapping[str, Any] | None = None,
    *,
    standing: bool = False,
    reason: str = "revoked",
) -> Given:
    """Cancel the live tasks of a name, and with ``standing`` those to come; return how many."""
    body = {"task": task, "where": dict(where or {}), "standing": standing, "reason": reason}
    return Given(body=body)


@call("POST", "/revocations/end", bool, key="removed")
def unrevoke(task: str, where: Mapping[str, Any] | None = None) -> Given:
    """End a standing revocation; return whether there was one."""
    return Given(body={"task": task, "where": dict(where or {})})


@call("GET", "/schedules", list[ScheduleDocument], key="schedules")
def list_schedules() -> Given:
    """Return all schedules."""
    return Given()


@call("POST", "/schedules", ScheduleDocument)
def add_schedule(name: str, task: str, **plan: Unpack[Plan]) -> Given:
    """Add a schedule of a task: ``every=60``, ``cron="0 9 * * *"``, ….

    Raises:
        DuplicateScheduleError: there is one of this name.
        InvalidScheduleSpecificationError: when it fires can't be read.
    """
    return Given(body={"name": name, "task": task, **plan})


@call("GET", "/schedules/{name}/preview", list[datetime], key="times")
def preview_schedule(name: str, *, n: int = 5) -> Given:
    """Return when it fires next, ``n`` times."""
    return Given(path={"name": name}, query={"n": n})


@call("POST", "/schedules/preview", list[datetime], key="times", reads=True)
def preview_plan(
    *, n: int = 5, name: str | None = None, task: str | None = None, **plan: Unpack[Plan]
) -> Given:
    """Return when a schedule would fire that is not stored, ``n`` times, in its time zone.

    What it is called, and the name of its task, may be given as they are for a new one.

    Raises:
        InvalidScheduleSpecificationError: when it fires can't be read.
    """
    return Given(query={"n": n}, body={**without_none(name=name, task=task), **plan})


@call("POST", "/schedules/{name}/pause", ScheduleDocument)
def pause_schedule(name: str, *, reason: str | None = None) -> Given:
    """Fire it no more."""
    return _because(name, reason)


@call("POST", "/schedules/{name}/resume", ScheduleDocument)
def resume_schedule(name: str) -> Given:
    """Fire it again, from the next time after now on."""
    return Given(path={"name": name})


@call("POST", "/schedules/{name}/run", str, key="id")
def run_schedule(name: str) -> Given:
    """Enqueue one of its tasks at once; return the id."""
    return Given(path={"name": name})


@call("GET", "/schedules/{name}", ScheduleDocument)
def get_schedule(name: str) -> Given:
    """Return a schedule.

    Raises:
        ScheduleNotFoundError: there is none of this name.
    """
    return Given(path={"name": name})


@call("PATCH", "/schedules/{name}", ScheduleDocument)
def change_schedule(name: str, **plan: Unpack[Plan]) -> Given:
    """Change what is given of a schedule."""
    return Given(path={"name": name}, body=plan)


@call("DELETE", "/schedules/{name}", type(None))
def remove_schedule(name: str) -> Given:
    """Delete a schedule."""
    return Given(path={"name": name})


@call("GET", "/alerts", list[AlertDocument], key="alerts")
def list_alerts() -> Given:
    """Return all alerts."""
    return Given()


@call("PUT", "/alerts/{name}", AlertDocument)
def set_alert(name: str, **alert: Unpack[AlertOptions]) -> Given:
    """Add an alert, or change the one of this name."""
    return Given(path={"name": name}, body=alert)


@call("DELETE", "/alerts/{name}", bool, key="removed")
def remove_alert(name: str) -> Given:
    """Remove an alert; return whether there was one."""
    return Given(path={"name": name})
