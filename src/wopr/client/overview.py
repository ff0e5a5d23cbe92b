"""The queue as a whole, now and over time; flows; questions in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from wopr.client.answers import EnqueuedFlow, FlowDocument, FlowRow, Rows, Stats
from wopr.client.calling import call
from wopr.client.inputs import Selection, Step, When
from wopr.client.requests import Given, without_none
from wopr.domain.eta import Eta
from wopr.ports.answers import WorkerInfo
from wopr.ports.asof import PastStatus
from wopr.ports.series import Resolution, TimeSeries
from wopr.ports.status import GroupExplanation, Status


@call("GET", "/status", Status)
def status() -> Given:
    """Return whether work flows, and what holds it back."""
    return Given()


@call("GET", "/stats", Stats)
def stats(*, at: When | None = None) -> Given:
    """Return exact counts, of now or of a moment."""
    return Given(query={"at": at})


@call("GET", "/workers", list[WorkerInfo], key="workers")
def workers(*, at: When | None = None) -> Given:
    """Return what each worker does, or did at a moment."""
    return Given(query={"at": at})


@call("GET", "/past", PastStatus)
def past(at: When) -> Given:
    """Return how the queue stood at a moment."""
    return Given(query={"at": at})


@call("GET", "/explain", GroupExplanation)
def explain_group(
    *,
    category: str | None = None,
    name: str | None = None,
    flow: str | None = None,
    schedule: str | None = None,
) -> Given:
    """Return why tasks that have exactly one of these in common stand where they stand."""
    return Given(query={"category": category, "name": name, "flow": flow, "schedule": schedule})


@call("GET", "/series", TimeSeries)
def series(
    by: Resolution | Literal["minute", "hour", "day"] = "hour",
    *,
    since: When | None = None,
    until: When | None = None,
    category: str | Sequence[str] | None = None,
    name: str | Sequence[str] | None = None,
    split: Literal["category", "name"] | None = None,
    compare: bool = False,
) -> Given:
    """Return what happened, by minute, hour or day; with ``compare`` also a week earlier."""
    spans = {"by": by, "since": since, "until": until}
    parts = {"category": category, "name": name, "split": split}
    return Given(query={**spans, **parts, "compare": compare})


@call("GET", "/eta", Eta)
def eta(**which: Unpack[Selection]) -> Given:
    """Return when the selected tasks will be done, or why never."""
    return Given(query=which)


@call("POST", "/flows", EnqueuedFlow)
def enqueue_flow(tasks: Sequence[Step]) -> Given:
    """Enqueue tasks that belong together, all or none."""
    return Given(body={"tasks": list(tasks)})


@call("GET", "/flows", list[FlowRow], key="flows")
def list_flows(*, limit: int = 50) -> Given:
    """Return the newest flows."""
    return Given(query={"limit": limit})


@call("GET", "/flows/{id}", FlowDocument)
def get_flow(id: str) -> Given:
    """Return a flow and its tasks."""
    return Given(path={"id": id})


@call("POST", "/flows/{id}/cancel", int, key="cancelled")
def cancel_flow(id: str) -> Given:
    """Cancel what has not ended of a flow; return how many tasks that were."""
    return Given(path={"id": id})


@call("POST", "/sql", Rows, reads=True)
def sql(query: str, *params: Any, limit: int | None = None) -> Given:
    """Ask in SQL, of a snapshot; needs the role admin.

    Args:
        query: one SELECT over the tables and views of the reference.
        params: the values of ``?``, in order.
        limit: most rows; without it, ``WOPR_TASKS_QUERY_ROWS`` of the server.

    Raises:
        QueryError: it is refused or failed.
    """
    return Given(body={"query": query, "params": list(params), **without_none(limit=limit)})
