"""The steady time: what has passed, whatever the wall clock says."""

from __future__ import annotations

import random
import time
from datetime import timedelta

import pytest

from support.queues import NOON, SteppableClock
from wopr.domain.clock import SystemClock
from wopr.domain.spoken import local
from wopr.domain.steady import KEPT, Steady

HOUR = timedelta(hours=1)
START = NOON.replace(tzinfo=None)


class Machine(SteppableClock):
    """A clock whose wall part can be set, without any time passing."""

    def set(self, by: timedelta) -> None:
        """Set the wall clock."""
        self.time += by


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("by", [-HOUR, HOUR, -timedelta(seconds=5), 365 * 24 * HOUR])
def test_a_wall_clock_that_is_set_changes_no_span(machine: Machine, by: timedelta) -> None:
    steady = Steady(machine)
    machine.advance(10)
    machine.set(by)
    machine.advance(10)
    assert START + timedelta(seconds=20) == steady.now()
    step = steady.look()
    assert step is not None
    assert by == step.after - step.before
    assert steady.look() is None
    assert START + timedelta(seconds=20) == steady.now()


def test_it_is_told_how_far_it_was_set_for_a_day(machine: Machine) -> None:
    steady = Steady(machine)
    assert "" == steady.told()
    machine.set(-HOUR)
    steady.look()
    assert (
        f"was set back by 1 h: it said {local(NOON)}, and then {local(NOON - timedelta(hours=1))}"
        in (steady.told())
    )
    machine.set(2 * HOUR)
    steady.look()
    assert "was set forward by 2 h" in steady.told()
    machine.advance(86_401)
    assert "" == steady.told()


def test_a_clock_that_is_kept_right_little_by_little_was_not_set(machine: Machine) -> None:
    steady = Steady(machine)
    for _ in range(2 * 3_600):  # 500 ppm, the most that NTP slews by, with a look every second
        machine.advance(1)
        machine.set(timedelta(microseconds=-500))
        assert steady.look() is None
    assert timedelta(0) == steady.set_back


def test_it_counts_how_far_it_was_set_back_until_it_is_right_again(machine: Machine) -> None:
    steady = Steady(machine)
    seen = []
    for by in (-HOUR, -HOUR, HOUR, 3 * HOUR, -HOUR):
        machine.set(by)
        steady.look()
        seen.append(steady.set_back)
    assert [HOUR, 2 * HOUR, HOUR, timedelta(0), HOUR] == seen


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_a_stored_time_of_before_the_step_is_as_long_ago_as_it_was(
    machine: Machine, by: timedelta
) -> None:
    steady = Steady(machine)
    machine.advance(5_000)
    stored = machine.time.replace(tzinfo=None)
    machine.advance(100)
    machine.set(by)
    steady.look()
    machine.advance(7)
    assert timedelta(seconds=107) == steady.now() - steady.of(stored)
    assert steady.wall_since(timedelta(seconds=107)) <= stored
    assert steady.now() == steady.of(stored + 10 * HOUR)  # of the future: nobody knows when
    long_ago = START - HOUR
    assert timedelta(seconds=5_107) + HOUR == steady.now() - steady.of(long_ago)


def test_no_stored_time_comes_out_as_older_than_it_is(machine: Machine) -> None:
    """However the clock is set, nothing is counted out of a period too early."""
    rng = random.Random(7)
    steady = Steady(machine)
    stored = []
    for _ in range(400):
        machine.advance(rng.random() * 500)
        stored.append((machine.time.replace(tzinfo=None), steady.now()))
        if rng.random() < 0.2:
            machine.set(rng.choice([-1, 1]) * HOUR)
            steady.look()
        within = [one for one in stored if steady.now() - one[1] < 2 * HOUR]
        since = steady.wall_since(2 * HOUR)
        assert len(steady._steps) <= KEPT
        for wall, at in within:
            assert wall >= since
            assert steady.of(wall) >= at - timedelta(milliseconds=1)


def test_the_clock_of_the_machine_goes_on_while_it_is_suspended() -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("there is no such clock here")
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
