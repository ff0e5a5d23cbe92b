"""Alerts as rows: what can be one, and how they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import SteppableClock
from wopr import InvalidCallError, QueueDisabledError, TaskQueue
from wopr.domain.rule import Rule, RuleKind
from wopr.notifications import AlertBook, AlertCondition, AlertRule, NotificationLevel
from wopr.queue.queue import inside


@pytest.fixture
def book(queue: TaskQueue, clock: SteppableClock) -> AlertBook:
    return AlertBook(queue, clock)


async def test_an_alert_is_on_disk_until_it_is_removed(
    queue: TaskQueue, book: AlertBook, clock: SteppableClock
) -> None:
    async with queue:
        second = await book.add("second", when="slow", threshold=30, category="reports")
        first = await book.add("first", when=AlertCondition.FAILURE, task="mail.*", emits="mail")
        assert [first, second] == await book.all()
    async with queue:
        assert [first, second] == await book.all()
        assert ("slow", 30.0, None, "reports", 300.0, "alerts") == (
            second.when,
            second.threshold,
            second.task,
            second.category,
            second.every,
            second.emits,
        )
        changed = await book.add("first", when="final_failure", task="*")
        assert [changed, second] == await book.all()
        assert [True, False] == [await book.remove("first"), await book.remove("first")]
        assert [second] == await book.all()


@pytest.mark.parametrize(
    ("when", "level"),
    [("failure", "warning"), ("final_failure", "error"), ("recovery", "info")],
)
def test_a_level_that_suits_the_condition_unless_one_is_given(when: str, level: str) -> None:
    assert NotificationLevel(level) is AlertRule(name="a", when=when).level
    assert NotificationLevel(level) is AlertRule(name="a", when=AlertCondition(when)).level
    given = AlertRule(name="a", when=when, level="critical")
    assert NotificationLevel.CRITICAL is given.level


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("", {"when": "failure"}, "name of an alert must have 1 to 200"),
        (7, {"when": "failure"}, "name of an alert must be a str"),
        ("a", {}, "when: Field required"),
        ("a", {"when": "never"}, "when: Input should be 'failure', 'final_failure'"),
        ("a", {"when": "slow"}, "slow needs a threshold, in seconds"),
        ("a", {"when": "backlog_size"}, "backlog_size needs a threshold, in tasks"),
        ("a", {"when": "failure", "threshold": 3}, "failure has no threshold"),
        ("a", {"when": "recovery", "threshold": 1.5}, "must be a whole number"),
        ("a", {"when": "slow", "threshold": -1}, "threshold: Input should be greater"),
        ("a", {"when": "slow", "threshold": float("nan")}, "threshold: Input should be"),
        ("a", {"when": "backlog_age", "threshold": 9, "task": "x"}, "leave task= out"),
        ("a", {"when": "failure", "every": 0.5}, "every: Input should be greater"),
        ("a", {"when": "failure", "level": "loud"}, "level: Input should be 'info'"),
        ("a", {"when": "failure", "task": ""}, "task: it must have 1 to 200 characters"),
        ("a", {"when": "failure", "colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
async def test_what_can_not_be_an_alert_is_refused_and_not_written(
    queue: TaskQueue, book: AlertBook, name: Any, options: dict[str, Any], said: str
) -> None:
    async with queue:
        with pytest.raises(InvalidCallError) as caught:
            await book.add(name, **options)
        assert said in str(caught.value)
        assert [] == await book.all()


async def test_without_a_file_there_is_no_alert_and_none_is_made(
    queue: TaskQueue, book: AlertBook
) -> None:
    assert [] == await book.all()
    assert not queue.database.exists()


async def test_a_queue_that_is_switched_off_takes_no_alert(clock: SteppableClock) -> None:
    book = AlertBook(TaskQueue(enabled=False), clock)
    assert [] == await book.all()
    with pytest.raises(QueueDisabledError):
        await book.add("a", when="failure")
    with pytest.raises(QueueDisabledError):
        await book.remove("a")


async def test_a_row_that_can_not_be_read_is_left_out_and_said(
    queue: TaskQueue, book: AlertBook, clock: SteppableClock, caplog: pytest.LogCaptureFixture
) -> None:
    new = Rule(RuleKind.ALERT, "new", '{"name": "new", "when": "telepathy"}', clock.now())
    async with queue:
        good = await book.add("good", when="failure")
        backend = await inside(queue).access.backend()
        with pytest.raises(InvalidCallError, match="The alert 'new' can't be read: when: Input"):
            await backend.rules.save([new])
        await backend.engine.shared.storage.save_rules([new])
    async with queue:
        assert [good] == await book.all()
        assert "The alert 'new' can't be read" in caplog.text
        assert await book.remove("new")
        assert not await book.remove("new")


async def test_what_was_told_is_not_written_over_a_change(
    queue: TaskQueue, book: AlertBook
) -> None:
    async with queue:
        old = await book.add("a", when="schedule_missed")
        told = old.model_copy(update={"seen": {"daily": 3}})
        await book.keep([told])
        assert [told] == await book.all()
        changed = await book.add("a", when="schedule_missed", level="critical")
        await book.keep([told, AlertRule(name="gone", when="schedule_missed")])
        assert [changed] == await book.all()
