"""One fault of each kind at each kind of operation on each kind of file, and some power cuts.

``scripts/torture`` goes on from there, through every operation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.torture.campaign import Campaign, build_shim, run_all
from faults.torture.cases import POWER, Case
from faults.torture.run import MEMORY
from faults.torture.tally import Tally, again
from faults.torture.worker import Fault, Worker

POWER_CUTS = 20
SEED = int(os.environ.get("WOPR_TEST_SEED", "1"))

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(900),  # each child has a limit of its own
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("cc") is None,
        reason="NOTHING IS TORTURED: the shim is C for Linux, and there is no compiler (cc)",
    ),
]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        shim = build_shim(tmp_path_factory.mktemp("shim"))
        made = [Worker(shim) for _ in range(2)]
        for worker in made:
            stack.callback(worker.close)
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory in memory, where there is one: what disks do is played anyway."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="wopr-torture-", dir=where))
    yield folder
    shutil.rmtree(folder)


def selection(cases: list[Case]) -> list[Case]:
    """Return a case of each kind, and some power cuts."""
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        first.setdefault(case.kind, case)
    cuts = [case for case in cases if case.kind[1] == POWER and case not in first.values()]
    return [*first.values(), *cuts[:POWER_CUTS]]


def test_what_was_acknowledged_outlives_every_kind_of_fault_and_goes_on(
    folder: Path, workers: list[Worker]
) -> None:
    campaign = Campaign(folder, SEED, workers[0])
    cases = campaign.cases()
    tally = Tally(cases)
    missed: list[Case] = []
    for outcome in run_all(campaign, selection(cases), workers):
        tally.note(outcome)
        what = outcome.case.what
        if not outcome.hit and isinstance(what, Fault):
            missed.append(replace(outcome.case, what=replace(what, number=1)))
    for outcome in run_all(campaign, missed, workers):  # this child did less; the first is there
        tally.note(outcome)
    print(tally.table())
    assert [] == tally.failures, "\n".join(again(one, SEED, folder) for one in tally.failures)
    never = [kind for kind in tally.all if tally.tried[kind] == tally.missed[kind]]
    assert len(never) <= len(tally.all) // 20, f"never reached: {never}"
