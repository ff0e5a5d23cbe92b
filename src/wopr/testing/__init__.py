"""Test code that enqueues, and the tasks themselves: without workers, waiting or luck.

With pytest the fixtures ``wopr_queue`` and ``wopr_clock`` are there once wopr is installed.
Everything else works with any test runner.
"""

from wopr.simulation.faults import Faults
from wopr.simulation.watch import Promised
from wopr.testing.asserts import assert_enqueued, assert_not_enqueued
from wopr.testing.clock import FakeClock
from wopr.testing.crashes import crash_at, run_twice
from wopr.testing.drain import drain
from wopr.testing.inline import inline
from wopr.testing.isolated import isolated
from wopr.testing.simulate import Simulated, SimulationError, simulate

__all__ = [
    "FakeClock",
    "Faults",
    "Promised",
    "Simulated",
    "SimulationError",
    "assert_enqueued",
    "assert_not_enqueued",
    "crash_at",
    "drain",
    "inline",
    "isolated",
    "run_twice",
    "simulate",
]
