"""What a notebook shows of answers: escaped, without secrets, and never too much."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from wopr.domain import notebook
from wopr.domain.reason import Reason, Severity
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo
from wopr.ports.answers import Explanation, QueryResult
from wopr.ports.cut import Cut
from wopr.ports.status import GroupExplanation, State, Status
from wopr.ports.storage import QueryRows

NASTY = '<script>alert(1)</script>\x1b[2J\u202e & "quoted"'
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(*found: tuple[Any, ...], columns: tuple[str, ...] = ("name", "n")) -> QueryResult:
    return QueryResult(QueryRows(columns, list(found)))


def task(**given: Any) -> TaskInfo:
    settled = {"id": "0" * 32, "name": NASTY, "category": "mail", "created_at": MOMENT}
    told = {"priority": TaskPriority.HIGH, "status": TaskStatus.FAILED}
    return TaskInfo(**{**settled, **told, **given})


REASON = Reason(kind="paused", severity=Severity.HELD, text=NASTY, command=f"wopr resume {NASTY}")
ANSWERS = [
    rows((NASTY, 1), columns=(NASTY, "n")),
    task(error=NASTY, tags=(NASTY,), kwargs={NASTY: NASTY}, result={"a": [NASTY]}),
    Explanation(NASTY, TaskStatus.PENDING, "paused", NASTY),
    Status(state=State.HELD, text=NASTY, reasons=(REASON,), database=NASTY, moment=MOMENT, owner=1),
    GroupExplanation(
        about="category", target=NASTY, reason="paused", text=NASTY, reasons=(REASON,)
    ),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_what_anybody_wrote_is_shown_and_not_obeyed(answer: Any) -> None:
    shown = answer._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert not {"<script", "\x1b", "\u202e", NASTY} & {
        part for part in ("<script", "\x1b", "\u202e", NASTY) if part in shown
    }


def test_secrets_are_masked_by_the_name_of_the_column_and_by_their_look() -> None:
    shown = rows(
        ("hunter2", "https://me:hunter3@host/", {"api_key": "hunter4", "to": "ann"}),
        columns=("password", "url", "kwargs"),
    )._repr_html_()
    assert "hunter" not in shown
    assert "ann" in shown


def test_secrets_of_a_task_are_masked_too() -> None:
    shown = task(kwargs={"token": "hunter2"}, error="password=hunter3")._repr_html_()
    assert "hunter" not in shown
    assert "***" in shown


def test_a_table_has_an_end_in_rows_columns_and_characters() -> None:
    wide = tuple(f"c{number}" for number in range(60))
    shown = rows(*[tuple(range(60))] * 70, columns=wide)._repr_html_()
    assert "The first 50 of 70 rows. The first 40 of 60 columns." in shown
    assert 51 == shown.count("<tr>")
    long = rows(("x" * 5_000_000, 1))._repr_html_()
    assert len(long) < 1_000


def test_all_cells_together_have_a_bound() -> None:
    wide = tuple(f"c{number}" for number in range(40))
    shown = rows(*[("<" * 1_000,) * 40] * 50, columns=wide)._repr_html_()
    assert len(shown) < notebook.BYTES + 2_000
    assert "The first 1 of 50 rows." in shown


def test_an_answer_says_that_rows_are_missing_and_of_when_it_is() -> None:
    cut = QueryResult(QueryRows(("n",), [(1,)], cut=Cut.ROWS), MOMENT)._repr_html_()
    assert "1 row</strong>" in cut
    assert "There were more rows than the limits allow. As of 2026-" in cut


def test_a_task_is_told_by_what_it_has() -> None:
    shown = task(result=0, started_at=MOMENT)._repr_html_()
    assert "<th>result</th><td>0</td>" in shown
    assert "<th>priority</th><td>high</td>" in shown
    assert "<th>status</th><td>failed</td>" in shown
    assert "<th>started_at</th><td>2026-" in shown
    assert "completed_at" not in shown
    assert "kwargs" not in shown


def test_a_value_that_can_not_be_asked_is_shown_all_the_same() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

        def __str__(self) -> str:
            raise ValueError("no text")

    assert re.search("<th>result</th><td>[^<]*Odd", task(result=Odd())._repr_html_())
