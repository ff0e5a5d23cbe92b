"""Run functions on a Dask cluster: any executor of concurrent.futures may run a queue's functions.

The cluster is of this machine here. Yours is somewhere else: Client("tcp://scheduler:8786").
"""

from __future__ import annotations

import asyncio
import os

from distributed import Client, LocalCluster

from wopr import TaskQueue

queue = TaskQueue(enabled=True, database="wopr_tasks.duckdb")


@queue.task(name="count_primes", category="numbers", max_retries=1)
def count_primes(below: int) -> tuple[int, int]:
    found = sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))
    return found, os.getpid()


async def main(client: Client) -> None:
    queue.category("numbers", executor=client.get_executor())
    async with queue:
        await queue.start_workers("numbers", 4)
        handles = await count_primes.enqueue_many([(below,) for below in (10, 100, 1_000, 10_000)])
        answers = [await handle.result(timeout=60) for handle in handles]
        assert [found for found, _ in answers] == [4, 25, 168, 1229]
        assert os.getpid() not in {pid for _, pid in answers}
        for row in await queue.sql("select args, result, elapsed_seconds < 60 as quick from tasks"):
            print(row)


if __name__ == "__main__":  # the processes of the cluster import this module, too
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        asyncio.run(main(client))
