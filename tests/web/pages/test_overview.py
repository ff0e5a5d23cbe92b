"""Overview: why nothing runs first, each reason with its cure; then what flows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from support.pages import pages_of
from wopr import Reason, Severity, TaskQueue
from wopr.domain import why
from wopr.ports.series import Point
from wopr.web.guard.roles import Role
from wopr.web.pages.cures import cure, mark, sentence, telling
from wopr.web.pages.flowing import WEEK, Ended, Step, steps
from wopr.web.pages.overview import minutes_left

START = datetime(2030, 5, 17, 12, tzinfo=UTC)


def reason(kind: str, severity: Severity = Severity.HELD, **more: object) -> Reason:
    return Reason(kind=kind, severity=severity, text=str(more.pop("text", "x")), **more)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    found = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")

    @found.task(name="send_mail", category="mail")
    async def send_mail(to: str) -> str:
        if to == "nobody":
            raise ValueError("no route")
        return to

    async with found:
        yield found


async def test_a_pause_is_told_first_with_the_button_that_ends_it(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    await queue.pause("mail", reason="provider <b>down</b>")
    await queue.enqueue_ids("send_mail", [("a",), ("b",)], {})
    async with pages_of(queue, Role.OPERATE) as client:
        text = (await client.get("/")).text
        seen = (await pages_of(queue, Role.READ).get("/")).text
    assert text.index("is paused") < text.index("Finished")
    assert "provider &lt;b&gt;down" in text
    assert re.search(r'action="/categories/resume"[^>]*>\s*<input[^>]*csrf', text)
    assert 'name="category" value="mail"' in text
    assert "/categories/resume" not in seen


async def test_when_all_is_well_one_line_says_so(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    await queue.wait(await queue.enqueue_id("send_mail", ("a",), {}, {}), timeout=20)
    async with pages_of(queue, Role.READ) as client:
        text = (await client.get("/")).text
    assert "Nothing holds anything back" in text
    assert 'class="card why' not in text
    assert "no failures" not in text


async def test_what_flows_and_fails_is_there_for_a_category_and_a_span(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    for to in ("a", "nobody"):
        await queue.wait(await queue.enqueue_id("send_mail", (to,), {}, {}), timeout=20)
    async with pages_of(queue, Role.OPERATE) as client:
        text = (await client.get("/?span=24h&category=mail")).text
        assert (await client.get("/?span=1y")).status_code == 422
    assert "50<span" in text.replace("\n", "")  # percent succeed
    assert "ValueError: no route" in text
    assert "category mail" in text
    assert text.count('<figure class="card chart"') == 6


async def test_a_file_that_can_not_be_asked_is_the_first_reason(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none" / "q.duckdb")
    async with pages_of(queue, Role.READ) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert 'class="card why stopped' in answer.text
    await queue.shutdown()


def test_charts_show_whole_steps_a_minute_beside_the_week_before() -> None:
    hour = timedelta(hours=1)
    found = steps(
        [
            Point(at=START, succeeded=60, failed=20, success_rate=0.75, backlog=4, backlog_age=9.0),
            Point(at=START + hour, wait_p50=1.0, wait_p95=2.0, run_p50=3.0, run_p95=4.0),
            Point(at=START + 2 * hour, succeeded=7),
        ],
        {int((START - WEEK).timestamp()) // 3_600: 30},
        3_600,
        START + 2.5 * hour,
    )
    assert found == (
        Step(START, 1.0, 1 / 3, 0.5, 75.0, 4, 9.0, None, None, None, None),
        Step(START + hour, 0, 0, 0, None, 0, 0.0, 1.0, 2.0, 3.0, 4.0),
    )
    [alone] = steps([Point(at=START, succeeded=60)], {}, 60, START + hour)
    assert (alone.succeeded, alone.usual) == (60, None)


def test_how_long_there_is_work_is_known_where_something_ends() -> None:
    assert minutes_left(120, Ended(60.0, 540, 60)) == 12
    assert minutes_left(120, Ended(60.0)) is None
    assert minutes_left(0, Ended(60.0, 60)) is None


@pytest.mark.parametrize("kind", sorted(set(why._ORDER)))
def test_every_kind_of_reason_has_a_mark_and_a_path_or_a_command(kind: str) -> None:
    about = {"category": "a/b", "name": "n", "schedule": "s", "task": "t", "fingerprint": "f"}
    found = cure(reason(kind, about=about))
    assert mark(reason(kind))[1] in {"failed", "retry", "pending"}
    assert found is None or found.path.startswith("/")


def test_a_reason_is_one_sentence_whose_time_stands_beside_it() -> None:
    text = "No workers, and 3 wait, since 2030-05-17 12:00:00+00:00 (3 h 1 min)."
    assert sentence(reason("no workers", text=text, since=START)) == "No workers, and 3 wait."
    assert sentence(reason("no workers", text=text)) == text


def test_what_another_reason_explains_is_not_told_twice() -> None:
    found = [
        reason("no workers", about={"category": "mail"}),
        reason("backlog", about={"category": "mail"}),
        reason("backlog", about={"category": "other"}),
    ]
    assert telling(found) == [found[0], found[2]]
