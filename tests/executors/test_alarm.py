"""The alarm that tells a plain function in a worker process of its soft timeout."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any

import pytest

from wopr import SoftTimeoutError
from wopr.executors.alarm import call_with_alarm


@pytest.fixture(autouse=True)
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, ...]]:
    """Keep the real timer out of it; return what would be set."""
    set_to: list[tuple[float, ...]] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, *seconds: set_to.append(seconds))
    return set_to


def ring() -> None:
    signal.raise_signal(signal.SIGALRM)


def call(function: Callable[[], Any], busy: Callable[[], bool] = lambda: False) -> Any:
    return call_with_alarm(function, 5.0, "too long", busy)


def test_it_raises_in_the_function_and_once(alarms: list[tuple[float, ...]]) -> None:
    with pytest.raises(SoftTimeoutError, match="too long"):
        call(ring)
    assert [5.0, 0, 0] == [seconds[0] for seconds in alarms]


def test_it_rings_again_while_something_must_not_be_torn_apart(
    alarms: list[tuple[float, ...]],
) -> None:
    busy = [True, True, False]
    rung = []

    def work() -> None:
        for number in range(5):
            rung.append(number)
            ring()

    with pytest.raises(SoftTimeoutError):
        call(work, lambda: busy.pop(0))
    assert [0, 1, 2] == rung
    assert len(alarms[0]) == 2  # ... and again, and again


def test_one_that_rings_outside_of_the_function_takes_no_result_away() -> None:
    before = signal.getsignal(signal.SIGALRM)
    rings_and_returns = functools.partial(signal.raise_signal, signal.SIGALRM)  # has no frame
    assert call(rings_and_returns) is None
    assert before is signal.getsignal(signal.SIGALRM)
