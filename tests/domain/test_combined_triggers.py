"""Schedules that follow several triggers at once, and those that count months."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wopr.domain.combined import AllOf, AnyOf
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.monthly import Monthly
from wopr.domain.scheduleoptions import parse_schedule_options
from wopr.domain.triggerjson import anchored, continued
from wopr.domain.triggers import At, Cron, Interval, Once, Trigger

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)


def refused(text: str) -> Any:
    return pytest.raises(InvalidScheduleSpecificationError, match=text)


def first(trigger: Trigger, count: int, after: datetime = NEW_YEAR) -> list[str]:
    """Return the first moments after one, as text."""
    found: list[str] = []
    moment: datetime | None = after
    while len(found) < count and (moment := trigger.next_after(moment)) is not None:
        found.append(f"{moment:%Y-%m-%d %H:%M}")
    return found


# -- months --------------------------------------------------------------------------------


def test_every_three_months_on_the_last_day_knows_how_long_months_are() -> None:
    trigger = Monthly(3, day="last", at="09:00", first=date(2030, 2, 1))
    assert first(trigger, 4) == [
        "2030-02-28 09:00",
        "2030-05-31 09:00",
        "2030-08-31 09:00",
        "2030-11-30 09:00",
    ]
    assert first(trigger, 1, datetime(2032, 1, 1, tzinfo=UTC)) == ["2032-02-29 09:00"]


def test_months_that_lack_the_day_are_left_out() -> None:
    assert first(Monthly(day=31), 3) == ["2030-01-31 00:00", "2030-03-31 00:00", "2030-05-31 00:00"]
    assert first(Monthly(12, day=29, first=date(2030, 2, 1)), 2) == [
        "2032-02-29 00:00",
        "2036-02-29 00:00",
    ]
    assert first(Monthly(12, day=30, first=date(2030, 2, 1)), 1) == []


def test_months_are_counted_from_the_first_one_over_the_years() -> None:
    trigger = Monthly(5, day=1, first=date(2029, 11, 20))
    assert first(trigger, 3) == ["2030-04-01 00:00", "2030-09-01 00:00", "2031-02-01 00:00"]
    assert first(trigger, 1, datetime(2020, 1, 1, tzinfo=UTC)) == ["2029-11-01 00:00"]


def test_months_follow_the_clock_on_the_wall() -> None:
    trigger = Monthly(day="last", at=time(2, 30), tz="Europe/Berlin")
    assert first(trigger, 3) == [
        "2030-01-31 01:30",
        "2030-02-28 01:30",
        "2030-03-31 01:00",  # in a gap
    ]


def test_the_month_that_a_schedule_begins_in_is_the_first_one() -> None:
    trigger = Monthly(3, tz="Asia/Tokyo")
    with refused("from which month"):
        trigger.next_after(NEW_YEAR)
    begun = anchored(trigger, datetime(2030, 1, 31, 23, 0, tzinfo=UTC))  # February in Tokyo
    assert first(begun, 2) == ["2030-02-27 15:00", "2030-05-30 15:00"]
    assert anchored(begun, NEW_YEAR) == begun


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"every": 0}, "every"),
        ({"every": True}, "every"),
        ({"every": 1_201}, "1 to 1,200"),
        ({"day": 0}, "day"),
        ({"day": 32}, "day"),
        ({"day": "first"}, "'last'"),
        ({"at": "25:00"}, "HH:MM"),
        ({"at": time(9, tzinfo=UTC)}, "without a zone"),
        ({"at": 9}, "at="),
        ({"tz": "Mars/Base"}, "no time zone"),
        ({"first": datetime(2030, 1, 1)}, "a date"),
    ],
)
def test_months_that_can_not_be_meant_are_refused(values: dict[str, Any], said: str) -> None:
    with refused(said):
        Monthly(**values)


def test_every_with_months_says_what_to_write_instead() -> None:
    with refused(r"monthly=Monthly\(3, day='last'"):
        parse_schedule_options(every={"months": 3})


# -- any of, all of --------------------------------------------------------------------------


def test_any_of_fires_whenever_one_does_and_once_where_they_coincide() -> None:
    trigger = parse_schedule_options(any_of=[{"at": "09:00"}, {"cron": "0 9,18 * * TUE"}])
    assert first(trigger, 4) == [  # a Tuesday
        "2030-01-01 09:00",
        "2030-01-01 18:00",
        "2030-01-02 09:00",
        "2030-01-03 09:00",
    ]


def test_all_of_fires_when_all_do_at_the_same_moment() -> None:
    first_monday = parse_schedule_options(
        all_of=[{"at": "09:00"}, {"cron": "* * 1-7 * *"}, {"cron": "* * * * MON"}],
        tz="Europe/Berlin",
    )
    assert first(first_monday, 3) == ["2030-01-07 08:00", "2030-02-04 08:00", "2030-03-04 08:00"]


def test_a_zone_is_that_of_the_parts_that_name_none() -> None:
    options: Any = [{"at": "09:00"}, {"at": "09:00", "tz": "Asia/Tokyo"}, {"every": 3_600}]
    trigger = parse_schedule_options(any_of=options, tz="Europe/Berlin")
    assert isinstance(trigger, AnyOf)
    assert trigger.of[0] == At(time(9), "Europe/Berlin")
    assert trigger.of[1] == At(time(9), "Asia/Tokyo")
    assert isinstance(trigger.of[2], Interval)
    monthly = parse_schedule_options(monthly=Monthly(day=1), tz="Asia/Tokyo")
    assert monthly == Monthly(1, 1, tz="Asia/Tokyo")
    with refused("give one"):
        parse_schedule_options(monthly=Monthly(tz="Asia/Tokyo"), tz="Europe/Berlin")


def test_what_ends_does_not_end_the_others() -> None:
    either = AnyOf((Once(NEW_YEAR), At(time(9))))
    assert first(either, 1) == ["2030-01-01 09:00"]
    both = AllOf((Once(NEW_YEAR), Cron("0 0 * * *")))
    assert first(both, 2, NEW_YEAR - timedelta(days=3)) == ["2030-01-01 00:00"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"all_of": [{"at": "09:00"}, {"at": "10:00"}]}, "never fire at the same moment"),
        ({"all_of": [{"at": "09:00"}, {"every": 60}]}, "An interval counts"),
        ({"any_of": [{"at": "09:00"}]}, "2 to 20"),
        ({"any_of": []}, "2 to 20"),
        ({"any_of": [{"at": "09:00"}] * 21}, "2 to 20"),
        ({"any_of": [{"at": "09:00"}, "10:00"]}, "takes triggers, or dicts"),
        ({"any_of": {"at": "09:00"}}, "takes triggers, or dicts"),
        ({"any_of": [{"at": "09:00"}, {}]}, "Exactly one"),
        ({"any_of": [{"at": "09:00"}, {5: 6}]}, "does not say when"),
        ({"any_of": [{"at": "09:00"}, {"at": "10:00"}], "at": "11:00"}, "got at and any_of"),
        ({"monthly": 3}, "'monthly' takes"),
    ],
)
def test_combinations_that_can_not_be_meant_are_refused(options: Any, said: str) -> None:
    with refused(said):
        parse_schedule_options(**options)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=3), st.integers(0, 10_000))
def test_combinations_fire_as_plain_enumeration_says(steps: list[int], minutes: int) -> None:
    parts = tuple(Interval(timedelta(minutes=step), NEW_YEAR) for step in steps)
    after = NEW_YEAR + timedelta(minutes=minutes)
    hits = [[(minutes + more) % step == 0 for step in steps] for more in range(1, 12**3)]
    wanted = [
        next(after + timedelta(minutes=at) for at, hit in enumerate(hits, 1) if how(hit))
        for how in (any, all)
    ]
    found = [kind(parts).next_after(after) for kind in (AnyOf, AllOf)]
    assert wanted[0] == found[0]
    assert wanted[1] == found[1]


def test_what_counts_from_somewhere_goes_on_where_the_code_says_the_same() -> None:
    options: Any = {"any_of": [{"every": 600}, {"monthly": Monthly(2)}, {"at": "09:00"}]}
    old = anchored(parse_schedule_options(**options), NEW_YEAR)
    assert continued(old, parse_schedule_options(**options)) == old
    options["any_of"][0] = {"every": 60}
    new = continued(old, parse_schedule_options(**options))
    assert isinstance(new, AnyOf)
    assert isinstance(old, AnyOf)
    assert new.of[1:] == old.of[1:]
    assert new.of[0] == Interval(timedelta(minutes=1))
