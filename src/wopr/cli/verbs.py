"""``wopr tasks cancel``, ``retry`` and so on: verbs over some tasks or very many."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from click.exceptions import Exit

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Option
from wopr.cli.errors import NO, UsageError
from wopr.cli.ids import enough
from wopr.cli.output import complain, document, say, table
from wopr.cli.progress import Progress
from wopr.cli.selections import Chosen, filtered, when
from wopr.core.tasks import OnProgress, SelectedTasks
from wopr.domain.act import MOST_UNCHANGED, ActAnswer, ActProgress, Preview
from wopr.domain.spoken import counted, local
from wopr.domain.status import TaskPriority
from wopr.domain.typed import WHEN
from wopr.queue.queue import TaskQueue

SHOWN = 10
"""So many tasks that stay as they are, are named one by one."""
INTERRUPTED = 130

DryRun = Annotated[bool, Option("--dry-run", help="Change nothing; say what would be changed.")]
Why = Annotated[str | None, Option("--reason", "-r", help="For those who look later.")]
Do = Callable[..., Coroutine[Any, Any, ActAnswer | Preview]]


@filtered
def cancel(
    chosen: Chosen,
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Cancel waiting or running tasks. `wopr undo` takes it back."""
    _run("cancelled", chosen, lambda tasks: tasks.cancel, dry_run, reason, database, as_json)


@filtered
def retry(
    chosen: Chosen,
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Put FAILED tasks back in their queue, with a new retry budget."""
    _run("retried", chosen, lambda tasks: tasks.retry, dry_run, reason, database, as_json)


@filtered
def run_again(
    chosen: Chosen,
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Enqueue a new task for each that succeeded or was cancelled; it points at the old one."""
    _run("run again", chosen, lambda tasks: tasks.run_again, dry_run, reason, database, as_json)


@filtered
def set_priority(
    chosen: Chosen,
    to: Annotated[str, Option("--to", help="LOW, NORMAL, HIGH or CRITICAL.")],
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Give waiting tasks another priority."""
    try:
        priority = TaskPriority[to.strip().upper()]
    except KeyError:
        names = ", ".join(one.name for one in TaskPriority)
        raise UsageError(f"--to takes one of {names}, not {to!r}.") from None

    def verb(tasks: SelectedTasks) -> Do:
        return lambda **options: tasks.set_priority(priority, **options)

    _run("set to " + priority.name, chosen, verb, dry_run, reason, database, as_json)


@filtered
def move(
    chosen: Chosen,
    to: Annotated[str, Option("--to", metavar="CATEGORY", help="Where they are to wait.")],
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Let waiting tasks wait in another category."""

    def verb(tasks: SelectedTasks) -> Do:
        return lambda **options: tasks.move(to, **options)

    _run(f"moved to {to}", chosen, verb, dry_run, reason, database, as_json)


@filtered
def delay(
    chosen: Chosen,
    by: Annotated[str, Option("--by", metavar="WHEN", help=f"Not before then: {WHEN}.")],
    dry_run: DryRun = False,
    reason: Why = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Let waiting tasks start later: in so long from now, or at a time. 0s is at once."""
    moment = when(by, "--by")

    def verb(tasks: SelectedTasks) -> Do:
        return lambda **options: tasks.delay(moment, **options)

    _run("delayed", chosen, verb, dry_run, reason, database, as_json)


COMMANDS: dict[str, Callable[..., None]] = {
    "cancel": cancel,
    "retry": retry,
    "run-again": run_again,
    "set-priority": set_priority,
    "move": move,
    "delay": delay,
}


def _run(
    word: str,
    chosen: Chosen,
    verb: Callable[[SelectedTasks], Do],
    dry_run: bool,
    reason: str | None,
    database: Path,
    as_json: bool,
) -> None:
    chosen.check()
    if dry_run:

        async def look(queue: TaskQueue) -> tuple[Preview, int]:
            found = await verb(chosen.of(queue))(dry_run=True, reason=reason)
            assert isinstance(found, Preview)
            return found, await enough(queue, [one.id for one in found.examples])

        preview, prefix = with_queue(database, look)
        show_preview(preview, word, prefix, as_json=as_json)
        return

    def doing(queue: TaskQueue, on_progress: OnProgress) -> Coroutine[Any, Any, Any]:
        return verb(chosen.of(queue))(reason=reason, on_progress=on_progress)

    answer = with_bar(database, word, doing, as_json=as_json)
    if chosen.by_id and len(chosen.ids) <= MOST_UNCHANGED:
        _show_each(chosen.ids, answer, word, as_json=as_json)
    else:
        show_answer(answer, word, as_json=as_json)


def with_bar(
    database: Path,
    word: str,
    doing: Callable[[TaskQueue, OnProgress], Coroutine[Any, Any, ActAnswer]],
    *,
    as_json: bool,
) -> ActAnswer:
    """Return what an act comes to; with a bar meanwhile, and a word should Ctrl-C end it."""
    seen = ActProgress(0, 0, 0)
    with Progress(word.capitalize(), hidden=as_json) as bar:

        def told(progress: ActProgress) -> None:
            nonlocal seen
            seen = progress
            bar.show(progress.done, max(progress.total, progress.done))

        try:
            return with_queue(database, lambda queue: doing(queue, told))
        except KeyboardInterrupt:
            bar.clear()
            complain(
                f"Interrupted: {seen.changed:,} of about {counted(seen.total, 'task')}, or a few "
                f"more, are {word}. The same command goes on with the others; wopr acts tells "
                "how far it came."
            )
            raise Exit(INTERRUPTED) from None


def show_preview(preview: Preview, word: str, prefix: int, *, as_json: bool) -> None:
    """Print what would be done."""
    if as_json:
        document({"selected": preview.selected, "changes": preview.changes, "preview": preview})
        return
    for one in preview.unchanged:
        say(f"{one.id}: {one.why}")
    if not preview.selected:
        say("No tasks match.")
        return
    say(f"{preview.changes:,} of {counted(preview.selected, 'selected task')} would be {word}.")
    table(
        tables.COUNTS,
        [(one.name, one.status, one.count, one.changes) for one in preview.counts],
    )
    if preview.examples:
        rows = [
            (one.id, one.name, one.category, one.priority.name, one.status, local(one.created_at))
            for one in preview.examples
        ]
        table(tables.EXAMPLES, rows, prefix=prefix)


def show_answer(answer: ActAnswer, word: str, *, as_json: bool, what: str = "task") -> None:
    """Print what was done."""
    act = answer.act
    if as_json:
        document({"act": act, "left": answer.left, "unchanged": answer.unchanged})
    else:
        say(f"{counted(act.changed, what)} {word} (act {act.number}).")
        for one in answer.unchanged[:SHOWN]:
            say(f"{one.id} not {word}: {one.why}")
        if answer.left > SHOWN:
            say(f"… and {answer.left - min(SHOWN, len(answer.unchanged)):,} more not {word}.")
    if answer.left and not act.changed:
        raise Exit(NO)


def _show_each(ids: list[str], answer: ActAnswer, word: str, *, as_json: bool) -> None:
    """Print what became of each task that was named."""
    why = {one: said for one in ids if (said := _why_not(one, answer)) is not None}
    results = [{"id": one, "changed": one not in why, "why": why.get(one)} for one in ids]
    if as_json:
        document({"results": results, "act": answer.act.number})
    else:
        for one in ids:
            say(f"{one} {word}" if one not in why else f"{one} not {word}: {why[one]}")
    if why:
        raise Exit(NO)


def _why_not(given: str, answer: ActAnswer) -> str | None:
    """Return why the task of an id, or of the beginning of one, stayed as it is."""
    begins = given.lower().replace("-", "")
    for one in answer.unchanged:
        if one.id.replace("-", "").startswith(begins):
            return one.why
    return None
