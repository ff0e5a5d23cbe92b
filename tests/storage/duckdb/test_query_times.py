"""A query compares moments with the file's times in UTC, wherever the machine stands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.programs import clean_environment, run_ok

PROGRAM = """
import asyncio
from datetime import UTC, datetime, timedelta, timezone
from wopr import TaskQueue

queue = TaskQueue(enabled=True)

@queue.task
async def work() -> None: ...

RECENT = "select count(*) from tasks where created_at between {0} - interval 1 minute and {0}"

async def main():
    async with queue:
        await work.enqueue()
        utc = datetime.now(UTC)
        for now in (utc, utc.astimezone(timezone(timedelta(hours=9))), utc.replace(tzinfo=None)):
            assert (await queue.sql(RECENT.format("?"), now, now)).scalar() == 1, now
        for now in ("now()", "current_localtimestamp()"):
            assert (await queue.sql(RECENT.format(f"cast({now} as timestamp)"))).scalar() == 1, now

asyncio.run(main())
"""


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_moments_mean_the_same_in_every_time_zone(tmp_path: Path, zone: str) -> None:
    run_ok([sys.executable, "-c", PROGRAM], tmp_path, env=clean_environment() | {"TZ": zone})
