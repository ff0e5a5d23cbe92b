"""The SQL console: questions of people on a snapshot, in a process of their own."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.clock import new_identity
from wopr.domain.errors import QueryError
from wopr.domain.spoken import aware, local
from wopr.insights import pagequeries
from wopr.ports.answers import QueryResult
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.downloads import download
from wopr.web.pages.filters import visible
from wopr.web.pages.forms import form_of
from wopr.web.pages.questions import noted, questions_of, where_wrong
from wopr.web.pages.rendering import page
from wopr.web.pages.showing import Page
from wopr.web.routing import queue_of, route

MOST_ROWS = 500
"""So many rows are shown; a download has all."""
LONGEST_CELL = 400
LONGEST_QUERY = 65_536
NAMES_SECONDS = 600.0
COLOURS = ("accent", "success", "retry", "failed", "started", "pending")
"""Of the lines of a chart, in turn; more columns are no chart."""


async def _values(ask: Ask) -> dict[str, Any]:
    return {
        "title": "SQL",
        "query": (ask.query.get("q") or "")[:LONGEST_QUERY],
        "key": new_identity().hex(),
        **await _names(ask),
        "answer": None,
        "error": None,
    }


async def _names(ask: Ask) -> dict[str, Any]:
    """Return tables and views with their columns, for people and for completion."""

    async def found() -> dict[str, list[tuple[str, str]]]:
        tables: dict[str, list[tuple[str, str]]] = {}
        for row in await ask.queue.sql(pagequeries.COLUMNS):
            tables.setdefault(row["table_name"], []).append((row["column_name"], row["data_type"]))
        tables.pop("alembic_version", None)
        return tables

    tables = await ask.recent.get("sql names", NAMES_SECONDS, found)
    words = sorted({*tables, *(name for columns in tables.values() for name, _ in columns)})
    return {"tables": tables, "words": json.dumps(words)}


async def answer(request: Request) -> Response:
    """Run a question and show what comes of it."""
    form = await form_of(request)
    query, key = form.get("query", ""), form.get("key", "")[:100]
    ask = ask_of(request, path="/sql")
    values: dict[str, Any] = {"answer": None, "error": None, "where": None}
    queue = queue_of(request)
    try:
        await noted(queue, query)
        asking = queue.typed_sql(query)
        values["answer"] = shown_answer(await questions_of(request).ask(key, asking))
    except QueryError as error:
        where = where_wrong(query, str(error))
        text = str(error) if where is None else str(error).partition("\n\nLINE ")[0]
        values |= {"error": text, "where": where}
    if request.headers.get("hx-request") == "true":
        return page(request, "answer.html", ask=ask, **values)
    told = {**await _values(ask), "here": "SQL", **values, "query": query}
    return page(request, "sql.html", ask=ask, **told)


async def stop(request: Request) -> Response:
    """Stop a question that runs."""
    key = (await form_of(request)).get("key", "")
    stopped = questions_of(request).stop(key)
    return page(request, "stopped.html", title="Stopped", stopped=stopped)


def shown_answer(result: QueryResult) -> dict[str, Any]:
    """Return an answer as the page shows it."""
    rows = result.rows[:MOST_ROWS]
    numeric = [_numeric([row[at] for row in rows]) for at in range(len(result.columns))]
    return {
        "columns": result.columns,
        "rows": [[_cell(value) for value in row] for row in rows],
        "numeric": numeric,
        "total": len(result.rows),
        "cut": result.truncated,
        "hidden": max(0, len(result.rows) - len(rows)),
        "moment": result.moment,
        "chart": _chart(rows, numeric),
        "colours": COLOURS,
        "most": _most(rows, numeric),
    }


def _cell(value: Any) -> dict[str, Any]:
    """Return a value as text, and what a chart takes of it."""
    plot: object = None
    if isinstance(value, datetime):
        plot, text = (
            aware(value).timestamp(),
            local(value, timespec="milliseconds").replace(".000", ""),
        )
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int | float | Decimal):
        known = math.isfinite(value)
        plot, text = (float(value) if known else None), _number(value)
    elif isinstance(value, bytes):
        text = value[:LONGEST_CELL].hex()
    elif isinstance(value, dict | list | tuple):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = "" if value is None else str(value)
    cut = len(text) > LONGEST_CELL
    text = visible(text[:LONGEST_CELL] + "…" if cut else text)
    return {"text": text, "plot": plot, "null": value is None}


def _number(value: float | Decimal) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e15 else f"{value:g}"
    return f"{value:,}"


def _numeric(values: list[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in known
    )


def _chart(rows: list[tuple[Any, ...]], numeric: list[bool]) -> str | None:
    """Return which chart an answer can be: lines over time, bars by name, or none."""
    if len(rows) < 2 or not 2 <= len(numeric) <= len(COLOURS) + 1 or not any(numeric[1:]):
        return None
    first = [row[0] for row in rows]
    if all(isinstance(value, date) for value in first):
        return "lines" if all(numeric[1:]) and isinstance(first[0], datetime) else None
    return "bars" if numeric[1] and len(numeric) == 2 else None


def _most(rows: list[tuple[Any, ...]], numeric: list[bool]) -> float:
    """Return the highest value of the second column, for bars."""
    if len(numeric) != 2 or not numeric[1]:
        return 0.0
    return max((float(row[1]) for row in rows if row[1] is not None), default=0.0)


PAGE = Page(
    here="SQL",
    path="/sql",
    template="sql.html",
    values=_values,
    words=("q",),
    needs=Role.ADMIN,
    live=False,
)


def routes() -> list[BaseRoute]:
    """Return the routes of the page, and of what can be asked on it."""
    may = Role.ADMIN
    return [
        *PAGE.routes(),
        route("/sql/ask", answer, needs=may, methods=["POST"]),
        route("/sql/stop", stop, needs=may, methods=["POST"]),
        route("/sql/download", download, needs=may, methods=["POST"]),
    ]
