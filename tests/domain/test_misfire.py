"""What becomes of occurrences whose time has passed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.misfire import Due, Misfire, Overlap, due_occurrences
from wopr.domain.triggers import At, Cron, Interval, Once, Trigger

SKIP, RUN_ONCE, RUN_ALL = Misfire.SKIP, Misfire.RUN_ONCE, Misfire.RUN_ALL
T0 = datetime(2025, 1, 1, tzinfo=UTC)
TICK, MINUTE, HOUR, DAY = (
    timedelta(microseconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
HOURLY = Interval(HOUR, T0)


class Counted:
    """A trigger that counts how often it is asked."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.questions = 0

    def next_after(self, moment: datetime) -> datetime | None:
        self.questions += 1
        return self.trigger.next_after(moment)

    def to_json(self) -> Any:
        return self.trigger.to_json()

    def describe(self) -> str:
        return self.trigger.describe()


def due(
    trigger: Trigger = HOURLY,
    *,
    after: datetime = T0,
    now: datetime,
    misfire: Misfire = RUN_ONCE,
    limit: int = 100,
    grace: timedelta = MINUTE,
    end_at: datetime | None = None,
) -> Due:
    return due_occurrences(
        trigger, after, now, misfire=misfire, limit=limit, grace=grace, end_at=end_at
    )


def hour(*numbers: float) -> list[datetime]:
    return [T0 + number * HOUR for number in numbers]


# -- nothing missed ----------------------------------------------------------------------


@pytest.mark.parametrize("misfire", Misfire)
def test_what_is_due_on_time_fires_whatever_the_policy(misfire: Misfire) -> None:
    (at_one,), (at_two,) = hour(1), hour(2)
    for late in (timedelta(0), TICK, MINUTE):
        assert Due([at_one], False, at_two) == due(now=at_one + late, misfire=misfire)


@pytest.mark.parametrize("misfire", Misfire)
def test_before_its_time_nothing_fires(misfire: Misfire) -> None:
    (at_one,) = hour(1)
    assert Due([], False, at_one) == due(now=at_one - TICK, misfire=misfire)
    assert Due([], False, at_one) == due(now=T0, misfire=misfire)


def test_the_tick_asks_a_trigger_three_times_for_one_occurrence_and_once_for_none() -> None:
    busy, idle = Counted(HOURLY), Counted(HOURLY)
    due(busy, now=hour(1)[0])
    due(idle, now=hour(0.5)[0])
    assert (3, 1) == (busy.questions, idle.questions)


def test_several_on_time_fire_oldest_first() -> None:
    found = due(now=hour(3.5)[0], grace=3 * HOUR, misfire=SKIP)
    assert Due(hour(1, 2, 3), False, hour(4)[0]) == found


def test_grace_is_counted_from_the_planned_time_and_inclusive() -> None:
    (at_one,) = hour(1)
    assert [at_one] == due(now=at_one + MINUTE, misfire=SKIP).fire
    assert [] == due(now=at_one + MINUTE + TICK, misfire=SKIP).fire
    assert [at_one] == due(now=at_one, misfire=SKIP, grace=timedelta(0)).fire


def test_a_clock_that_was_put_back_fires_nothing_twice() -> None:
    assert Due([], False, hour(6)[0]) == due(after=hour(5)[0], now=hour(2)[0], misfire=RUN_ALL)


# -- late ones ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misfire", "fire", "missed"),
    [(SKIP, [], True), (RUN_ONCE, hour(4), True), (RUN_ALL, hour(1, 2, 3, 4), False)],
)
def test_each_policy_when_all_are_late(
    misfire: Misfire, fire: list[datetime], missed: bool
) -> None:
    assert Due(fire, missed, hour(5)[0]) == due(now=hour(4.5)[0], misfire=misfire)


@pytest.mark.parametrize(
    ("misfire", "fire", "missed"),
    [(SKIP, hour(4), True), (RUN_ONCE, hour(4), True), (RUN_ALL, hour(1, 2, 3, 4), False)],
)
def test_each_policy_when_the_newest_is_on_time(
    misfire: Misfire, fire: list[datetime], missed: bool
) -> None:
    assert Due(fire, missed, hour(5)[0]) == due(now=hour(4)[0] + MINUTE, misfire=misfire)


def test_one_late_occurrence_that_runs_once_was_not_missed() -> None:
    assert Due(hour(1), False, hour(2)[0]) == due(now=hour(1.5)[0], misfire=RUN_ONCE)


def test_run_all_fires_the_newest_up_to_the_limit() -> None:
    found = due(now=hour(8.5)[0], misfire=RUN_ALL, limit=3)
    assert Due(hour(6, 7, 8), True, hour(9)[0]) == found


def test_the_limit_holds_for_on_time_ones_too() -> None:
    for misfire in Misfire:
        found = due(now=hour(8.5)[0], misfire=misfire, limit=2, grace=DAY)
        assert Due(hour(7, 8), True, hour(9)[0]) == found


def test_late_and_on_time_ones_have_a_limit_each() -> None:
    found = due(now=hour(10)[0], misfire=RUN_ALL, limit=2, grace=3 * HOUR)
    assert Due(hour(5, 6, 9, 10), True, hour(11)[0]) == found


def test_once_fires_late_under_run_once_and_never_again() -> None:
    trigger = Once(hour(1)[0])
    assert Due(hour(1), False, None) == due(trigger, now=hour(50)[0])
    assert Due([], True, None) == due(trigger, now=hour(50)[0], misfire=SKIP)
    assert Due([], False, None) == due(trigger, after=hour(1)[0], now=hour(50)[0])


# -- the end -----------------------------------------------------------------------------


def test_what_is_planned_for_the_end_itself_still_counts() -> None:
    (end,) = hour(3)
    assert Due(hour(2), False, end) == due(after=hour(1)[0], now=hour(2)[0], end_at=end)
    assert Due([end], False, None) == due(after=hour(2)[0], now=end, end_at=end)
    assert Due([], False, None) == due(after=end, now=end, end_at=end)


def test_after_the_end_nothing_is_planned() -> None:
    (end,) = hour(3)
    late = due(now=hour(9)[0], misfire=RUN_ALL, end_at=end - TICK)
    assert Due(hour(1, 2), False, None) == late
    assert Due([], False, None) == due(now=hour(9)[0], end_at=T0 + MINUTE)
    assert Due([], False, None) == due(now=T0 + MINUTE, end_at=hour(0.5)[0])


# -- millions of them --------------------------------------------------------------------

YEARS = 3 * 365 * DAY
MANY: list[tuple[Trigger, timedelta]] = [
    (Interval(timedelta(seconds=1), T0), YEARS),
    (Interval(TICK, T0), YEARS),
    (Cron("* * * * *", "Europe/Berlin"), 365 * DAY),
    (Cron("* * * * * *"), YEARS),
    (Cron("* * * 1 *"), 300 * DAY),  # many, and then none for most of a year
    (Cron("* 0 0 1 1 *"), YEARS),  # sixty in a minute of each year
    (At(time(2, 30), "Australia/Lord_Howe"), 100 * 365 * DAY),
    (Cron("0 0 * * MON", "America/New_York"), 400 * 365 * DAY),
]


@pytest.mark.parametrize("misfire", Misfire)
@pytest.mark.parametrize("limit", [1, 10, 100])
@pytest.mark.parametrize(("trigger", "asleep"), MANY)
def test_what_was_missed_is_not_enumerated(
    trigger: Trigger, asleep: timedelta, limit: int, misfire: Misfire
) -> None:
    counted = Counted(trigger)
    now, grace = T0 + asleep + timedelta(seconds=0.5), timedelta(minutes=10)
    found = due(counted, now=now, misfire=misfire, limit=limit, grace=grace)
    assert counted.questions <= 200 + 100 * limit
    assert found.missed
    assert trigger.next_after(now) == found.next_at
    on_time = [moment for moment in found.fire if now - moment <= grace]
    late = [moment for moment in found.fire if now - moment > grace]
    assert late + on_time == found.fire
    assert_newest(trigger, on_time, now, limit, since=now - grace - TICK)
    if misfire is RUN_ALL or (misfire is RUN_ONCE and not on_time):
        count = limit if misfire is RUN_ALL else 1
        assert_newest(trigger, late, now - grace - TICK, count, since=T0)
    else:
        assert late == []


def assert_newest(
    trigger: Trigger, times: list[datetime], end: datetime, limit: int, *, since: datetime
) -> None:
    """Check that these are the newest ``limit`` up to ``end``, or all since ``since``."""
    start = since if len(times) < limit else times[0] - TICK
    assert len(times) <= limit
    for planned in times:
        start = trigger.next_after(start)  # type: ignore[assignment]
        assert planned == start
    following = trigger.next_after(start)
    assert following is None or following > end


# -- against plain enumeration -----------------------------------------------------------

triggers = st.one_of(
    st.builds(Interval, st.timedeltas(timedelta(seconds=20), 3 * DAY), st.just(T0)),
    st.builds(
        Cron,
        st.sampled_from(["*/7 * * * *", "0 3 * * *", "0,1,2,3 4 * * 1", "* 5 * * 2", "0 0 1 * *"]),
        st.sampled_from(["UTC", "Europe/Berlin"]),
    ),
    st.builds(Once, st.just(T0 + DAY)),
)
spans = st.one_of(st.timedeltas(timedelta(0), 2 * HOUR), st.timedeltas(timedelta(0), 10 * DAY))


@settings(max_examples=300, deadline=None)
@given(
    triggers,
    spans,
    spans,
    spans,
    st.sampled_from(Misfire),
    st.integers(1, 8),
    st.one_of(st.none(), spans),
)
def test_the_decision_is_the_one_of_plain_enumeration(
    trigger: Trigger,
    before: timedelta,
    asleep: timedelta,
    grace: timedelta,
    misfire: Misfire,
    limit: int,
    end: timedelta | None,
) -> None:
    after = T0 + before
    now = after + asleep
    end_at = None if end is None else after + end
    everything = []
    moment = trigger.next_after(after)
    while moment is not None and moment <= now and (end_at is None or moment <= end_at):
        everything.append(moment)
        moment = trigger.next_after(moment)
    on_time = [planned for planned in everything if now - planned <= grace][-limit:]
    late = [planned for planned in everything if now - planned > grace]
    if misfire is SKIP or (misfire is RUN_ONCE and on_time):
        late = []
    late = late[-1:] if misfire is RUN_ONCE else late[-limit:]
    upcoming = trigger.next_after(now)
    if upcoming is not None and end_at is not None and upcoming > end_at:
        upcoming = None
    expected = Due(late + on_time, late + on_time != everything, upcoming)
    found = due(
        trigger, after=after, now=now, misfire=misfire, limit=limit, grace=grace, end_at=end_at
    )
    assert expected == found


@given(
    st.lists(st.timedeltas(timedelta(0), DAY), min_size=1, max_size=30), st.sampled_from(Misfire)
)
def test_from_tick_to_tick_nothing_fires_twice_and_on_time_nothing_is_left_out(
    steps: list[timedelta], misfire: Misfire
) -> None:
    now, after, fired = T0, T0, []
    for step in steps:
        now += step
        found = due(after=after, now=now, misfire=misfire, grace=2 * DAY)
        fired += found.fire
        after = max([after, *found.fire])
    assert hour(*range(1, int((now - T0) / HOUR) + 1)) == fired


# -- words and mistakes ------------------------------------------------------------------


def test_the_policies_are_stored_by_these_words() -> None:
    assert ["skip", "run_once", "run_all"] == [policy.value for policy in Misfire]
    assert ["allow", "skip", "queue_one", "cancel_running"] == [policy.value for policy in Overlap]


@pytest.mark.parametrize(("limit", "grace"), [(0, MINUTE), (-1, MINUTE), (1, -TICK)])
def test_a_limit_of_none_and_a_negative_grace_are_refused(limit: int, grace: timedelta) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="at least 1 and the grace"):
        due(now=T0, limit=limit, grace=grace)


def test_a_grace_without_end_is_allowed() -> None:
    found = due(now=hour(3)[0], grace=timedelta.max, misfire=SKIP)
    assert Due(hour(1, 2, 3), False, hour(4)[0]) == found
