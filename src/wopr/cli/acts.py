"""``wopr acts`` and ``wopr undo``: what operators did, and taking it back."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator
from datetime import datetime
from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Option
from wopr.cli.output import document, say, table
from wopr.cli.verbs import show_answer, with_bar
from wopr.core.tasks import OnProgress
from wopr.domain.act import Act
from wopr.domain.spoken import local, named
from wopr.domain.status import TaskPriority
from wopr.queue.queue import TaskQueue


def acts(
    limit: Annotated[int, Option("--limit", "-l", min=1, help="At most so many.")] = 20,
    before: Annotated[
        int | None, Option("--before", metavar="ACT", help="Only those before this one.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """List what operators did, newest first: who, from where, when, to what and why."""
    found = with_queue(database, lambda queue: queue.acts(limit, before=before))
    if as_json:
        document({"acts": found})
        return
    if not found:
        say("Nobody has done anything yet.")
        return
    table(tables.ACTS, [_row(one) for one in found])
    if any(not one.finished for one in found):
        say("An act without an end goes on now, or was interrupted: the same call goes on with it.")


def _row(act: Act) -> tuple[object, ...]:
    return (
        act.number,
        local(act.began_at),
        act.verb,
        " ".join(_said(json.loads(act.selection), json.loads(act.detail))),
        act.changed,
        local(act.ended_at) or "no",
        act.who,
        act.origin,
        act.reason,
    )


def _said(about: dict[str, Any], detail: dict[str, Any]) -> Iterator[str]:
    """Yield what an act was about, and what it set: of a rule what it says since then."""
    yield from named({name: _spoken(name, value) for name, value in about.items()})
    after = detail.get("after") or {} if "before" in detail else detail
    new = {
        name: _spoken(name, value)
        for name, value in after.items()
        if value is not None and not ("before" in detail and name in _ELSEWHERE)
    }
    if new:
        yield from ("→", *named(new))


_ELSEWHERE = frozenset({"by", "origin", "reason", "category", "task", "key"})
"""Of a rule: what stands in another column, or in its name."""


def _spoken(name: str, value: object) -> object:
    """Return a value as people read it: times of the wall, priorities by their names."""
    if name in _TIMES and isinstance(value, str):
        return local(datetime.fromisoformat(value))
    return TaskPriority(value).name if name == "priority" and isinstance(value, int) else value


_TIMES = frozenset({"since", "until", "completed until", "run_at"})


def undo(
    act: Annotated[int, Argument(metavar="ACT", help="Its number: wopr acts.")],
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Take back what can be of an act: of tasks that have not run since; say what can't."""

    def doing(queue: TaskQueue, on_progress: OnProgress) -> Coroutine[Any, Any, Any]:
        return queue.undo(act, on_progress=on_progress)

    answer = with_bar(database, "taken back", doing, as_json=as_json)
    show_answer(answer, "taken back", as_json=as_json, what="change")
