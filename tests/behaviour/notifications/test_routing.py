"""What becomes of an event on a route: pure decisions over time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast

import pytest

from wopr import InvalidCallError
from wopr.notifications import NotificationEvent, NotificationLevel, QuietHours, RateLimit, Route
from wopr.notifications.delivery import Delivery
from wopr.notifications.router import Router
from wopr.notifications.routing import (
    Action,
    Decision,
    RouteState,
    Window,
    decide,
    summary,
    summary_time,
)

MORNING = datetime(2030, 5, 17, 9, 0, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def event(title: str = "t", level: str = "error", category: str = "a", **more: Any) -> Any:
    return NotificationEvent(
        id="1",
        category=category,
        level=NotificationLevel(level),
        title=title,
        metadata=more,
        created_at=MORNING,
    )


class Line:
    """One route with its state; tells what becomes of events."""

    def __init__(self, **options: Any) -> None:
        self.route = Route(handler="ops", **options)
        self.state = RouteState()
        self.window: Window | None = None
        self.last: Decision | None = None

    def put(self, one: NotificationEvent, now: datetime = MORNING) -> str | None:
        self.last = decide(one, self.route, self.state, now)
        if self.last is None:
            return None
        self.window = self.state.note(one, self.route, self.last, now)
        return self.last.action.value


def after(seconds: float) -> datetime:
    return MORNING + timedelta(seconds=seconds)


def test_a_route_takes_its_categories_and_its_level_and_worse() -> None:
    line = Line(categories=frozenset({"a", "b"}), level=NotificationLevel.WARNING)
    assert "sent" == line.put(event(level="warning"))
    assert "sent" == line.put(event(level="critical", category="b"))
    assert line.put(event(level="info")) is None
    assert line.put(event(category="c")) is None
    assert "sent" == line.put(event(level="info", category="c", force_external=True))
    assert line.put(event(level="info", force_external=False)) is None


def test_deciding_changes_nothing() -> None:
    route, state = Route(handler="ops", rate=RateLimit(1, 60)), RouteState()
    assert decide(event(), route, state, MORNING) == decide(event(), route, state, MORNING)
    assert ({}, [], {}) == (dict(state.counts), state.windows, state.seen)


# -- repeats --------------------------------------------------------------------


def test_the_same_title_category_and_level_is_a_repeat_for_five_seconds() -> None:
    line = Line()
    assert ["sent", "repeated"] == [line.put(event()), line.put(event(), after(4.9))]
    assert "sent" == line.put(event("other"), after(4.9))
    assert "sent" == line.put(event(category="b"), after(4.9))
    assert "sent" == line.put(event(level="critical"), after(4.9))
    assert "sent" == line.put(event(), after(5))
    assert "repeated" == line.put(event(), after(9.9))


def test_a_dedup_key_counts_instead_of_title_and_category() -> None:
    line = Line()
    assert "sent" == line.put(event("disk 91 %", dedup_key="disk"))
    assert "repeated" == line.put(event("disk 92 %", category="b", dedup_key="disk"))
    assert "sent" == line.put(event("disk 99 %", level="critical", dedup_key="disk"))


def test_a_window_of_zero_lets_all_through() -> None:
    line = Line(dedup=0.0)
    assert ["sent", "sent"] == [line.put(event()), line.put(event())]


def test_a_clock_that_goes_back_silences_nothing() -> None:
    line = Line(dedup=60.0)
    assert ["sent", "sent"] == [line.put(event()), line.put(event(), after(-3600))]


def test_what_could_not_be_enqueued_is_no_reason_for_a_repeat() -> None:
    line = Line()
    line.put(event())
    assert line.last is not None
    line.state.forget(event(), line.last)
    assert "sent" == line.put(event())
    assert 1 == line.state.counts[Action.SENT]


def test_a_repeat_that_could_not_be_enqueued_elsewhere_stays_a_repeat() -> None:
    line = Line()
    assert ["sent", "repeated"] == [line.put(event()), line.put(event())]
    assert line.last is not None
    line.state.forget(event(), line.last)
    assert "repeated" == line.put(event())


def test_only_what_is_in_the_window_is_remembered() -> None:
    line = Line(dedup=10.0)
    for number in range(100):
        line.put(event(str(number)), after(number))
    assert 10 == len(line.state.seen)


# -- quiet hours ------------------------------------------------------------------


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2030-05-17T19:59:59", None),
        ("2030-05-17T20:00:00", "2030-05-18T05:00:00"),
        ("2030-05-17T23:30:00", "2030-05-18T05:00:00"),
        ("2030-05-18T04:59:59", "2030-05-18T05:00:00"),
        ("2030-05-18T05:00:00", None),
    ],
)
def test_quiet_hours_over_midnight_are_those_of_their_zone(now: str, until: str | None) -> None:
    quiet = QuietHours("22:00", time(7), tz=BERLIN)
    assert (None if until is None else utc(until)) == quiet.until(utc(now))


def test_quiet_hours_within_a_day() -> None:
    quiet = QuietHours("12:30", "13:30")
    assert quiet.until(utc("2030-05-17T12:29:59")) is None
    assert utc("2030-05-17T13:30:00") == quiet.until(utc("2030-05-17T12:30:00"))
    assert quiet.until(utc("2030-05-17T13:30:00")) is None


@pytest.mark.parametrize(
    ("quiet", "inside", "until"),
    [
        # 2030-03-31, 02:00 becomes 03:00: the end 02:30 is skipped, so it is the moment after.
        (("22:00", "02:30"), "2030-03-31T00:59:59", "2030-03-31T01:00:00"),
        # The night is an hour shorter: 07:00 is 05:00 UTC, the day before it was 06:00 UTC.
        (("22:00", "07:00"), "2030-03-31T04:59:59", "2030-03-31T05:00:00"),
        # 2030-10-27, 03:00 becomes 02:00: 02:30 comes twice, the first one counts.
        (("22:00", "02:30"), "2030-10-27T00:29:59", "2030-10-27T00:30:00"),
        # The night is an hour longer.
        (("22:00", "07:00"), "2030-10-27T05:59:59", "2030-10-27T06:00:00"),
    ],
)
def test_quiet_hours_end_at_the_right_moment_when_the_clocks_change(
    quiet: tuple[str, str], inside: str, until: str
) -> None:
    hours = QuietHours(*quiet, tz=BERLIN)
    assert utc(until) == hours.until(utc(inside))
    assert hours.until(utc(until)) is None


def test_quiet_hours_that_begin_in_a_skipped_hour_begin_after_it() -> None:
    hours = QuietHours("02:15", "04:00", tz=BERLIN)
    assert hours.until(utc("2030-03-31T00:59:59")) is None
    assert utc("2030-03-31T02:00:00") == hours.until(utc("2030-03-31T01:00:00"))


def test_what_comes_in_quiet_hours_waits_for_their_end_and_critical_does_not() -> None:
    line = Line(quiet=QuietHours("08:00", "10:00"))
    assert "deferred" == line.put(event())
    assert line.last == Decision(Action.DEFERRED, utc("2030-05-17T10:00:00"))
    assert "sent" == line.put(event(level="critical"))
    assert "repeated" == line.put(event(), after(1))


def test_quiet_hours_may_drop() -> None:
    line = Line(quiet=QuietHours("08:00", "10:00", drop=True))
    assert ["quiet", "sent"] == [line.put(event()), line.put(event(level="critical"))]
    assert {"quiet": 1, "sent": 1} == {str(key): n for key, n in line.state.counts.items()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("22:00", "22:00"), "have no length"),
        (("22 Uhr", "07:00"), "start of quiet hours must be a time like '22:00'"),
        (("22:00", 7), "end of quiet hours must be a time like '22:00'"),
        (("22:00+01:00", "07:00"), "without a time zone"),
        ((time(22, tzinfo=UTC), "07:00"), "without a time zone"),
        (("22:00", "07:00", "Europe/Berlín"), "There is no time zone"),
    ],
)
def test_what_is_no_quiet_time_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidCallError) as caught:
        QuietHours(*arguments)
    assert said in str(caught.value)


# -- rate limits --------------------------------------------------------------------


def test_what_exceeds_the_rate_is_held_until_the_period_is_over() -> None:
    line = Line(rate=RateLimit(2, 60))
    actions = [line.put(event(str(number)), after(number)) for number in range(5)]
    assert ["sent", "sent", "held", "held", "held"] == actions
    assert line.window is not None
    assert (MORNING, after(60), 2, 3) == (
        line.window.begin,
        line.window.end,
        line.window.sent,
        line.window.held,
    )
    assert "held" == line.put(event("x"), after(59.9))
    assert "sent" == line.put(event("y"), after(60))
    assert 1 == len(line.state.windows)


def test_a_period_begins_with_its_first_delivery() -> None:
    line = Line(rate=RateLimit(1, timedelta(minutes=1)))
    assert "sent" == line.put(event("a"))
    assert "sent" == line.put(event("b"), after(100))
    assert "held" == line.put(event("c"), after(159))
    assert "sent" == line.put(event("d"), after(160))


def test_what_is_deferred_counts_at_the_moment_of_its_delivery() -> None:
    line = Line(rate=RateLimit(1, 60), quiet=QuietHours("08:00", "10:00"))
    end = utc("2030-05-17T10:00:00")
    assert "sent" == line.put(event("a", level="critical"))
    assert "deferred" == line.put(event("b"))
    assert "held" == line.put(event("c"))
    assert line.window is not None
    assert (end, end + timedelta(seconds=60)) == (line.window.begin, line.window.end)
    assert "held" == line.put(event("d", level="critical"), after(59))
    assert "held" == line.put(event("e", level="critical"), end)


def test_a_summary_tells_how_many_of_what() -> None:
    line = Line(rate=RateLimit(1, 60), dedup=0.0)
    line.put(event("first"))
    for number, level in enumerate(["info", "critical", "info", "warning", "info", "info", "info"]):
        line.put(event(f"title {number % 6}", level=level), after(number))
    line.put(event("title 0"), after(9))
    assert line.window is not None
    told = summary(line.window, "7", after(10))
    assert ("7", "a", NotificationLevel.CRITICAL) == (told.id, told.category, told.level)
    assert "Held back by the rate limit: 8 more" == told.title
    assert told.message.splitlines() == [
        "3 × title 0",
        "1 × title 1",
        "1 × title 2",
        "1 × title 3",
        "1 × title 4",
        "1 × others",
    ]
    assert {"info": 5, "critical": 1, "warning": 1, "error": 1} == told.metadata["levels"]
    assert (8, after(60).isoformat()) == (told.metadata["held"], told.metadata["end"])
    line.put(event(category="b"), after(11))
    assert "wopr.notifications" == summary(line.window, "8", after(12)).category


class SlowStart:
    """A delivery whose first summary is on disk after the second."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.second = asyncio.Event()

    async def enqueue(self, *_: object) -> None: ...

    async def enqueue_later(self, one: NotificationEvent, name: str, at: datetime) -> str:
        task_id = f"task {len(self.held)}"
        self.held[task_id] = one.metadata["held"]
        if len(self.held) == 1:
            await self.second.wait()
        else:
            self.second.set()
        return task_id

    async def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)


async def test_the_summary_that_stays_is_the_one_that_counts_most() -> None:
    delivery = SlowStart()
    router = Router(cast("Delivery", delivery), lambda: "7")
    router.add(Route(handler="ops", rate=RateLimit(1, 60)))
    await asyncio.gather(*(router.deliver(event(str(number))) for number in range(3)))
    assert {"task 0": 1, "task 1": 2} == delivery.held
    assert ["task 0"] == delivery.cancelled
    await router.deliver(event("last"))
    assert ["task 0", "task 1"] == delivery.cancelled


@pytest.mark.parametrize("drop", [False, True])
def test_a_summary_waits_for_the_end_of_quiet_hours_unless_it_tells_of_something_critical(
    drop: bool,
) -> None:
    quiet = QuietHours("09:00:30", "11:00", drop=drop)
    line = Line(rate=RateLimit(1, 60), quiet=quiet)
    line.put(event("a"))
    line.put(event("b"))
    assert line.window is not None
    assert utc("2030-05-17T11:00:00") == summary_time(line.window, line.route)
    line.put(event("c", level="critical"))
    assert after(60) == summary_time(line.window, line.route)
    later = Window(after(7_200), after(7_260), levels=Counter(error=1))
    assert after(7_260) == summary_time(later, line.route)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 60), "count must be a whole number from 1"),
        ((1, 0), "seconds must be more than 0 seconds"),
        ((1, "m"), "seconds must be a number of seconds"),
    ],
)
def test_what_is_no_rate_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidCallError, match=said):
        RateLimit(*arguments)
