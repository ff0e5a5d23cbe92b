"""Questions give way to the work: their threads are nicer than the process they are in."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from wopr import TaskQueue
from wopr.storage.duckdb import asking, selecting
from wopr.storage.duckdb.asked.people import GIVES_WAY

NICEST = 19


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_who_looks_gives_way_and_who_works_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}
    for module, name in ((asking, "run"), (selecting, "tally"), (selecting, "select")):

        def noted(*args: object, of: str = name, do: object = getattr(module, name)) -> object:
            seen[of] = niceness()
            return do(*args)  # type: ignore[operator]

        monkeypatch.setattr(module, name, noted)
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:
        assert (await queue.sql("select 1")).scalar() == 1
        await queue.tasks.where(name="nothing").retry(dry_run=True)
        writes = queue.storage.in_writer(lambda _: niceness()).result(20)  # type: ignore[attr-defined]
    here = niceness()
    nicer = min(here + GIVES_WAY, NICEST)
    assert (nicer, nicer, here, here) == (seen["run"], seen["tally"], seen["select"], writes)
