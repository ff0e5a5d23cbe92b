"""Kill -9 in the middle of a flow: nothing is lost, no edge is broken, it ends as it should."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from behaviour.flows.child import TASKS, build, parents_of, value_of
from support.audit import Audit, audit, clean, doctor
from support.paths import ROOT
from wopr import TaskQueue, TaskStatus

pytestmark = pytest.mark.crash

KILLS = 14
POINTS = (
    "journal.before_write",
    "journal.after_write",
    "journal.before_deliver",
    "fold.before",
    "fold.after",
    "attempt.before_run",
    "attempt.after_run",
)
SEED = int(os.environ.get("WOPR_TEST_SEED", "0"))


class Series:
    """One database, and the children that work on its flow one after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.database = folder / "tasks.duckdb"
        self.journal = folder / "journal"
        self.seed = seed

    def child(self, point: str = "", passes: int = 1, *, enqueue: bool = False) -> tuple[int, str]:
        """Run a child; return its exit code, or its signal as a negative number, and its words."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
        if point:
            environment["WOPR_CRASH_POINT"] = f"{point}:{passes}"
        words = [str(self.database), str(self.journal), str(self.seed), *["enqueue"] * enqueue]
        done = subprocess.run(
            [sys.executable, "-m", "behaviour.flows.child", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode, done.stdout.strip()

    def audit(self) -> Audit:
        """Check the file as it was left: all of the flow is there, and every edge was kept."""
        found = audit(self.database)
        assert not found.problems, f"seed {self.seed}:\n" + "\n".join(found.problems[:20])
        assert TASKS == len(found.folded)
        ids = sorted(found.folded, key=lambda task_id: found.folded[task_id].seq)
        for number, parents in enumerate(parents_of(self.seed)):
            starts = [
                one.seq for one in found.logs[ids[number]] if one.to_status is TaskStatus.STARTED
            ]
            for parent in parents:
                ends = [
                    one.seq
                    for one in found.logs[ids[parent]]
                    if one.to_status is TaskStatus.SUCCESS
                ]
                assert not starts or (ends and ends[0] < min(starts)), (
                    f"seed {self.seed}: task {number} started before its parent {parent} succeeded"
                )
        return found

    def check_journal(self, found: Audit) -> None:
        """Check what the functions themselves saw: a child runs after its parents are done."""
        ids = sorted(found.folded, key=lambda task_id: found.folded[task_id].seq)
        number = {task_id: at for at, task_id in enumerate(ids)}
        parents = parents_of(self.seed)
        done: set[int] = set()
        runs: set[tuple[str, str]] = set()
        for line in self.journal.read_text().splitlines():
            word, task_id, attempt = line.split()
            if word == "done":
                done.add(number[task_id])
                continue
            assert (task_id, attempt) not in runs, f"{line}: twice"
            runs.add((task_id, attempt))
            assert int(attempt) <= found.folded[task_id].attempt
            assert done.issuperset(parents[number[task_id]]), f"{line}: before its parents"


def test_a_flow_survives_kills_at_any_point(tmp_path: Path) -> None:
    seed = SEED or int.from_bytes(os.urandom(3), "big")
    print(f"WOPR_TEST_SEED={seed} starts the same children again")
    rng = random.Random(seed)
    series = Series(tmp_path, seed)
    code, flow_id = series.child("attempt.after_run", 3, enqueue=True)
    assert (-signal.SIGKILL, 36) == (code, len(flow_id))
    for _ in range(KILLS):
        series.audit()
        code, _ = series.child(rng.choice(POINTS), rng.randrange(1, 9))
        assert -signal.SIGKILL == code, "the child was to be killed in the middle of the flow"
    unfinished = [one for one in series.audit().folded.values() if one.completed_at is None]
    assert unfinished, "a flow that has ended proves nothing"
    assert 0 == series.child()[0]

    found = series.audit()
    clean(series.database, whole=True)
    assert {TaskStatus.SUCCESS} == {record.status for record in found.folded.values()}
    series.check_journal(found)
    asyncio.run(check_results(series, flow_id))
    doctor(series.database)


async def check_results(series: Series, flow_id: str) -> None:
    """Compare every result with what the graph gives on paper."""
    expected: list[int] = []
    for number, parents in enumerate(parents_of(series.seed)):
        expected.append(value_of(number, [expected[parent] for parent in parents]))
    queue = build(TaskQueue(enabled=True, database=series.database), series.journal)
    async with queue:
        flow = await queue.flow(flow_id)
        assert {str(n): value for n, value in enumerate(expected)} == await flow.results()


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("journal.before_write", 0),
        ("journal.after_write", TASKS),
        ("journal.before_deliver", TASKS),
    ],
)
def test_a_flow_is_enqueued_whole_or_not_at_all(point: str, expected: int, tmp_path: Path) -> None:
    series = Series(tmp_path, seed=1)
    assert (-signal.SIGKILL, "") == series.child(point, enqueue=True)
    assert expected == len(audit(series.database).folded)
