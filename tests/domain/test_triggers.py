"""When a schedule fires: the triggers as values, and the options that name them."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wopr.domain.combined import AllOf, AnyOf
from wopr.domain.crontab import Crontab, Weekday
from wopr.domain.errors import InvalidCallError, InvalidScheduleSpecificationError
from wopr.domain.monthly import Monthly
from wopr.domain.scheduleoptions import parse_schedule_options
from wopr.domain.triggerjson import anchored, trigger_from_json
from wopr.domain.triggers import (
    MAX_INTERVAL,
    At,
    Cron,
    Interval,
    Once,
    Trigger,
)

NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")

moments = st.datetimes(
    datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, ZoneInfo(ZONES[1])])
)
intervals = st.timedeltas(TICK, MAX_INTERVAL)
triggers: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(Interval, intervals, st.one_of(st.none(), moments)),
    st.builds(At, st.times(), st.sampled_from(ZONES)),
    st.builds(
        Cron,
        st.sampled_from(["*/5 * * * *", "30 2 * * MON-FRI", "0 0 1,15 * 3", "*/7 30 4 L * *"]),
        st.sampled_from(ZONES),
        st.booleans(),
    ),
    st.builds(Once, moments),
    st.builds(
        Monthly,
        st.integers(1, 30),
        st.sampled_from([1, 15, 28, 29, 31, "last"]),
        st.times(),
        st.sampled_from(ZONES),
        st.dates(date(1990, 1, 1), date(2090, 1, 1)),
    ),
)
triggers = st.one_of(
    triggers, st.builds(AnyOf, st.lists(triggers, min_size=2, max_size=3).map(tuple))
)


def refused(text: str) -> Any:
    return pytest.raises(InvalidScheduleSpecificationError, match=re.escape(text))


# -- all of them -------------------------------------------------------------------------


def _nested(levels: int) -> dict[str, Any]:
    """Return triggers in triggers in triggers, as JSON."""
    once = {"type": "once", "moment": "2025-07-01T00:00:00+00:00"}
    found: dict[str, Any] = once
    for _ in range(levels):
        found = {"type": "any", "of": [found, once]}
    return found


EXAMPLES: list[tuple[Trigger, str]] = [
    (Interval(timedelta(minutes=5), NOON), "every 5 min"),
    (Interval(timedelta(days=1, hours=2, seconds=3.25), NOON), "every 1 d 2 h 3.25 s"),
    (Interval(timedelta(milliseconds=1), NOON), "every 0.001 s"),
    (At(time(14, 30), "Europe/Berlin"), "daily at 14:30 Europe/Berlin"),
    (At(time(14, 0)), "daily at 14:00 UTC"),
    (At(time(14, 30, 5)), "daily at 14:30:05 UTC"),
    (Cron("30 9 * * MON-FRI"), "cron '30 9 * * MON-FRI' UTC"),
    (
        Cron.of(Crontab(day=13, weekday=Weekday.FRIDAY), "Asia/Kolkata"),
        "cron '0 0 13 * 5' Asia/Kolkata, on days that match both day and weekday",
    ),
    (Once(NOON + timedelta(days=1)), "once at 2025-07-02 12:00:00 UTC"),
    (
        Monthly(3, "last", "09:00", "Europe/Berlin", date(2025, 1, 1)),
        "every 3 months on the last day at 09:00 Europe/Berlin",
    ),
    (Monthly(day=15), "every month on day 15 at 00:00 UTC"),
    (
        AnyOf((At(time(9)), Cron("0 18 * * FRI"))),
        "any of (daily at 09:00 UTC; cron '0 18 * * FRI' UTC)",
    ),
    (
        AllOf((At(time(9)), Cron("* * 1-7 * *"))),
        "all of (daily at 09:00 UTC; cron '* * 1-7 * *' UTC)",
    ),
]


@pytest.mark.parametrize(("trigger", "text"), EXAMPLES)
def test_a_trigger_describes_itself(trigger: Trigger, text: str) -> None:
    assert text == trigger.describe()


@pytest.mark.parametrize("trigger", [trigger for trigger, _ in EXAMPLES])
def test_a_trigger_is_frozen_and_takes_no_naive_moment(trigger: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(trigger, next(iter(type(trigger).__dataclass_fields__)), None)
    with refused("The moment must be aware"):
        trigger.next_after(datetime(2025, 7, 1))


@pytest.mark.parametrize("trigger", [trigger for trigger, _ in EXAMPLES])
def test_next_is_in_utc_whatever_the_zone_of_the_moment(trigger: Trigger) -> None:
    expected = trigger.next_after(NOON)
    assert expected is not None
    assert expected.tzinfo is UTC
    assert expected == trigger.next_after(NOON.astimezone(ZoneInfo("Asia/Kolkata")))
    assert expected == trigger.next_after(NOON.astimezone(timezone(timedelta(hours=-7))))


@given(triggers)
def test_a_trigger_comes_back_from_json(trigger: Trigger) -> None:
    again = trigger_from_json(json.loads(json.dumps(trigger.to_json())))
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert again.to_json() == trigger.to_json()


@settings(deadline=None)
@given(triggers, moments)
def test_next_is_strictly_later_and_the_first(trigger: Trigger, moment: datetime) -> None:
    trigger = anchored(trigger, moment)
    following = trigger.next_after(moment)
    if following is None:
        assert isinstance(trigger, (Once, Interval, AnyOf))
        return
    assert following > moment
    assert trigger.next_after(following - TICK) == following
    later = trigger.next_after(following)
    assert later is None or later > following


@pytest.mark.parametrize("trigger", [trigger for trigger, _ in EXAMPLES])
@pytest.mark.parametrize("name", ZONES)
def test_after_the_year_9999_comes_nothing(trigger: Trigger, name: str) -> None:
    if isinstance(trigger, (At, Cron)):
        trigger = trigger_from_json(trigger.to_json() | {"tz": name})
    end = datetime.max.replace(tzinfo=UTC)
    assert trigger.next_after(end) is None
    if not isinstance(trigger, Interval):
        moment: datetime | None = end - timedelta(days=2)
        times = 0
        while moment is not None and times < 10:
            moment, times = trigger.next_after(moment), times + 1
        assert times < 10


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "moon"},
        {"type": "interval"},
        {"type": "interval", "seconds": "5", "anchor": None},
        {"type": "interval", "seconds": 0, "anchor": None},
        {"type": "interval", "seconds": 1e300, "anchor": None},
        {"type": "interval", "seconds": 5, "anchor": "2025-07-01T00:00:00"},
        {"type": "at", "time": "25:00", "tz": "UTC"},
        {"type": "at", "time": "14:00", "tz": "Mars/Base"},
        {"type": "cron", "expression": "* * * * *", "zone": "UTC"},
        {"type": "cron", "expression": "* * *", "tz": "UTC", "day_and_weekday": False},
        {"type": "once", "moment": 5},
        {"type": "monthly", "every": 0, "day": 1, "at": "09:00", "tz": "UTC", "first": None},
        {"type": "monthly", "every": 1, "day": "first", "at": "09:00", "tz": "UTC", "first": None},
        {"type": "monthly", "every": 1, "day": 1},
        {"type": "any", "of": []},
        {"type": "any", "of": 5},
        {"type": "all", "of": [{"type": "moon"}, {"type": "moon"}]},
        {"type": "any", "of": [{"type": "once", "moment": "2025-07-01T00:00:00+00:00"}] * 21},
        _nested(4),
        _nested(2_000),
        None,
        [],
        "* * * * *",
    ],
)
def test_a_stored_trigger_that_is_none_is_refused(data: Any) -> None:
    with refused("The stored trigger"):
        trigger_from_json(data)


# -- Interval ----------------------------------------------------------------------------


@given(intervals, moments, st.integers(0, 10**12))
def test_an_interval_fires_at_whole_multiples_from_its_anchor(
    every: timedelta, anchor: datetime, distance: int
) -> None:
    moment = anchor.astimezone(UTC) + distance * TICK
    following = Interval(every, anchor).next_after(moment)
    if following is not None:
        assert (following - anchor.astimezone(UTC)) % every == timedelta(0)
        assert timedelta(0) < following - moment <= every


def test_an_interval_does_not_drift_however_often_it_fires() -> None:
    trigger = Interval(timedelta(microseconds=333_333), NOON)
    moment = NOON
    for _ in range(100_000):
        moment = trigger.next_after(moment)  # type: ignore[assignment]
    assert NOON + 100_000 * timedelta(microseconds=333_333) == moment
    far = NOON + 10**10 * timedelta(microseconds=333_333)
    assert far == trigger.next_after(far - TICK)


def test_an_interval_is_real_time_when_the_clocks_change() -> None:
    trigger = Interval(timedelta(hours=24), datetime(2025, 3, 29, 12, tzinfo=ZoneInfo(ZONES[1])))
    assert datetime(2025, 3, 30, 11, tzinfo=UTC) == trigger.next_after(
        datetime(2025, 3, 29, 11, tzinfo=UTC)
    )


def test_the_anchor_itself_is_the_first_moment() -> None:
    trigger = Interval(timedelta(hours=1), NOON)
    assert NOON == trigger.next_after(NOON - timedelta(days=900))
    assert NOON == trigger.next_after(NOON - TICK)
    assert NOON + timedelta(hours=1) == trigger.next_after(NOON)


def test_the_schedule_anchors_an_interval_that_has_no_anchor() -> None:
    trigger = Interval(timedelta(hours=1))
    with refused("has no anchor"):
        trigger.next_after(NOON)
    assert Interval(timedelta(hours=1), NOON) == trigger.anchored(NOON)
    assert Interval(timedelta(hours=1), NOON) == trigger.anchored(NOON).anchored(NOON + TICK)


@pytest.mark.parametrize(
    ("every", "reason"),
    [
        (timedelta(0), "must be longer than zero"),
        (timedelta(seconds=-5), "must be longer than zero"),
        (timedelta(days=40_000), "at most 100 years"),
        (5, "must be a timedelta, like timedelta(minutes=5), not int 5"),
        (None, "must be a timedelta"),
    ],
)
def test_an_interval_that_cant_be_meant_is_refused(every: Any, reason: str) -> None:
    with refused(reason):
        Interval(every)


def test_a_naive_anchor_is_refused() -> None:
    with refused("An interval's anchor must be aware"):
        Interval(timedelta(hours=1), datetime(2025, 7, 1))


# -- At ----------------------------------------------------------------------------------


def test_a_daily_time_keeps_its_seconds() -> None:
    trigger = At(time(23, 59, 59, 250_000), "Asia/Kolkata")
    expected = datetime(2025, 7, 1, 18, 29, 59, 250_000, tzinfo=UTC)
    assert expected == trigger.next_after(NOON)
    assert expected + timedelta(days=1) == trigger.next_after(expected)


def test_the_zone_of_an_aware_time_is_the_zone() -> None:
    assert At(time(3), "Europe/Berlin") == At(time(3, tzinfo=ZoneInfo("Europe/Berlin")))
    assert At(time(3)) == At(time(3, tzinfo=UTC))
    assert At(time(3), "Asia/Kolkata") == At(time(3, tzinfo=ZoneInfo(ZONES[4])), ZONES[4])
    assert At(time(3)) == At(time(3, fold=1))


@pytest.mark.parametrize(
    ("value", "tz", "reason"),
    [
        (time(3, tzinfo=ZoneInfo(ZONES[1])), "Asia/Kolkata", "is of the zone 'Europe/Berlin'"),
        (time(3, tzinfo=UTC), "Asia/Kolkata", "is of the zone 'UTC'"),
        (time(3, tzinfo=timezone(timedelta(hours=2))), "UTC", "has no name"),
        (time(3), "Mars/Base", "There is no time zone 'Mars/Base'"),
        ("03:00", "UTC", "must be a datetime.time, like time(14, 30), not str '03:00'"),
        (datetime(2025, 7, 1, 3), "UTC", "must be a datetime.time"),
    ],
)
def test_a_daily_time_that_cant_be_meant_is_refused(value: Any, tz: str, reason: str) -> None:
    with refused(reason):
        At(value, tz)


# -- Once --------------------------------------------------------------------------------


def test_once_is_once() -> None:
    trigger = Once(NOON.astimezone(ZoneInfo("Asia/Kolkata")))
    assert NOON == trigger.next_after(NOON - TICK)
    assert None is trigger.next_after(NOON)
    assert Once(NOON) == trigger


def test_a_naive_moment_is_refused() -> None:
    with refused("must be aware, not the naive 2025-07-01T00:00:00"):
        Once(datetime(2025, 7, 1))


# -- the options of a schedule -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "trigger"),
    [
        ({"every": {"minutes": 5}}, Interval(timedelta(minutes=5))),
        ({"every": {"days": 1, "hours": 2, "seconds": 0.5}}, Interval(timedelta(1, 7_200.5))),
        ({"every": {"milliseconds": 50}}, Interval(timedelta(milliseconds=50))),
        ({"every": {"weeks": 1, "microseconds": 1}}, Interval(timedelta(weeks=1) + TICK)),
        ({"every": {"days": 1, "hours": -1}}, Interval(timedelta(hours=23))),
        ({"every": timedelta(hours=1)}, Interval(timedelta(hours=1))),
        ({"every": 90}, Interval(timedelta(seconds=90))),
        ({"interval": timedelta(hours=1)}, Interval(timedelta(hours=1))),
        ({"interval": 0.25}, Interval(timedelta(seconds=0.25))),
        ({"at": "14:30"}, At(time(14, 30))),
        ({"at": "9:05"}, At(time(9, 5))),
        ({"at": "23:59:58", "tz": "Asia/Kolkata"}, At(time(23, 59, 58), "Asia/Kolkata")),
        ({"at": time(3, 0)}, At(time(3, 0))),
        ({"at": time(0, 0)}, At(time(0, 0))),
        ({"at": time(3, tzinfo=ZoneInfo(ZONES[1]))}, At(time(3), ZONES[1])),
        ({"crontab": Crontab(hour=3)}, Cron("0 3 * * *")),
        ({"crontab": Crontab(hour=3), "tz": ZONES[2]}, Cron("0 3 * * *", ZONES[2])),
        ({"crontab": "0 3 * * *"}, Cron("0 3 * * *")),
        ({"cron": "0 3 * * *", "tz": ZONES[2]}, Cron("0 3 * * *", ZONES[2])),
        ({"run_at": NOON}, Once(NOON)),
        ({"run_at": NOON.astimezone(ZoneInfo(ZONES[1])), "tz": ZONES[4]}, Once(NOON)),
    ],
)
def test_options_mean_a_trigger(options: dict[str, Any], trigger: Trigger) -> None:
    assert trigger == parse_schedule_options(**options)


@pytest.mark.parametrize(
    ("run_at", "tz", "expected"),
    [
        (datetime(2025, 7, 1, 12), None, NOON),
        (datetime(2025, 7, 1, 14), "Europe/Berlin", NOON),
        (datetime(2025, 7, 1, 17, 30), "Asia/Kolkata", NOON),
        (datetime(2025, 3, 30, 2, 30), "Europe/Berlin", datetime(2025, 3, 30, 1, tzinfo=UTC)),
        (datetime(2025, 10, 26, 2, 30), "Europe/Berlin", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_naive_run_at_is_a_wall_time_of_the_zone(
    run_at: datetime, tz: str | None, expected: datetime
) -> None:
    assert Once(expected) == parse_schedule_options(run_at=run_at, tz=tz)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({}, "got none"),
        ({"tz": "UTC"}, "got none"),
        ({"interval": 5, "at": "14:30"}, "got interval and at"),
        ({"every": {"minutes": 5}, "run_at": NOON}, "got every and run_at"),
        ({"crontab": Crontab(), "cron": "* * * * *"}, "got crontab and cron"),
        ({"at": time(0), "crontab": ""}, "got at and crontab"),
    ],
)
def test_exactly_one_option_must_be_given(options: dict[str, Any], got: str) -> None:
    with refused("Exactly one of 'interval', 'at', or 'crontab' must be provided") as caught:
        parse_schedule_options(**options)
    assert got in str(caught.value)
    assert {"every", "cron", "run_at"} <= set(re.findall(r"\w+", str(caught.value)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"every": {}}, "'every' field cannot be an empty dictionary."),
        (
            {"every": {"minutesss": 5}},
            "Invalid key 'minutesss' in 'every' field. Allowed keys are: weeks, days, hours, "
            "minutes, seconds, milliseconds, microseconds",
        ),
        ({"every": {5: 5}}, "Invalid key '5' in 'every' field"),
        ({"every": {"minutes": "5"}}, "'minutes' in 'every' field must be a number, not str '5'"),
        ({"every": {"minutes": True}}, "must be a number, not bool True"),
        ({"every": {"seconds": 0}}, "must be longer than zero"),
        ({"every": {"seconds": -1}}, "must be longer than zero"),
        ({"every": {"days": float("inf")}}, "'every' can't be {'days': inf}"),
        ({"every": timedelta(0)}, "must be longer than zero"),
        ({"every": 0}, "must be longer than zero"),
        ({"every": "5m"}, "'every' can't be str '5m': give timedelta(minutes=5)"),
        ({"every": True}, "'every' can't be bool True"),
        ({"interval": -2.5}, "must be longer than zero"),
        ({"interval": float("nan")}, "'interval' can't be nan"),
        ({"interval": 1e300}, "'interval' can't be 1e+300"),
        ({"interval": {"minutes": 5}}, "'interval' can't be dict {'minutes': 5}"),
        ({"interval": 60, "tz": "UTC"}, "'interval' counts real time and has no time zone"),
        ({"at": "25:00"}, "at field must be in HH:MM format"),
        ({"at": "10-30"}, "in HH:MM format (or HH:MM:SS), like '14:30', not '10-30'"),
        ({"at": "10:30:61"}, "at field must be in HH:MM format"),
        ({"at": "10:30:00.5"}, "at field must be in HH:MM format"),
        ({"at": ""}, "at field must be in HH:MM format"),
        ({"at": "١٠:٣٠"}, "at field must be in HH:MM format"),
        ({"at": 1430}, "must be a datetime.time"),
        ({"at": "14:30", "tz": "Berlin"}, "There is no time zone 'Berlin'"),
        ({"at": time(3, tzinfo=UTC), "tz": ZONES[1]}, "is of the zone 'UTC'"),
        ({"crontab": "* * *"}, "has 3 fields"),
        ({"cron": "61 * * * *"}, "The minute field '61'"),
        ({"cron": 5}, "A cron expression must be text"),
        ({"cron": Crontab()}, "A cron expression must be text"),
        ({"run_at": "2025-07-01"}, "run_at must be a datetime, not str"),
        ({"run_at": date(2025, 7, 1)}, "run_at must be a datetime, not date"),
        ({"run_at": datetime.max, "tz": "America/New_York"}, "is outside of the years"),
        ({"run_at": NOON, "tz": "Mars"}, "There is no time zone 'Mars'"),
        ({"at": "14:30", "tz": ""}, "There is no time zone ''"),
        ({"hourly": True}, "There is no option 'hourly' that says when a schedule fires"),
    ],
)  # fmt: skip
def test_options_that_cant_be_meant_are_refused(options: dict[str, Any], reason: str) -> None:
    with refused(reason):
        parse_schedule_options(**options)


def test_the_error_is_one_of_a_wrong_call() -> None:
    assert issubclass(InvalidScheduleSpecificationError, InvalidCallError)
    with pytest.raises(ValueError, match="longer than zero"):
        Interval(timedelta(0))
