"""Times, durations, counts and values as people read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from wopr.domain.spoken import age, counted, local, named, size


@pytest.fixture
def _kathmandu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_kathmandu")
def test_times_are_those_of_the_wall_with_their_offset() -> None:
    east = timezone(timedelta(hours=2))
    assert "2026-11-21 15:45:00+05:45" == local(datetime(2026, 11, 21, 12, 0, 0, 999, tzinfo=east))
    assert "2026-11-21 17:45:00+05:45" == local(datetime(2026, 11, 21, 12))
    assert "" == local(None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (0.000041, "< 0.0001 s"),
        (0.0123, "0.0123 s"),
        (59, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "24 h"),
        (2 * 86_400, "2 d"),
        (5 * 86_400 + 7_200, "5 d 2 h"),
    ],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert text == age(seconds)


def test_one_is_no_plural() -> None:
    assert ["0 tasks", "1 task", "2,000 tasks"] == [counted(n, "task") for n in (0, 1, 2000)]
    assert "3 retries" == counted(3, "retry", "retries")


def test_sizes_have_one_unit() -> None:
    assert ["999 bytes", "1.5 kB", "2 GB"] == [size(n) for n in (999, 1500, 2e9)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "mail"}, ["name=mail"]),
        ({"name": "Ada L."}, ['name="Ada L."']),
        ({"text": 'a="b"\n'}, [r'text="a=\"b\"\n"']),
        ({"none": None, "empty": "", "yes": True}, ["none=none", 'empty=""', "yes=yes"]),
        ({"ids": [1, "b c"], "no": [], "nothing": {}}, ['ids=1,"b c"', "no=none", "nothing=none"]),
        ({"at": {"x": 1, "y": {"z": [2]}}}, ["at.x=1", "at.y.z=2"]),
        ({"rows": [{"a": 1}, [2, 3]]}, ["rows.0.a=1", "rows.1=2,3"]),
    ],
)
def test_values_are_said_without_json(values: dict[str, object], words: list[str]) -> None:
    assert words == named(values)
