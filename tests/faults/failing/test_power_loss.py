"""A power cut: only what was synced is left. Everything acknowledged has to be in that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.audit import clean, doctor
from support.paths import ROOT

CUTS = 12
PROGRAM = """
import asyncio, sys
from wopr import TaskQueue
from wopr.storage.duckdb import checkpoints, folding
from wopr.storage.duckdb.journal import segments
folding.QUIET_SECONDS = 0.001
checkpoints.QUIET_SECONDS = 0.0
checkpoints.QUIET_BYTES = 1
segments.FIRST_BYTES = segments.SEGMENT_BYTES = 4096
queue = TaskQueue(enabled=True, database=sys.argv[1])
@queue.task(name="echo", category="c")
async def echo(n: int) -> int:
    return n
async def main():
    await queue.start_workers("c", 2)
    for n in range(100_000):
        handle = await echo.enqueue(n)
        print(handle.id, flush=True)
        if n % 5 == 4:
            assert n == await handle.result(timeout=60)
            await asyncio.sleep(0.01)
asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None,
    reason="the shim that plays the power cut is C for Linux: it needs gcc",
)
@pytest.mark.parametrize("names", ["lazy", "eager"])
def test_what_was_acknowledged_before_a_power_cut_is_there_after_it(
    tmp_path: Path, names: str
) -> None:
    shim = tmp_path / "power.so"
    source = Path(__file__).with_name("power.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    disk = tmp_path / "disk-0"
    disk.mkdir()
    acknowledged: set[str] = set()
    for cut in range(1, CUTS + 1):
        left = tmp_path / f"disk-{cut}"
        shutil.copytree(disk, left)  # what was there before is on disk
        acknowledged |= _run(shim, disk, left, lines=cut * 7, eager=names == "eager")
        judged = tmp_path / f"judged-{cut}"  # the next one begins with what this one left
        shutil.copytree(left, judged)
        found = clean(judged / "tasks.duckdb")
        assert acknowledged <= found.folded.keys(), f"lost at cut {cut}"
        doctor(judged / "tasks.duckdb")
        disk = left
    assert len(acknowledged) >= CUTS * 7


def _run(shim: Path, disk: Path, left: Path, *, lines: int, eager: bool) -> set[str]:
    """Work on ``disk`` until the power goes; return what was acknowledged by then."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "LD_PRELOAD": str(shim),
        "POWER_FROM": str(disk),
        "POWER_TO": str(left),
        **({"POWER_EAGER": "1"} if eager else {}),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(disk / "tasks.duckdb")],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    shutil.rmtree(f"{left}.files")  # the shim's own
    ids = {line.strip() for line in said if line.endswith("\n")}
    assert len(ids) >= lines, "the child died too early"
    return ids
