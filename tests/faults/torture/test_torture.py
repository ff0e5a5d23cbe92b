"""One fault of each kind at each kind of operation on each kind of file, and some power cuts.

``scripts/torture`` goes on from there, through every operation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.torture.campaign import Campaign, build_shim, run_all
from faults.torture.cases import POWER, Case, first_of_each
from faults.torture.tally import Tally, again
from faults.torture.worker import Worker

POWER_CUTS = 40
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


def selection(cases: list[Case]) -> list[Case]:
    """Return a case of each kind, and some power cuts."""
    ordered = first_of_each(cases)
    faults = {case.kind: case for case in reversed(ordered) if case.kind != POWER}
    return [*faults.values(), *[case for case in ordered if case.kind == POWER][:POWER_CUTS]]


def test_what_was_acknowledged_outlives_every_kind_of_fault_and_goes_on(
    tmp_path: Path, workers: list[Worker]
) -> None:
    campaign = Campaign(tmp_path, SEED, workers[0])
    cases = campaign.cases()
    tally = Tally(cases)
    missed: list[Case] = []
    for outcome in run_all(campaign, selection(cases), workers):
        tally.note(outcome)
        if not outcome.hit and outcome.case.fault is not None:
            missed.append(replace(outcome.case, fault=replace(outcome.case.fault, number=1)))
    for outcome in run_all(campaign, missed, workers):  # this child did less; the first is there
        tally.note(outcome)
    print(tally.table())
    assert [] == tally.failures, "\n".join(again(one, SEED, tmp_path) for one in tally.failures)
    never = [kind for kind in tally.all if tally.tried[kind] == tally.missed[kind]]
    assert len(never) <= len(tally.all) // 20, f"never reached: {never}"
