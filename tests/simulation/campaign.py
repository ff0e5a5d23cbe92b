"""Simulate with one seed after the other for some hours: ``scripts/simulate``."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import time
from collections.abc import Callable

from simulation.universe import new_universe, run

SAY_SECONDS = 60.0


def main() -> int:
    """Run until the time is over or a seed fails; return 1 if one did."""
    options = _options()
    logging.getLogger("wopr").setLevel(logging.CRITICAL + 1)
    play = _of_a_fleet() if options.fleet else _of_a_file()
    began = said = time.monotonic()
    deaths = starts = count = 0
    for seed in itertools.count(options.seed):
        try:
            died, begun = play(seed)
        except AssertionError as error:
            print(f"Seed {seed} fails: {error}")
            fleet = " --fleet" if options.fleet else ""
            print(f"\nAgain: scripts/simulate{fleet} --seed {seed} --hours 0")
            return 1
        count, deaths, starts = count + 1, deaths + died, starts + begun
        now = time.monotonic()
        over = now - began >= options.hours * 3_600
        if over or now - said >= SAY_SECONDS:
            said = now
            print(
                f"Seeds {options.seed} to {seed}: all held. {deaths:,} deaths of processes, "
                f"{starts:,} starts of functions, {count / max(now - began, 1e-9):.0f} seeds/s.",
                flush=True,
            )
        if over:
            return 0
    return 0


def _of_a_file() -> Callable[[int], tuple[int, int]]:
    """Return what runs a seed of a queue in a file; that tells deaths and starts."""
    universe = new_universe()

    def play(seed: int) -> tuple[int, int]:
        came_to = run(universe, seed)
        return came_to.lives - 1, came_to.starts

    return play


def _of_a_fleet() -> Callable[[int], tuple[int, int]]:
    """Return what runs a seed of hosts that share a server; that tells deaths and starts."""
    from simulation.fleet import universe

    def play(seed: int) -> tuple[int, int]:
        world = universe.run(seed)
        return world.happened["kill"], world.judge.starts

    return play


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Run simulated queues in virtual time, each seed with other faults, until one "
        "fails or the time is over.",
    )
    parser.add_argument("--hours", type=float, default=1.0, help="how long (1); 0: one seed")
    parser.add_argument("--fleet", action="store_true", help="hosts that share a server")
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first one (1000000)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
