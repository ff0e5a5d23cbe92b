"""When a backlog will be done, from measured rates: the cases of the decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wopr.domain.eta import NEVER, Estimate, EtaReason, Work, altogether, estimate, usual
from wopr.domain.spoken import local

NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)
FOUR = {"workers": 4, "run_seconds": 2.0, "done": 2.0}
"""Four workers can do two tasks a second, and did."""


def estimated(**known: Any) -> Estimate:
    """Return the estimate of a category of which this is known."""
    return estimate(Work(category="mail", **known), NOW)


def minutes(moment: datetime | None) -> float:
    """Return in how many minutes it is."""
    assert moment is not None
    return (moment - NOW).total_seconds() / 60


def test_at_a_steady_pace_there_is_no_range() -> None:
    found = estimated(left=1200, **FOUR)
    assert EtaReason.FLOWING is found.reason
    assert 10 == pytest.approx(minutes(found.at), abs=0.1)
    assert found.earliest == found.at == found.latest
    assert found.text.endswith(f"1,200 tasks left, in 10 min 2 s, about {local(found.at)}.")


def test_it_lies_between_what_can_be_done_and_what_was_done() -> None:
    found = estimated(left=1200, **{**FOUR, "done": 1.0})
    assert 10 == pytest.approx(minutes(found.earliest), abs=0.1)
    assert 20 == pytest.approx(minutes(found.latest), abs=0.1)
    assert minutes(found.earliest) < minutes(found.at) < minutes(found.latest)
    assert f"(earliest {local(found.earliest)}, latest {local(found.latest)})" in found.text


def test_who_was_idle_before_is_not_slow() -> None:
    found = estimated(left=1200, **{**FOUR, "done": 0.01})
    assert 20 == pytest.approx(minutes(found.latest), abs=0.1)


def test_what_arrives_meanwhile_makes_it_later_or_open() -> None:
    later = estimated(left=1200, arrivals=0.5, **{**FOUR, "done": 1.0})
    assert 40 == pytest.approx(minutes(later.latest), abs=0.1)
    open_end = estimated(left=1200, arrivals=1.5, **{**FOUR, "done": 1.0})
    assert open_end.at is not None
    assert open_end.latest is None
    assert open_end.text.endswith(f"(earliest {local(open_end.earliest)}, latest open).")


@pytest.mark.parametrize(
    ("known", "reason", "said"),
    [
        ({"paused": "since noon: moving"}, EtaReason.PAUSED, "never, for it is paused since noon"),
        ({"workers": 0}, EtaReason.NO_WORKERS, "nobody works"),
        ({"arrivals": 2.0}, EtaReason.GROWING, "120 tasks arrive in a minute, and no more than"),
        ({"run_seconds": None, "done": 0.0}, EtaReason.UNKNOWN, "no rate to go by"),
    ],
)
def test_where_there_is_no_end_it_says_why(
    known: dict[str, Any], reason: EtaReason, said: str
) -> None:
    found = estimated(left=10, **{**FOUR, **known})
    assert (reason, None, None) == (found.reason, found.at, found.latest)
    assert said in found.text
    assert (reason in NEVER) == (reason is not EtaReason.UNKNOWN)


def test_limits_bound_what_workers_can_do() -> None:
    assert 20 == pytest.approx(
        minutes(estimated(left=1200, **{**FOUR, "done": 0.0}, at_once=2).earliest), abs=0.1
    )
    assert 40 == pytest.approx(
        minutes(estimated(left=1200, **{**FOUR, "done": 0.0}, rate_limit=0.5).earliest), abs=0.1
    )


def test_what_starts_before_it_and_what_is_not_due_counts() -> None:
    assert 20 == pytest.approx(minutes(estimated(left=1200, ahead=1200, **FOUR).at), abs=0.1)
    due = NOW + timedelta(hours=1)
    found = estimated(left=1, last_due=due, **FOUR)
    assert EtaReason.DELAYED is found.reason
    assert due + timedelta(seconds=2) == found.at
    blocked = estimated(left=2, blocked=1, **FOUR)
    assert "1 task of it wait for others first" in blocked.text


def test_a_pause_does_not_stop_what_runs() -> None:
    found = estimated(left=0, running=2, paused="since noon", **FOUR)
    assert EtaReason.FLOWING is found.reason
    assert NOW + timedelta(seconds=2) == found.at


def test_of_several_categories_the_last_one_counts() -> None:
    quick, slow = estimated(left=120, **FOUR), estimated(left=1200, **FOUR)
    both = altogether([quick, slow], NOW)
    assert (1320, slow.at, slow.latest) == (both.left, both.at, both.latest)
    never = altogether([quick, estimated(left=1, **{**FOUR, "workers": 0})], NOW)
    assert (EtaReason.NO_WORKERS, None, None) == (never.reason, never.at, never.earliest)
    assert never.text.startswith("mail: 1 task left, never")
    nothing = altogether([], NOW)
    assert (0, EtaReason.DONE, NOW) == (nothing.left, nothing.reason, nothing.at)
    assert "Nothing is left" in str(nothing)


def test_what_came_at_once_is_not_what_usually_comes() -> None:
    assert usual([]) == 0
    assert usual([60] * 60) == 1
    assert usual([0] * 59 + [5000]) == 0
    assert usual([0] * 50 + [120] * 10) == 2


def test_ends_that_are_very_far_have_a_date_all_the_same() -> None:
    found = estimated(left=10**9, **{**FOUR, "run_seconds": 1e6, "done": 0.0})
    assert found.at is not None
