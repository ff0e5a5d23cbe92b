"""Flows: how far each is, and its graph with what each task waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from starlette.routing import BaseRoute

from wopr.core.past import Past
from wopr.domain.checks import check_id
from wopr.domain.errors import QueryError, TaskNotFoundError
from wopr.domain.jsontext import shown
from wopr.domain.spoken import local
from wopr.domain.status import CLAIMABLE
from wopr.flows.boxes import state_of
from wopr.flows.members import Member
from wopr.flows.reading import read_members
from wopr.insights import pagequeries, queries
from wopr.queue.queue import inside
from wopr.web.pages.asking import Ask
from wopr.web.pages.flowgraph import graph_of
from wopr.web.pages.showing import Page
from wopr.web.pages.standing import standing_of
from wopr.web.pages.travel import moment_of, past_of, until

PER_PAGE = 50
SECONDS = 2.0
"""So old an answer may be that several pages share."""
BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=14), timedelta(days=36_525))
"""So far back the newest flows are looked for, one after another."""
MOST_DRAWN = 5_000
"""A flow with more tasks is told by name and state only: nobody reads such a picture."""
MOST_LISTED = 200
MOST_EXPLAINED = 8
MOST_KINDS = 200


async def _list(ask: Ask) -> dict[str, Any]:
    before = ask.query.get("before") or None
    if before is not None:
        before = check_id(before)

    key = ("flows", before, moment_of(ask))
    rows = await ask.recent.get(key, SECONDS, lambda: _page(ask, before))
    return {"title": "Flows", "flows": rows[:PER_PAGE], "more": len(rows) > PER_PAGE}


async def _page(ask: Ask, before: str | None) -> list[dict[str, Any]]:
    """Return a page of flows and one more; so far back as it takes to find them, and no further."""
    end = until(ask)
    rows: list[dict[str, Any]] = []
    for back in BACK:
        most = PER_PAGE + 1
        params = most, before, end, end - back
        rows = list(await ask.queue.sql(pagequeries.FLOWS_PAGE, *params))
        if len(rows) == most:
            break
    return rows


async def _one(ask: Ask) -> dict[str, Any]:
    flow_id = check_id(ask.names["flow_id"])
    past = past_of(ask)
    explained = None if past else await ask.queue.explain(flow=flow_id)
    kinds = [] if past else await _kinds(ask, flow_id)
    total = sum(row["tasks"] for row in kinds)
    first = kinds[0]["seq"] if kinds else 0  # those before need not be looked through
    members: list[Member] = []
    if past is not None:
        members = await _members_then(past, flow_id)
        kinds, total = _kinds_of(members), len(members)
    elif total <= MOST_DRAWN:
        members = await read_members(inside(ask.queue), flow_id, first - 1)
    standing = standing_of(members)
    if past is None:
        standing |= await _explained(ask, members)
    times = [] if past else list(await ask.queue.sql(queries.FLOW_TIMES, flow_id, first))
    counts: dict[str, int] = {}
    for row in kinds:
        counts[row["state"]] = counts.get(row["state"], 0) + row["tasks"]
    return {
        "title": f"Flow {kinds[0]['name']}" if kinds else "Flow",
        "flow_id": flow_id,
        "explained": explained,
        "times": next(iter(times), None),
        "kinds": kinds,
        "counts": counts,
        "total": total,
        "members": members[:MOST_LISTED],
        "unlisted": max(0, len(members) - MOST_LISTED),
        "standing": standing,
        "graph": graph_of(members) if members else None,
        "most_drawn": MOST_DRAWN,
    }


async def _explained(ask: Ask, members: list[Member]) -> dict[str, str]:
    """Return why the first tasks that could start, but for more than the flow knows, do not."""
    ready = [one.id for one in members if one.status in CLAIMABLE and not one.waiting][
        :MOST_EXPLAINED
    ]
    found = await asyncio.gather(*map(ask.queue.explain, ready), return_exceptions=True)
    return {
        task_id: one.text
        for task_id, one in zip(ready, found, strict=True)
        if not isinstance(one, BaseException)  # it has ended, and a cleanup came by
    }


async def _members_then(past: Past, flow_id: str) -> list[Member]:
    """Return the tasks of a flow as they were.

    Raises:
        TaskNotFoundError: there was no such flow then, as far as is known.
    """
    found = await past.get_tasks(flow_id=flow_id, limit=MOST_DRAWN)
    if not found:
        raise TaskNotFoundError(
            f"There was no flow {shown(flow_id)} at {local(past.moment)}, as far as is known now."
        )
    return [
        Member(
            info.id,
            info.name,
            info.status,
            info.attempt,
            info.waiting,
            info.completed_at,
            tuple(info.depends_on),
            info.options.get("flow", {}).get("key"),
            listed=False,
            stays=False,
        )
        for info in reversed(found)
    ]


def _kinds_of(members: list[Member]) -> list[dict[str, Any]]:
    """Return how many tasks have each name and state."""
    counts = Counter((one.name, state_of(one)) for one in members)
    return [
        {"name": name, "state": state, "tasks": count}
        for (name, state), count in counts.most_common(MOST_KINDS)
    ]


async def _kinds(ask: Ask, flow_id: str) -> list[dict[str, Any]]:
    try:
        return list(await ask.queue.sql(pagequeries.FLOW_BY_NAME, flow_id, MOST_KINDS))
    except QueryError as error:
        raise QueryError(
            f"How far flow {shown(flow_id)} is could not be found out: {error}"
        ) from error


LIST = Page(here="Flows", path="/flows", template="flows.html", values=_list, words=("before",))
ONE = Page(here="Flows", path="/flows/{flow_id}", template="flow.html", values=_one)


def routes() -> list[BaseRoute]:
    """Return the routes of both pages."""
    return [*LIST.routes(), *ONE.routes()]
