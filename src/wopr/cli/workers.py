"""``wopr workers``: look at the workers of the process that owns the file."""

from __future__ import annotations

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Group
from wopr.cli.ids import enough
from wopr.cli.output import document, say, table
from wopr.cli.past import At, past_of
from wopr.domain.spoken import local
from wopr.ports.answers import WorkerInfo
from wopr.queue.queue import TaskQueue

app = Group("workers", help="Look at the workers.")


@app.command("list")
def list_workers(
    at: At = None, database: Database = DEFAULT_DATABASE, as_json: AsJson = False
) -> None:
    """List the workers: what each does, its last claim, its last sign of life.

    With --at those that ran something then, or had done so within the hour before.
    """

    async def ask(queue: TaskQueue) -> tuple[list[WorkerInfo], int]:
        infos = await (queue if at is None else past_of(queue, at)).worker_info()
        return infos, await enough(queue, [info.task_id for info in infos])

    found, prefix = with_queue(database, ask)
    if as_json:
        document({"workers": found})
        return
    if not found and at is not None:
        say("No worker ran anything then, or within the hour before.")
        return
    if not found:
        say("No process has workers on this database. Start one: wopr worker module:queue")
        return
    table(tables.WORKERS, [_row(info) for info in found], prefix=prefix)


def _row(info: WorkerInfo) -> tuple[object, ...]:
    return (
        info.name,
        info.category,
        info.task_name,
        info.task_id,
        info.attempt,
        local(info.since),
        local(info.last_claim_at),
        local(info.heartbeat_at),
    )
