"""``wopr workers``: look at the workers of the process that owns the file."""

from __future__ import annotations

import typer

from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.output import document, say, table, utc
from wopr.ports.answers import WorkerInfo

app = typer.Typer(name="workers", help="Look at the workers.", no_args_is_help=True)


@app.command("list")
def list_workers(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List the workers: what each does, its last claim, its last sign of life. Times are UTC."""
    found = with_queue(database, lambda queue: queue.worker_info())
    if as_json:
        document({"workers": found})
        return
    if not found:
        say("No process has workers on this database. Start one: wopr worker module:queue")
        return
    columns = ("worker", "category", "runs", "task", "attempt", "since", "last claim", "heartbeat")
    table(columns, [_row(info) for info in found])


def _row(info: WorkerInfo) -> tuple[object, ...]:
    return (
        info.name,
        info.category,
        info.task_name,
        info.task_id,
        info.attempt,
        utc(info.since),
        utc(info.last_claim_at),
        utc(info.heartbeat_at),
    )
