"""Which planned times of a schedule came to no task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.domain.misfire import Overlap
from wopr.domain.missing import expected, may_lack
from wopr.domain.schedule import Schedule
from wopr.domain.triggers import Cron, Interval

NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
FIVE_PAST = NOON + timedelta(minutes=5)


def hourly(**options: Any) -> Schedule:
    return Schedule(
        name="s",
        task="t",
        category="c",
        priority=2,
        max_retries=0,
        args="[]",
        kwargs="{}",
        trigger=options.pop("trigger", Cron("0 * * * *")),
        created_at=NOON - timedelta(days=9),
        updated_at=NOON - timedelta(days=9),
        **options,
    )


def test_one_that_fired_all_its_times_lacks_none() -> None:
    assert not may_lack(hourly(next_fire_at=NOON + HOUR), FIVE_PAST)


def test_one_that_left_times_out_must_have_those_of_the_last_week() -> None:
    row = hourly(next_fire_at=NOON + HOUR, missed=1)
    assert may_lack(row, FIVE_PAST)
    times = expected(row, FIVE_PAST)
    assert (NOON - 167 * HOUR, NOON, 168) == (times[0], times[-1], len(times))


def test_an_interval_never_fires_at_the_moment_it_was_added() -> None:
    row = hourly(next_fire_at=NOON + HOUR, missed=1)
    row.created_at = row.updated_at = NOON - 2 * HOUR
    row.trigger = Interval(HOUR, anchor=row.created_at)
    assert (NOON - HOUR, NOON) == expected(row, FIVE_PAST)


def test_what_was_deleted_is_not_missed() -> None:
    row = hourly(next_fire_at=NOON + HOUR, missed=1)
    assert (NOON - HOUR, NOON) == expected(row, FIVE_PAST, FIVE_PAST - 2 * HOUR)


def test_what_was_not_to_be_kept_is_not_missed() -> None:
    row = hourly(next_fire_at=NOON + HOUR, missed=1, options='{"retain": 5400}')
    assert (NOON - HOUR, NOON) == expected(row, FIVE_PAST)
    late = replace(row, next_fire_at=NOON - 2 * HOUR, options='{"retain": 0}')
    assert (NOON - 2 * HOUR, NOON - HOUR, NOON) == expected(late, FIVE_PAST)
    assert 168 == len(expected(replace(row, options='{"retain": 1e9}'), FIVE_PAST))


def test_a_daily_one_that_nobody_fired_for_days_misses_each_of_them() -> None:
    row = hourly(trigger=Cron("0 2 * * *"), next_fire_at=NOON - 3 * DAY - 10 * HOUR)
    assert may_lack(row, FIVE_PAST)
    assert {NOON - n * DAY - 10 * HOUR for n in range(4)} <= set(expected(row, FIVE_PAST))


def test_one_that_is_late_lacks_what_is_due() -> None:
    row = hourly(next_fire_at=NOON, skipped=1, overlap=Overlap.SKIP)
    assert may_lack(row, FIVE_PAST)
    assert (NOON,) == expected(row, FIVE_PAST)


def test_what_may_still_be_fired_in_time_is_not_missed() -> None:
    row = hourly(next_fire_at=NOON, overlap=Overlap.SKIP)
    assert not may_lack(row, NOON + timedelta(seconds=30))
    late = replace(row, skipped=1)
    assert () == expected(late, NOON + timedelta(seconds=30))


def test_what_was_left_out_for_an_earlier_one_is_not_missed() -> None:
    row = hourly(next_fire_at=NOON + HOUR, missed=1, skipped=1, overlap=Overlap.SKIP)
    assert not may_lack(row, FIVE_PAST)


def test_a_paused_one_misses_nothing() -> None:
    assert not may_lack(hourly(next_fire_at=NOON, paused_at=NOON - HOUR), FIVE_PAST)


def test_one_of_every_second_is_looked_at_for_some_minutes_only() -> None:
    row = hourly(trigger=Cron("* * * * * *"), next_fire_at=NOON + HOUR, missed=5)
    times = expected(row, NOON + HOUR)
    assert (NOON + 50 * MINUTE, NOON + 59 * MINUTE) == (times[0], times[-1])
    minutely = expected(hourly(trigger=Cron("* * * * *"), missed=5), NOON)
    assert (NOON - DAY, NOON - MINUTE) == (minutely[0], minutely[-1])
