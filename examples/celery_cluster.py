"""Run functions on Celery workers; what was done and tried again stays in the queue's file.

The broker and the results are folders here, so that the program needs no server. Yours are Redis or
RabbitMQ, and the workers are on other machines: BROKER_URL=redis://… RESULT_BACKEND=redis://….
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from celery import Celery
from tenacity import wait_none

from wopr import TaskQueue, current_task
from wopr.integrations.celery import CeleryExecutor, register

FOLDER = Path(os.environ.get("CLUSTER_FOLDER") or tempfile.mkdtemp(prefix="cluster-"))
MESSAGES, RESULTS = FOLDER / "messages", FOLDER / "results"
for folder in (MESSAGES, RESULTS):
    folder.mkdir(exist_ok=True)

app = Celery(
    "cluster",
    broker=os.environ.get("BROKER_URL", "filesystem://"),
    backend=os.environ.get("RESULT_BACKEND", RESULTS.as_uri()),
)
if app.conf.broker_url == "filesystem://":
    app.conf.broker_transport_options = {
        "data_folder_in": str(MESSAGES),
        "data_folder_out": str(MESSAGES),
        "control_folder": str(FOLDER / "control"),
        "polling_interval": 0.05,
    }

queue = TaskQueue(enabled=True, database="wopr_tasks.duckdb")
queue.category("renders", executor=CeleryExecutor(app))


@queue.task(name="render", category="renders", max_retries=2, retry=wait_none())
def render(page: int) -> str:
    if page % 5 == 0 and current_task().attempt == 1:
        raise OSError(f"page {page} is not there yet")
    return f"page {page} by process {os.getpid()} of {socket.gethostname()}"


register(app, queue)  # the workers import this module, too, and have its tasks by that


def start_worker() -> subprocess.Popen[bytes]:
    """Start what runs on each machine of a cluster: celery -A … worker -Q renders."""
    here = Path(__file__)
    command = ("-m", "celery", "-A", here.stem, "worker", "-Q", "renders", "-c", "2", "-l", "ERROR")
    quick = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    env = {**os.environ, "PYTHONPATH": str(here.parent), "CLUSTER_FOLDER": str(FOLDER)}
    return subprocess.Popen(
        [sys.executable, *command, *quick],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def main() -> None:
    worker = start_worker()
    try:
        async with queue:
            await queue.start_workers("renders", 4)  # so many messages are on the way at most
            handles = await render.enqueue_many([(page,) for page in range(1, 11)])
            pages = [await handle.result(timeout=60) for handle in handles]
            print(pages[0])
            assert not any(f"process {os.getpid()} " in page for page in pages)
            for row in await queue.sql(
                "select to_status, count(*) as moves, count(distinct task_id) as tasks "
                "from history group by all order by moves desc, to_status"
            ):
                print("   ", row)
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    asyncio.run(main())
