"""How far off a host's clock is, by what the server's said."""

from __future__ import annotations

from datetime import timedelta

from support.queues import NOON
from wopr.domain.clock import SystemClock
from wopr.fleet.servertime import ServerTime


class Standing(SystemClock):
    """A clock that stands at noon."""

    def now(self) -> object:  # type: ignore[override]
        """Return noon."""
        return NOON

    def monotonic(self) -> float:
        """Return that nothing has passed."""
        return 0.0


def test_a_clock_that_is_off_by_an_hour_is_known_to_be_though_the_answer_took_long() -> None:
    time = ServerTime(Standing())
    assert timedelta(hours=1, seconds=4) == time.look(NOON + timedelta(hours=1), 8.0)
    assert NOON + timedelta(hours=1, seconds=4) == time.now()


def test_a_long_wait_says_nothing_of_what_is_less_than_it() -> None:
    time = ServerTime(Standing())
    assert time.look(NOON - timedelta(seconds=5), 8.0) is None
    assert NOON == time.now()
    assert timedelta(seconds=30) == time.look(NOON + timedelta(seconds=30), 0.0)
    assert time.look(NOON + timedelta(seconds=25), 8.0) is None
    assert NOON + timedelta(seconds=30) == time.now()


def test_a_longer_wait_takes_back_nothing_that_it_does_not_know_better() -> None:
    time = ServerTime(Standing())
    assert timedelta(seconds=40) == time.look(NOON + timedelta(seconds=40), 0.0)
    assert time.look(NOON + timedelta(seconds=10), 30.0) is None
    assert NOON + timedelta(seconds=40) == time.now()
