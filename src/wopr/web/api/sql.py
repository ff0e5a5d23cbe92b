"""Questions in SQL: in a process of its own, on a snapshot of the database."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from pydantic_core import to_json, to_jsonable_python
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from wopr.domain.csvcells import cell
from wopr.ports.answers import QueryResult
from wopr.queue.queue import inside
from wopr.web.api.endpoints import JSON, Asked, Endpoint, Model
from wopr.web.guard.roles import Role

CSV = "text/csv"
MOST_ROWS = 1_000_000
MOST_PARAMS = 1_000
PORTION = 500
"""So many rows are written together."""


class Question(Model):
    """One SELECT over the tables and views of the reference."""

    query: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    params: Annotated[list[Any], Field(max_length=MOST_PARAMS)] = Field(default=[])
    """The values of `?`, in order."""
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None
    """Most rows; without it, `WOPR_TASKS_QUERY_ROWS`."""
    format: Literal["json", "csv"] = "json"
    """`csv` answers `text/csv`, in which what a spreadsheet takes for a formula has a `'` before
    it; of when it is stands in the header `Wopr-Moment`, and whether it was cut in
    `Wopr-Truncated`."""


@with_config(ConfigDict(use_attribute_docstrings=True))
class Rows(TypedDict):
    """The answer to a question."""

    columns: list[str]
    rows: list[list[Any]]
    moment: datetime
    """Of when it is: of a snapshot, some seconds old at most."""
    truncated: bool
    """Whether there were more rows than the limits allow; the rest is missing."""


async def ask(asked: Asked) -> Response:
    """Answer a question in SQL."""
    body: Question = asked.body
    limit: int | Literal["setting"] = "setting" if body.limit is None else body.limit
    backend = await inside(asked.queue).existing()
    await backend.acts.asked(body.query)
    found = await asked.queue.typed_sql(body.query, *body.params, limit=limit)
    said = {"cache-control": "no-store"}
    if body.format == "json":
        return StreamingResponse(_json(found), headers=said, media_type=JSON)
    moment = "" if found.moment is None else found.moment.isoformat()
    said |= {"wopr-moment": moment, "wopr-truncated": str(found.truncated).lower()}
    return StreamingResponse(_csv(found), headers=said, media_type=CSV)


async def _json(found: QueryResult) -> AsyncIterator[bytes]:
    head = to_json({"columns": list(found.columns), "moment": found.moment})[:-1]
    yield b'%s,"truncated":%s,"rows":[' % (head, to_json(found.truncated))
    for at in range(0, len(found.rows), PORTION):
        part = to_json(_plain(found.rows[at : at + PORTION]))
        yield (b"," if at else b"") + part[1:-1]
    yield b"]}"


async def _csv(found: QueryResult) -> AsyncIterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([cell(name) for name in found.columns])
    for at in range(0, len(found.rows), PORTION):
        part = found.rows[at : at + PORTION]
        for row, told in zip(part, _plain(part), strict=True):
            writer.writerow(map(_cell, row, told))
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def _cell(value: Any, told: Any) -> object:
    """Return what is written of a value: a number of a type that JSON has as text is no formula."""
    return told if isinstance(value, Decimal) else cell(told)


def _plain(rows: Any) -> Any:
    """Return rows as JSON has them: times in ISO 8601, durations in seconds, bytes in hex."""
    return to_jsonable_python(
        [[_hex(value) for value in row] for row in rows],
        timedelta_mode="float",
        inf_nan_mode="null",
        fallback=str,
    )


def _hex(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else value


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/sql",
        name="sql",
        about="SQL",
        summary="Ask in SQL",
        needs=Role.ADMIN,
        handler=ask,
        takes=Question,
        answers=Rows,
        media=(JSON, CSV),
        costly=True,
    ),
)
