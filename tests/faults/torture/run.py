"""Torture the queue for some minutes: ``scripts/torture``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from faults.torture.campaign import Campaign, build_shim, run_all
from faults.torture.cases import Case, first_of_each
from faults.torture.tally import Tally, again
from faults.torture.worker import Worker

MEMORY = "/dev/shm"  # a directory of ours is made in it


def main() -> int:
    """Run until the time is over; return 1 if anything failed."""
    options = _options()
    if sys.platform != "linux" or shutil.which("cc") is None:
        print("NOTHING WAS TORTURED: the shim is C for Linux, and there is no `cc` here.")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="wopr-torture-", dir=options.folder))
    with contextlib.ExitStack() as stack:
        shim = build_shim(folder)
        workers = [Worker(shim) for _ in range(options.jobs)]
        for worker in workers:
            stack.callback(worker.close)
        campaign = Campaign(folder, options.seed, workers[0])
        cases = campaign.cases()
        tally = Tally(cases)
        chosen: Iterable[Case] = first_of_each(cases)
        if options.only:
            chosen = map(Case.parse, options.only)
        else:
            chosen = until(chosen, time.monotonic() + 60 * options.minutes)
        for outcome in run_all(campaign, chosen, workers):
            tally.note(outcome)
            if outcome.problems:
                print(again(outcome, options.seed, folder), flush=True)
    print(tally.table())
    if not tally.failures:
        shutil.rmtree(folder)
    return 1 if tally.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description="Kill, cut the power and break the disk at every operation on every file of "
        "a queue; whatever was acknowledged has to be there, and to go on.",
    )
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--seed", type=int, default=1, help="another order, other tasks (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many at once")
    parser.add_argument(
        "--folder",
        default=MEMORY if os.access(MEMORY, os.W_OK) else None,
        help="where the files are made (in memory, if there is such a file system: it is faster)",
    )
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these, as a failure names them")
    return parser.parse_args()


def until(cases: Iterable[Case], end: float) -> Iterator[Case]:
    """Give cases until the time is over."""
    return itertools.takewhile(lambda _: time.monotonic() < end, cases)


if __name__ == "__main__":
    sys.exit(main())
