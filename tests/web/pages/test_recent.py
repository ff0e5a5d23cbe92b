"""Answers that are kept: for how long, for whom, and of when a page says they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from support.pages import pages_of
from support.queues import NOON, SteppableClock
from wopr import StorageError, TaskQueue
from wopr.web.guard.roles import Role
from wopr.web.pages import recent as kept
from wopr.web.pages.recent import LATE_SECONDS, LONGEST, TOLD_SECONDS, Recent, looking

FRESH = 2.0


class Question:
    """A question that takes so long, by a clock that stands still meanwhile."""

    def __init__(self, takes: float) -> None:
        self.clock = SteppableClock()
        self.recent = Recent(self.clock)
        self.takes = takes
        self.asked = 0
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def _ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.answers.wait()
        self.clock.advance(self.takes)
        if self.error is not None:
            raise self.error
        return number

    async def get(self, *, hurried: bool = False) -> int:
        with looking(hurried=hurried):
            return await self.recent.get("k", FRESH, self._ask)


@pytest.mark.parametrize(
    ("takes", "fresh"), [(0.05, FRESH), (0.09, FRESH), (0.2, 4.0), (0.5, 10.0), (60.0, LONGEST)]
)
async def test_what_takes_long_is_asked_for_a_twentieth_of_the_time(
    takes: float, fresh: float
) -> None:
    question = Question(takes)
    assert await question.get() == 1
    question.clock.advance(fresh - 0.001)
    assert await question.get() == 1
    question.clock.advance(0.002)
    assert await question.get() == 2


async def test_who_is_in_a_hurry_gets_the_last_answer_and_the_next_is_asked_for_meanwhile() -> None:
    question = Question(0.5)
    await question.get()
    question.clock.advance(LONGEST)
    question.answers.clear()
    assert [1, 1] == [await question.get(hurried=True) for _ in range(2)]
    patient = asyncio.ensure_future(question.get())
    question.answers.set()
    assert await patient == 2
    assert (2, 2) == (await question.get(hurried=True), question.asked)


async def test_what_is_too_old_is_shown_to_nobody() -> None:
    question = Question(0.5)
    await question.get()
    question.clock.advance(10.0 + LATE_SECONDS + 0.1)
    assert await question.get(hurried=True) == 2


async def test_what_is_found_at_once_is_never_shown_old() -> None:
    question = Question(0.01)
    await question.get()
    question.clock.advance(FRESH + 0.1)
    assert await question.get(hurried=True) == 2


async def test_what_was_changed_by_somebody_is_asked_anew_also_while_it_is_asked() -> None:
    question = Question(0.5)
    question.answers.clear()
    old = asyncio.ensure_future(question.get())
    await asyncio.sleep(0)  # it has asked
    question.recent.forget()
    new = asyncio.ensure_future(question.get(hurried=True))
    question.answers.set()
    assert (1, 2) == (await old, await new)
    assert await question.get(hurried=True) == 2


async def test_an_error_takes_the_place_of_an_old_answer() -> None:
    question = Question(0.5)
    await question.get()
    question.clock.advance(LONGEST)
    question.error = StorageError("the owner is gone")
    question.answers.clear()
    assert await question.get(hurried=True) == 1
    patient = asyncio.ensure_future(question.get())
    question.answers.set()
    with pytest.raises(StorageError, match="the owner is gone"):
        await patient
    with pytest.raises(StorageError, match="the owner is gone"):
        await question.get(hurried=True)


async def test_of_when_a_look_is_is_told_of_its_oldest_part_also_within_another() -> None:
    question = Question(0.5)
    await question.get()
    question.clock.advance(TOLD_SECONDS)

    async def outer() -> int:
        return await question.recent.get("k", FRESH, question._ask)

    for _ in range(2):
        with looking(hurried=False) as look:
            assert await question.recent.get("outer", FRESH, outer) == 1
        assert question.recent.known_of(look) == NOON
    with looking(hurried=False) as look:
        await question.recent.get("other", FRESH, question._ask)
    assert question.recent.known_of(look) is None


async def test_no_more_answers_are_kept_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_KEPT", 3)
    question = Question(0.5)
    for key in range(5):
        await question.recent.get(key, 60.0, question._ask)
    assert [5, 4, 3] == [await question.recent.get(k, 60.0, question._ask) for k in (4, 3, 2)]
    assert await question.recent.get(0, 60.0, question._ask) == 6


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as found:
        yield found


async def test_a_page_says_of_when_its_oldest_numbers_are(queue: TaskQueue) -> None:
    clock = SteppableClock()
    client = pages_of(queue, Role.READ)
    client._transport.app.state.recent = Recent(clock)
    async with client:
        assert "the oldest of this page is of" not in (await client.get("/failures")).text
        clock.advance(TOLD_SECONDS + 1)
        text = (await client.get("/failures")).text
        assert "the oldest of this page is of" in text
        assert NOON.isoformat() in text
        clock.advance(60.0)
        assert "the oldest of this page is of" not in (await client.get("/failures")).text
        past = (NOON - timedelta(days=10_000)).isoformat()
        for _ in range(2):
            assert (
                "oldest of this page"
                not in (await client.get("/failures", params={"at": past})).text
            )
            clock.advance(TOLD_SECONDS + 1)
