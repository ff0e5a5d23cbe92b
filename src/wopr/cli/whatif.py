"""``wopr whatif``: how long tasks would have waited with other workers or limits."""

from __future__ import annotations

from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.cli.output import complain, document, say, table
from wopr.cli.selections import when
from wopr.domain.spoken import age, counted, local
from wopr.domain.typed import WHEN
from wopr.ports.whatif import WhatIf

NONE = "none"
Each = list[str] | None


def whatif(
    workers: Annotated[
        Each,
        Option("--workers", metavar="CATEGORY=N", help="So many slots; may be repeated."),
    ] = None,
    limit: Annotated[
        Each,
        Option("--limit", metavar="CATEGORY=N", help="So many at the same time; none: any number."),
    ] = None,
    rate: Annotated[
        Each,
        Option(
            "--rate", metavar="CATEGORY=RATE", help="So many starts, as in mail=100/minute; none."
        ),
    ] = None,
    since: Annotated[str, Option("--since", metavar="WHEN", help=f"From then on: {WHEN}.")] = "1d",
    until: Annotated[
        str | None, Option("--until", metavar="WHEN", help="Until then, else until now.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Say how long tasks would have waited with other workers or limits, beside what was.

    What started since then arrives once more, on a simulated clock, and the queue's own code says
    what starts when. Nothing runs and nothing is changed.
    """
    asked = _asked(workers, limit, rate)
    asked |= {"since": when(since, "--since"), "until": until and when(until, "--until")}
    found = with_queue(database, lambda queue: queue.whatif(**asked))
    if as_json:
        document(found)
    else:
        _print(found)
    there = {one.category for one in found.categories}
    for name in sorted({*asked["workers"], *asked["limits"], *asked["rates"]} - there):
        complain(f"Nothing of category {name!r} started in that time: that changes nothing.")


def _asked(workers: Each, limit: Each, rate: Each) -> dict[str, Any]:
    slots = {one: _count(text, "--workers") for one, text in _each(workers, "--workers").items()}
    limits = {
        one: None if text == NONE else _count(text, "--limit")
        for one, text in _each(limit, "--limit").items()
    }
    rates = {one: None if text == NONE else text for one, text in _each(rate, "--rate").items()}
    return {"workers": slots, "limits": limits, "rates": rates}


def _each(given: Each, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        category, equals, value = text.rpartition("=")
        if not (category and equals and value):
            raise UsageError(f"{option} takes CATEGORY=VALUE, like mail=8, not {text!r}.")
        found[category] = value
    return found


def _count(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise UsageError(f"{option} takes a whole number from 1 on, like mail=8, not {text!r}.")
    return int(text)


def _print(found: WhatIf) -> None:
    starts = sum(one.tasks for one in found.categories)
    say(f"{counted(starts, 'start')} from {local(found.since)} to {local(found.until)}")
    if not found.categories:
        say("Nothing started in that time, so there is nothing to compare. Ask about more: --since")
        return
    if not found.complete:
        say(f"There were more; these are the first {starts:,}. Ask about less: --since, --until")
    rows = []
    for one in found.categories:
        for what, waits in (("was", one.was), ("would be", one.would)):
            would = waits is one.would
            rows.append(
                (
                    one.category,
                    what,
                    one.workers if would else "",
                    one.limit if would else "",
                    age(waits.p50),
                    age(waits.p95),
                    age(waits.most),
                    waits.backlog,
                    f"{waits.per_hour:,.0f}",
                )
            )
    table(tables.WHATIF, rows)
    for text in found.approximates:
        say(text)
