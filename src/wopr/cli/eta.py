"""``wopr eta``: when a backlog will be done."""

from __future__ import annotations

from click.exceptions import Exit

from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.errors import NO
from wopr.cli.ids import whole
from wopr.cli.output import document, say
from wopr.cli.selections import Chosen, filtered
from wopr.domain.eta import NEVER, Eta, about
from wopr.queue.queue import TaskQueue


@filtered
def eta(chosen: Chosen, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Say when the tasks that wait and run now will be done, or why never.

    By what was measured in the last hour: with a range. Exit code 1 if it is never.
    """

    async def ask(queue: TaskQueue) -> Eta:
        ids = [await whole(queue, one) for one in chosen.ids]
        return await queue.eta(ids=ids or None, **chosen.conditions)

    found = with_queue(database, ask)
    if as_json:
        document(found)
    else:
        for one in found.categories:
            say(one.text)
        if len(found.categories) != 1:
            say(_altogether(found))
    if found.reason in NEVER:
        raise Exit(NO)


def _altogether(found: Eta) -> str:
    if not found.left:
        return found.text
    if found.at is None:
        return f"All {found.left:,}: not to be told, or never; see above."
    return f"All {found.left:,}: {about(found.at, found.earliest, found.latest)}."
