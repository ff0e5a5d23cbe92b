"""Cron: the structured form, the text form, and that both mean the same."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wopr.domain.crontab import Crontab, Month, Weekday, pattern_of
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.triggers import Cron

START = datetime(2025, 1, 1, tzinfo=UTC)  # a Wednesday
NAMES = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def times(cron: Cron, count: int, start: datetime = START) -> list[datetime]:
    found = []
    for _ in range(count):
        start = cron.next_after(start)  # type: ignore[assignment]
        found.append(start)
    return found


# -- the days of the week ----------------------------------------------------------------


@pytest.mark.parametrize("weekday", Weekday, ids=lambda weekday: weekday.name)
def test_a_weekday_is_the_same_day_as_object_as_text_and_in_the_calendar(weekday: Weekday) -> None:
    text = Crontab(weekday=weekday, hour=9).expression
    assert text == f"0 9 * * {(weekday + 1) % 7}"  # cron counts from Sunday = 0
    object_form = times(Cron.of(Crontab(weekday=weekday, hour=9)), 60)
    text_form = times(Cron(text), 60)
    named_form = times(Cron(f"0 9 * * {NAMES[weekday]}"), 60)
    assert object_form == text_form == named_form
    assert {weekday} == {moment.weekday() for moment in object_form}
    assert {weekday.name} == {moment.strftime("%A").upper() for moment in object_form}
    assert object_form[-1] - object_form[0] == timedelta(weeks=59)


def test_sunday_is_0_and_7_in_the_text_and_6_in_the_object() -> None:
    expected = times(Cron.of(Crontab(weekday=6)), 5)
    assert expected == times(Cron("0 0 * * 0"), 5) == times(Cron("0 0 * * 7"), 5)


def test_weekdays_and_months_count_as_the_calendar_does() -> None:
    assert [0, 1, 2, 3, 4, 5, 6] == list(Weekday)
    assert ("MONDAY", "SUNDAY") == (Weekday(0).name, Weekday(6).name)
    assert list(range(1, 13)) == list(Month)
    for month in Month:
        (moment,) = times(Cron.of(Crontab(month=month, day=2)), 1)
        assert moment.strftime("%B").upper() == month.name


# -- the structured form -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("crontab", "expression"),
    [
        (Crontab(), "0 0 * * *"),
        (Crontab(hour=3), "0 3 * * *"),
        (Crontab(hour=None), "0 * * * *"),
        (Crontab(hour=None, minute=None), "* * * * *"),
        (Crontab(hour=None, minute=(0, 30)), "0,30 * * * *"),
        (Crontab(hour=(18, 9, 9), minute=5), "5 9,18 * * *"),
        (Crontab(day=1, month=(Month.JULY, Month.JANUARY)), "0 0 1 1,7 *"),
        (Crontab(weekday=(Weekday.MONDAY, Weekday.SUNDAY)), "0 0 * * 0,1"),
        (Crontab(1, 2, 3, 4, 5), "5 4 2 1 4"),
    ],
)
def test_the_text_of_a_crontab(crontab: Crontab, expression: str) -> None:
    assert expression == crontab.expression


def test_monday_wednesday_and_friday_at_nine() -> None:
    days = (Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY)
    found = times(Cron.of(Crontab(weekday=days, hour=9)), 6)
    assert ["Wed 1", "Fri 3", "Mon 6", "Wed 8", "Fri 10", "Mon 13"] == [
        f"{moment:%a} {moment.day}" for moment in found
    ]
    assert {9} == {moment.hour for moment in found}


def test_the_first_of_each_quarter_at_midnight() -> None:
    quarters = (Month.JANUARY, Month.APRIL, Month.JULY, Month.OCTOBER)
    found = times(Cron.of(Crontab(month=quarters, day=1)), 4)
    assert ["2025-04-01", "2025-07-01", "2025-10-01", "2026-01-01"] == [
        moment.date().isoformat() for moment in found
    ]


def test_a_crontab_is_compared_by_value_hashed_and_frozen() -> None:
    one, same = Crontab(hour=3, weekday=Weekday.MONDAY), Crontab(hour=3, weekday=Weekday.MONDAY)
    assert one == same
    assert hash(one) == hash(same)
    assert one != Crontab(hour=4, weekday=Weekday.MONDAY)
    with pytest.raises(FrozenInstanceError):
        one.hour = 4  # type: ignore[misc]


# -- day and weekday ---------------------------------------------------------------------


def test_a_crontab_with_day_and_weekday_matches_both() -> None:
    found = times(Cron.of(Crontab(day=13, weekday=Weekday.FRIDAY)), 6)
    assert ["2025-06-13", "2026-02-13", "2026-03-13", "2026-11-13", "2027-08-13", "2028-10-13"] == [
        moment.date().isoformat() for moment in found
    ]


def test_a_text_with_day_and_weekday_matches_either_as_cron_does() -> None:
    found = times(Cron("0 0 13 * FRI"), 200)
    assert all(moment.day == 13 or moment.weekday() == 4 for moment in found)
    assert any(moment.day != 13 for moment in found)
    assert any(moment.weekday() != 4 for moment in found)


def test_a_text_can_ask_for_both_as_the_object_does() -> None:
    crontab = Crontab(day=13, weekday=Weekday.FRIDAY)
    assert Cron("0 0 13 * 5", day_and_weekday=True) == Cron.of(crontab)
    assert Cron("0 0 13 * 5") != Cron.of(crontab)


numbers = {
    "month": st.integers(1, 12),
    "day": st.integers(1, 28),
    "weekday": st.integers(0, 6),
    "hour": st.integers(0, 23),
    "minute": st.integers(0, 59),
}


def field(name: str) -> st.SearchStrategy[Any]:
    one = numbers[name]
    return st.one_of(st.none(), one, st.lists(one, min_size=1, max_size=5).map(tuple))


crontabs = st.builds(Crontab, **{name: field(name) for name in numbers})


def allows(value: int | tuple[int, ...] | None, number: int) -> bool:
    return value is None or number == value or (isinstance(value, tuple) and number in value)


@settings(max_examples=150, deadline=None)
@given(crontabs, st.integers(0, 60 * 24 * 365 * 4))
def test_a_crontab_fires_at_the_first_minute_at_which_all_its_fields_match(
    crontab: Crontab, minutes: int
) -> None:
    start = START + timedelta(minutes=minutes)
    moment = start + timedelta(minutes=1)
    found = Cron.of(crontab).next_after(start)
    while True:  # by days, then by minutes
        if not (
            allows(crontab.month, moment.month)
            and allows(crontab.day, moment.day)
            and allows(crontab.weekday, moment.weekday())
        ):
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        elif allows(crontab.hour, moment.hour) and allows(crontab.minute, moment.minute):
            break
        else:
            moment += timedelta(minutes=1)
    assert found == moment


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hour": 99}, "Crontab(hour=99) is out of range: hour must be 0 to 23"),
        ({"hour": -1}, "Crontab(hour=-1) is out of range"),
        ({"minute": 60}, "minute must be 0 to 59"),
        ({"day": 0}, "day must be 1 to 31"),
        ({"day": 32}, "Crontab(day=32)"),
        ({"month": 0}, "month must be of Month (1 to 12)"),
        ({"month": 13}, "Crontab(month=13)"),
        ({"weekday": 7}, "weekday must be of Weekday (0 to 6)"),
        ({"weekday": (0, 7)}, "Crontab(weekday=7)"),
        ({"hour": ()}, "Crontab(hour=()) matches nothing"),
        ({"hour": True}, "Crontab(hour=…) can't be bool True"),
        ({"minute": (0, False)}, "can't be bool False"),
        ({"hour": 3.0}, "can't be float 3.0"),
        ({"hour": "3"}, "can't be str '3'"),
        ({"hour": [3, 4]}, "can't be list [3, 4]: hour must be 0 to 23, a tuple"),
        ({"hour": {3}}, "can't be set {3}"),
        ({"hour": ((3,),)}, "can't be tuple (3,)"),
        ({"month": Weekday.MONDAY}, "Crontab(month=…) can't be Weekday"),
        ({"weekday": Month.MAY}, "Crontab(weekday=…) can't be Month"),
        ({"hour": Weekday.TUESDAY}, "Crontab(hour=…) can't be Weekday"),
        ({"month": Month.FEBRUARY, "day": 30}, "day-of-month field '30'"),
        ({"month": Month.JUNE, "day": 31, "weekday": Weekday.MONDAY}, "never comes"),
    ],
)
def test_a_crontab_that_cant_be_meant_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match=re.escape(reason)):
        Crontab(**fields)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("60 * * * *", "The minute field '60' of the cron expression '60 * * * *' is wrong"),
        ("* 24 * * *", "The hour field '24'"),
        ("* * 0 * *", "The day-of-month field '0'"),
        ("* * * 13 *", "The month field '13'"),
        ("* * * * 8", "The day-of-week field '8'"),
        ("99 * * * * *", "The second field '99'"),
        ("0 60 * * * *", "The minute field '60'"),
        ("*/0 * * * *", "The minute field '*/0'"),
        ("1,,2 * * * *", "The minute field '1,,2'"),
        ("a * * * *", "The minute field 'a'"),
        ("0 0 * * MONDAY", "The day-of-week field 'MONDAY'"),
        ("0 0 * * MON#6", "The day-of-week field 'MON#6'"),
        ("0 0 31 2 *", "The day-of-month field '31'"),
        ("٣ * * * *", "The minute field '٣'"),
        ("", "has 0 fields: it needs 5"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("1" * 5_000 + " * * * *", "can't be read"),
    ],
)
def test_a_wrong_expression_names_the_field_and_shows_an_example(
    expression: str, reason: str
) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match=re.escape(reason)) as caught:
        Cron(expression)
    assert "'30 9 * * MON-FRI'" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_expression_of_all_values_fits_and_a_longer_one_is_refused() -> None:
    minutes = ",".join(map(str, range(60)))
    every = f"{minutes} {minutes} {','.join(map(str, range(24)))} * * *"
    assert pattern_of(every).next_wall(datetime(2030, 1, 1)) is not None
    with pytest.raises(
        InvalidScheduleSpecificationError, match=r"it has 1,000,009 characters and may"
    ):
        pattern_of("0" * 1_000_001 + " 9 * * *")


def test_an_expression_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="never comes"):
        Cron("0 0 30 2 MON", day_and_weekday=True)


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", Crontab()])
def test_an_expression_that_is_no_text_is_refused(expression: Any) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="must be text"):
        Cron(expression)


# -- the text form -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 9 * * MON-THU", ["01-01 09:30:00", "01-02 09:30:00", "01-06 09:30:00"]),
        ("0 */6 * * *", ["01-01 06:00:00", "01-01 12:00:00", "01-01 18:00:00", "01-02 00:00:00"]),
        ("0 0 L * *", ["01-31 00:00:00", "02-28 00:00:00", "03-31 00:00:00", "04-30 00:00:00"]),
        ("0 0 LW 8 *", ["08-29 00:00:00"]),
        ("0 0 * * MON#2", ["01-13 00:00:00", "02-10 00:00:00"]),
        ("0 0 * * 5L", ["01-31 00:00:00", "02-28 00:00:00"]),
        ("*/20 59 23 31 12 *", ["12-31 23:59:00", "12-31 23:59:20", "12-31 23:59:40"]),
        ("5/15 12 * * *", ["01-01 12:05:00", "01-01 12:20:00", "01-01 12:35:00"]),
        ("0 0 * jan,mar sun", ["01-05 00:00:00"]),
    ],
)  # fmt: skip
def test_what_cron_can_say(expression: str, expected: list[str]) -> None:
    found = times(Cron(expression), len(expected))
    assert expected == [f"{moment:%m-%d %H:%M:%S}" for moment in found]


def test_five_fields_are_six_with_the_second_zero() -> None:
    assert times(Cron("30 9 * * *"), 10) == times(Cron("0 30 9 * * *"), 10)


def test_spaces_between_the_fields_make_no_difference() -> None:
    assert Cron(" 30  9 *\t* * ") == Cron("30 9 * * *")


def test_the_29th_of_february_on_a_monday_comes_every_28_years() -> None:
    cron = Cron.of(Crontab(month=2, day=29, weekday=Weekday.MONDAY))
    assert [2044, 2072] == [moment.year for moment in times(cron, 2)]


@pytest.mark.parametrize(
    ("expression", "real"),
    [
        ("*/15 * * * *", True),
        ("0 * * * *", True),
        ("*/15 2 * * *", True),
        ("0 */2 * * *", True),
        ("30 2 * * *", False),
        ("0 0-23 * * *", False),
        ("* 30 2 * * *", False),
        ("0 * 2 * * *", True),
    ],
)
def test_a_star_in_minute_or_hour_is_real_time(expression: str, real: bool) -> None:
    assert real is pattern_of(expression).follows_real_time


# -- spellings of others -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "same"),
    [
        ("0 9 * * SAT-SUN", "0 9 * * 0,6"),
        ("0 9 * * FRI-MON", "0 9 * * 0,1,5,6"),
        ("0 9 * * 6-0", "0 9 * * 0,6"),
        ("0 9 * * 7-2", "0 9 * * 0,1,2"),
        ("0 9 * * 5-7", "0 9 * * 0,5,6"),
        ("0 9 * * 7-7", "0 9 * * 0"),
        ("0 9 * * MON-SUN", "0 9 * * *"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("0 22-4/2 * * *", "0 22,0,2,4 * * *"),
        ("50-10/5 * * * *", "50,55,0,5,10 * * * *"),
        ("58-1 0 * * * *", "0,1,58,59 0 * * * *"),
        ("0 0 1 NOV-MAR *", "0 0 1 1,2,3,11,12 *"),
        ("0 0 1 nov-mar/2 *", "0 0 1 11,1,3 *"),
        ("0 0 30-2 * *", "0 0 1,2,30,31 * *"),
        ("0 0 * * WED,SAT-SUN", "0 0 * * 0,3,6"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        (" @Midnight ", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("0 0 ? * MON", "0 0 * * MON"),
        ("0 0 1 * ?", "0 0 1 * *"),
        ("0 0 0 1 * ?", "0 0 1 * *"),
        ("0 0 * * L5", "0 0 * * 5L"),
        ("0 0 * * FRIL", "0 0 * * 5L"),
        ("0 0 * * lfri", "0 0 * * 5L"),
        ("0 0 * * mon#1", "0 0 * * 1#1"),
        ("0 0 * * MON#1,L5", "0 0 * * 1#1,5L"),
    ],
)
def test_a_spelling_of_other_crons_means_the_same(spelling: str, same: str) -> None:
    assert times(Cron(same), 50) == times(Cron(spelling), 50)


def test_the_first_monday_and_the_last_friday_are_what_they_say() -> None:
    first = times(Cron("0 9 * * MON#1"), 24)
    assert {0} == {moment.weekday() for moment in first}
    assert all(moment.day <= 7 for moment in first)
    last = times(Cron("0 9 * * L5"), 24)
    assert {4} == {moment.weekday() for moment in last}
    assert all((moment + timedelta(days=7)).month != moment.month for moment in last)
    assert 24 == len({moment.strftime("%Y-%m") for moment in last})


@given(first=st.integers(0, 23), last=st.integers(0, 23), step=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_a_range_of_hours_goes_around_the_clock(first: int, last: int, step: int) -> None:
    around = [(first + more) % 24 for more in range((last - first) % 24 + 1)][::step]
    found = times(Cron(f"0 {first}-{last}/{step} * * *"), 48)
    if len(around) > 1:  # of a single value, cron goes on to the end of the day
        assert set(around) == {moment.hour for moment in found}


def test_what_a_spelling_means_is_stored_as_it_was_written() -> None:
    assert "@daily" == Cron("@daily").to_json()["expression"]
    assert "cron '0 22-2 * * SAT-SUN' UTC" == Cron("0  22-2 * * SAT-SUN").describe()


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("@reboot", "run_on_start=True"),
        ("@every 5m", "An interval is every="),
        ("@dayly", "there are @yearly"),
        ("0 0 15W * *", "day-of-month field '15W'"),
        ("0 0 L-3 * *", "day-of-month field 'L-3'"),
        ("0 0 * * L", "day-of-week field 'L'"),
        ("0 0 * * L8", "day-of-week field 'L8'"),
        ("0 0 * * MON#6", "day-of-week field 'MON#6'"),
        ("0 0 * * MON-FRI#1", "day-of-week field 'MON-FRI#1'"),
        ("0 ? * * *", "hour field '?'"),
        ("0 22-2/0 * * *", "hour field '22-2/0'"),
        ("0 22-24 * * *", "hour field '22-24'"),
        ("H 0 * * *", "minute field 'H'"),
        ("0 0 0 1 1 ? 2030", "has 7 fields"),
    ],
)
def test_a_spelling_that_is_refused_says_where(spelling: str, hint: str) -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match=re.escape(hint)):
        Cron(spelling)
