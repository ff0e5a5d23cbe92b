"""What becomes of wall times when the clocks change.

The expected moments are found by walking through real time in small steps and looking at
what the wall shows: nothing of the code under test is used for that.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.programs import run_ok
from wopr.domain.crontab import Crontab
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.localtime import as_utc, from_wall, zone, zone_name
from wopr.domain.triggers import At, Cron, Trigger

BERLIN, NEW_YORK, LORD_HOWE, KOLKATA = ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "Asia/Kolkata",  # its clocks never change
)
STRANGE = (
    "Antarctica/Troll",  # by two hours
    "Africa/Casablanca",  # four times in some years, and clocks go *back* in summer
    "America/Havana",  # at midnight, so that a day begins at one o'clock
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Asuncion",
    "Europe/Dublin",
    "Pacific/Apia",  # left out a whole day in 2011
    "UTC",
)
TEN_YEARS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
MINUTE, QUARTER, SECOND = timedelta(minutes=1), timedelta(minutes=15), timedelta(seconds=1)

Matches = Callable[[datetime], bool]


def fired(trigger: Trigger, start: datetime, end: datetime) -> list[datetime]:
    """Return what the trigger says for [start, end), one moment after the other."""
    found: list[datetime] = []
    moment = trigger.next_after(start - timedelta(microseconds=1))
    while moment is not None and moment < end:
        found.append(moment)
        moment = trigger.next_after(moment)
    return found


def shown(name: str, start: datetime, end: datetime, step: timedelta) -> list[Any]:
    """Return the pairs of a real moment in [start, end) and what the wall shows then."""
    where, moment, pairs = ZoneInfo(name), start, []
    while moment < end:
        pairs.append((moment, moment.astimezone(where).replace(tzinfo=None)))
        moment += step
    return pairs


def fixed_times(pairs: list[Any], matches: Matches, step: timedelta) -> list[datetime]:
    """Fire when the wall first shows a match or has just jumped over one."""
    highest = pairs[0][1] - step
    found = []
    for moment, wall in pairs:
        passed = highest + step
        while passed <= wall:
            if matches(passed):
                found.append(moment)
                break
            passed += step
        highest = max(highest, wall)
    return found


def real_times(pairs: list[Any], matches: Matches) -> list[datetime]:
    """Fire whenever the wall shows a match."""
    return [moment for moment, wall in pairs if matches(wall)]


def changes(name: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the first quarter of an hour of each new offset."""
    where = ZoneInfo(name)
    moment, offset = start, start.astimezone(where).utcoffset()
    while moment < end:
        moment += timedelta(days=1)
        if moment.astimezone(where).utcoffset() != offset:
            moment -= timedelta(days=1)
            while moment.astimezone(where).utcoffset() == offset:
                moment += QUARTER
            offset = moment.astimezone(where).utcoffset()
            yield moment


CHANGES = {
    name: list(changes(name, datetime(2010, 1, 1, tzinfo=UTC), TEN_YEARS[1]))
    for name in ZONES + STRANGE
}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# -- the table of the documentation ------------------------------------------------------

GAPS = [
    # zone, a wall time that is skipped, the first moment after the gap
    (BERLIN, "2025-03-30 02:30", "2025-03-30 01:00"),
    (NEW_YORK, "2025-03-09 02:30", "2025-03-09 07:00"),
    (LORD_HOWE, "2025-10-05 02:15", "2025-10-04 15:30"),
]
OVERLAPS = [
    # zone, a wall time that comes twice, its first pass, its second pass
    (BERLIN, "2025-10-26 02:30", "2025-10-26 00:30", "2025-10-26 01:30"),
    (NEW_YORK, "2025-11-02 01:30", "2025-11-02 05:30", "2025-11-02 06:30"),
    (LORD_HOWE, "2025-04-06 01:45", "2025-04-05 14:45", "2025-04-05 15:15"),
]


def fixed_triggers(name: str, wall: datetime) -> list[Trigger]:
    """Return all the ways to say this time of day."""
    return [
        At(wall.time(), name),
        Cron.of(Crontab(hour=wall.hour, minute=wall.minute), name),
        Cron(f"{wall.minute} {wall.hour} * * *", name),
        Cron(f"0 {wall.minute} {wall.hour} * * *", name),
        Cron(f"{wall.minute} {wall.hour} */1 1-12 *", name),
    ]


@pytest.mark.parametrize(("name", "wall", "expected"), GAPS)
def test_a_fixed_time_in_a_gap_fires_at_the_first_moment_after_it(
    name: str, wall: str, expected: str
) -> None:
    day = utc(expected).replace(hour=0, minute=0)
    for trigger in fixed_triggers(name, utc(wall)):
        times = fired(trigger, day - timedelta(hours=3), day + timedelta(days=1))
        assert utc(expected) in times
        assert len(fired(trigger, day - timedelta(days=5), day + timedelta(days=5))) in {10, 11}
        assert trigger.next_after(utc(expected)) > utc(expected) + timedelta(hours=20)


@pytest.mark.parametrize(("name", "wall", "first", "second"), OVERLAPS)
def test_a_fixed_time_in_an_overlap_fires_once_at_the_first_pass(
    name: str, wall: str, first: str, second: str
) -> None:
    for trigger in fixed_triggers(name, utc(wall)):
        assert trigger.next_after(utc(first) - MINUTE) == utc(first)
        following = trigger.next_after(utc(first))
        assert following > utc(second) + timedelta(hours=20)
        assert trigger.next_after(utc(second) - SECOND) == following
        assert trigger.next_after(utc(second)) == following


@pytest.mark.parametrize("expression", ["30 * * * *", "0 30 * * * *", "*/30 2 * * *"])
def test_a_pattern_of_real_time_leaves_a_gap_out(expression: str) -> None:
    start = utc("2025-03-30 00:00")
    walls = {
        moment.astimezone(ZoneInfo(BERLIN)).hour
        for moment in fired(Cron(expression, BERLIN), start, start + timedelta(hours=20))
    }
    assert 2 not in walls


@pytest.mark.parametrize("expression", ["*/15 2 * * *", "0 */15 2 * * *", "0 0,15,30,45 2 * * *"])
def test_a_pattern_of_real_time_takes_both_passes_and_a_fixed_one_the_first(
    expression: str,
) -> None:
    start = utc("2025-10-26 00:00")
    times = fired(Cron(expression, BERLIN), start, start + timedelta(hours=3))
    count = 4 if "," in expression else 8
    assert times == [start + n * QUARTER for n in range(count)]


@pytest.mark.parametrize("name", ZONES + STRANGE)
def test_every_quarter_of_an_hour_stays_a_quarter_of_an_hour(name: str) -> None:
    for change in CHANGES[name][-6:]:
        start, end = change - timedelta(hours=6), change + timedelta(hours=6)
        expected = [start + n * QUARTER for n in range(48)]
        assert fired(Cron("*/15 * * * *", name), start, end) == expected
        assert fired(Cron("0 */15 * * * *", name), start, end) == expected
        object_form = Crontab(hour=None, minute=(0, 15, 30, 45))
        assert fired(Cron.of(object_form, name), start, end) == expected


def test_several_fixed_times_in_one_gap_fire_once() -> None:
    trigger = Cron("0,15,30,45 2,3 * * *", BERLIN)
    times = fired(trigger, utc("2025-03-30 00:00"), utc("2025-03-30 12:00"))
    assert times == [utc("2025-03-30 01:00") + n * QUARTER for n in range(4)]


def test_a_daily_time_on_a_day_that_was_left_out_fires_when_the_next_day_begins() -> None:
    trigger = At(time(10, 0), "Pacific/Apia")  # there was no 30 December 2011
    times = fired(trigger, utc("2011-12-29 00:00"), utc("2011-12-31 00:00"))
    assert times == [utc("2011-12-29 20:00"), utc("2011-12-30 10:00"), utc("2011-12-30 20:00")]


# -- ten years ---------------------------------------------------------------------------

FIXED: list[tuple[str, Matches]] = [
    ("30 2 * * *", lambda w: (w.hour, w.minute) == (2, 30)),
    ("15 2 * * *", lambda w: (w.hour, w.minute) == (2, 15)),
    ("0 0 * * *", lambda w: (w.hour, w.minute) == (0, 0)),
    ("0 3 * * *", lambda w: (w.hour, w.minute) == (3, 0)),
    ("15,45 1,2 * * 0", lambda w: w.hour in {1, 2} and w.minute in {15, 45} and w.weekday() == 6),
    ("30 1-3 * 3,4,10 *", lambda w: 1 <= w.hour <= 3 and w.minute == 30 and w.month in {3, 4, 10}),
    ("45 1 * * MON-SAT", lambda w: (w.hour, w.minute) == (1, 45) and w.weekday() != 6),
    ("0 2 1,15 * *", lambda w: (w.hour, w.minute) == (2, 0) and w.day in {1, 15}),
]  # fmt: skip
REAL: list[tuple[str, Matches]] = [
    ("*/30 2 * * *", lambda w: w.hour == 2 and w.minute in {0, 30}),
    ("*/15 1-2 * * SUN", lambda w: w.hour in {1, 2} and w.weekday() == 6),
    ("30 */2 * 4,10 *", lambda w: w.minute == 30 and w.hour % 2 == 0 and w.month in {4, 10}),
    ("0 * 26-31 3,10 *", lambda w: w.minute == 0 and w.day >= 26 and w.month in {3, 10}),
]
SIX_FIELDS_TOO = {"30 2 * * *", "15,45 1,2 * * 0", "*/30 2 * * *"}


@pytest.fixture(scope="module", params=ZONES)
def decade(request: pytest.FixtureRequest) -> tuple[str, list[Any]]:
    return request.param, shown(request.param, *TEN_YEARS, QUARTER)


@pytest.mark.slow
def test_ten_years_of_fixed_times(decade: tuple[str, list[Any]]) -> None:
    name, pairs = decade
    for expression, matches in FIXED:
        expected = fixed_times(pairs, matches, QUARTER)
        assert len(expected) > 200
        assert fired(Cron(expression, name), *TEN_YEARS) == expected, expression
        if expression in SIX_FIELDS_TOO:
            assert fired(Cron(f"0 {expression}", name), *TEN_YEARS) == expected, expression


@pytest.mark.slow
def test_ten_years_of_real_time(decade: tuple[str, list[Any]]) -> None:
    name, pairs = decade
    for expression, matches in REAL:
        expected = real_times(pairs, matches)
        assert len(expected) > 200
        assert fired(Cron(expression, name), *TEN_YEARS) == expected, expression
        if expression in SIX_FIELDS_TOO:
            assert fired(Cron(f"0 {expression}", name), *TEN_YEARS) == expected, expression


@pytest.mark.slow
def test_ten_years_of_a_daily_time(decade: tuple[str, list[Any]]) -> None:
    name, pairs = decade
    for at in (time(0, 0), time(1, 30), time(2, 0), time(2, 15), time(2, 30), time(14, 30)):
        expected = fixed_times(pairs, lambda w, at=at: w.time() == at, QUARTER)
        assert len(expected) in {3652, 3653, 3654}
        assert fired(At(at, name), *TEN_YEARS) == expected, at


# -- around every change, to the minute and to the second ----------------------------------

values = st.sets(st.integers(0, 59), min_size=1, max_size=4)


def text_of(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


@st.composite
def near_changes(draw: st.DrawFn, hours: int) -> tuple[str, datetime, datetime]:
    name = draw(st.sampled_from([name for name in CHANGES if CHANGES[name]]))
    change = draw(st.sampled_from(CHANGES[name]))
    start = change - draw(st.integers(60, hours * 60)) * MINUTE
    return name, start, change + timedelta(hours=hours)


@settings(max_examples=60, deadline=None)
@given(near_changes(30), values, st.sets(st.integers(0, 23), min_size=1, max_size=6))
def test_fixed_times_near_a_change_to_the_minute(
    near: tuple[str, datetime, datetime], minutes: set[int], hours: set[int]
) -> None:
    name, start, end = near
    # The walk begins a day and a half before, so that it knows what was shown already.
    pairs = shown(name, start - timedelta(hours=36), end, MINUTE)
    expected = fixed_times(pairs, lambda w: w.minute in minutes and w.hour in hours, MINUTE)
    expected = [moment for moment in expected if moment >= start]
    cron = Cron(f"{text_of(minutes)} {text_of(hours)} * * *", name)
    assert fired(cron, start, end) == expected
    table = Crontab(hour=tuple(hours), minute=tuple(minutes))
    assert fired(Cron.of(table, name), start, end) == expected


@settings(max_examples=60, deadline=None)
@given(near_changes(30), values, st.one_of(st.none(), st.sets(st.integers(0, 23), min_size=1)))
def test_real_time_near_a_change_to_the_minute(
    near: tuple[str, datetime, datetime], minutes: set[int], hours: set[int] | None
) -> None:
    name, start, end = near
    if hours is None:
        cron = Cron(f"{text_of(minutes)} * * * *", name)
    else:
        step = len(minutes) * 7
        minutes = set(range(0, 60, step))
        cron = Cron(f"*/{step} {text_of(hours)} * * *", name)
    expected = real_times(
        shown(name, start, end, MINUTE),
        lambda w: w.minute in minutes and (hours is None or w.hour in hours),
    )
    assert fired(cron, start, end) == expected


@settings(max_examples=25, deadline=None)
@given(near_changes(2), values, values, st.sets(st.integers(0, 4), min_size=1), st.booleans())
def test_seconds_near_a_change(
    near: tuple[str, datetime, datetime],
    seconds: set[int],
    minutes: set[int],
    hours: set[int],
    real: bool,
) -> None:
    name, start, end = near
    if real:
        cron = Cron(f"{text_of(seconds)} {text_of(minutes)} * * * *", name)
        pairs = shown(name, start, end, SECOND)
        expected = real_times(pairs, lambda w: w.second in seconds and w.minute in minutes)
    else:
        cron = Cron(f"{text_of(seconds)} {text_of(minutes)} {text_of(hours)} * * *", name)
        pairs = shown(name, start - timedelta(hours=4), end, SECOND)
        expected = fixed_times(
            pairs,
            lambda w: w.second in seconds and w.minute in minutes and w.hour in hours,
            SECOND,
        )
        expected = [moment for moment in expected if moment >= start]
    assert fired(cron, start, end) == expected


@settings(max_examples=200, deadline=None)
@given(
    near_changes(30),
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "*/7 0-3 * * *", "0,30 0-3 * * *"]),
    st.integers(0, 3_600_000_000 * 30),
)
def test_next_is_strictly_later_and_the_same_from_any_moment_before(
    near: tuple[str, datetime, datetime], expression: str, micros: int
) -> None:
    name, start, _ = near
    trigger = Cron(expression, name)
    moment = start + timedelta(microseconds=micros)
    following = trigger.next_after(moment)
    assert following > moment
    between = moment + (following - moment) / 2
    assert trigger.next_after(between) == following
    assert trigger.next_after(following - timedelta(microseconds=1)) == following


# -- single wall times and zones -------------------------------------------------------------


@pytest.mark.parametrize(("name", "wall", "expected"), GAPS)
def test_a_wall_time_in_a_gap_is_the_first_moment_after_it(
    name: str, wall: str, expected: str
) -> None:
    assert from_wall(datetime.fromisoformat(wall), ZoneInfo(name)) == utc(expected)


@pytest.mark.parametrize(("name", "wall", "first", "second"), OVERLAPS)
def test_a_wall_time_in_an_overlap_is_its_first_pass(
    name: str, wall: str, first: str, second: str
) -> None:
    local = datetime.fromisoformat(wall)
    assert from_wall(local, ZoneInfo(name)) == utc(first)
    assert from_wall(local.replace(fold=1), ZoneInfo(name)) == utc(first)
    later = local.replace(tzinfo=ZoneInfo(name), fold=1)
    assert utc(second) == later.astimezone(UTC)  # the table is right


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "Did you mean 'Europe/Berlin'"),
        ("europe/berlin", "Did you mean 'Europe/Berlin'"),
        ("Europe", "Zones are named like"),
        ("Mars/Olympus Mons", "available_timezones"),
        ("../../etc/passwd", "There is no time zone"),
        ("", "There is no time zone ''"),
        ("A" * 300, "There is no time zone"),
        ("a\0b", "There is no time zone"),
        ("CEST", "There is no time zone 'CEST'"),
    ],
)
def test_an_unknown_zone_is_refused_with_near_names(name: str, hint: str) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match=re.escape(hint)):
        zone(name)


@pytest.mark.parametrize("value", [None, 5, ZoneInfo(BERLIN), UTC, ["UTC"]])
def test_a_zone_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="tz must be the name"):
        zone(value)


def test_the_zone_of_a_time_gives_its_name() -> None:
    assert "Europe/Berlin" == zone_name(ZoneInfo(BERLIN))
    assert "UTC" == zone_name(UTC)
    assert "UTC" == zone_name(ZoneInfo("UTC"))


def test_an_offset_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="has no name by which"):
        zone_name(timezone(timedelta(hours=2)))


def test_an_aware_moment_is_taken_to_utc() -> None:
    moment = as_utc(datetime(2025, 7, 1, 12, tzinfo=ZoneInfo(BERLIN)), "It")
    assert (utc("2025-07-01 10:00"), UTC) == (moment, moment.tzinfo)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (datetime(2025, 7, 1), "It must be aware, not the naive 2025-07-01T00:00:00"),
        (date(2025, 7, 1), "It must be a datetime, not date"),
        (None, "It must be a datetime, not NoneType"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))), "outside of the years"),
    ],
)
def test_what_is_no_moment_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match=reason):
        as_utc(value, "It")


BARE = """
import sys, zoneinfo
sys.modules["tzdata"] = None
zoneinfo.reset_tzpath([])
from datetime import datetime
from wopr.domain.localtime import zone
print(zone("UTC").key, datetime(2030, 5, 17, tzinfo=zone("UTC")).utcoffset())
try:
    zone("Europe/Berlin")
except ValueError as error:
    print(error)
"""


def test_a_machine_without_time_zones_knows_utc_and_is_told_what_to_install() -> None:
    utc, told = run_ok([sys.executable, "-c", BARE], Path.cwd()).splitlines()
    assert "UTC 0:00:00" == utc
    assert "This machine has no time zones, so 'Europe/Berlin' is not known" in told
    assert "pip install 'wopr[tz]'" in told
