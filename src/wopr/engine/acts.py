"""Verbs over very many tasks: previewed, done in pages, told meanwhile, taken back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from wopr.domain.act import EXAMPLES, Act, ActAnswer, ActProgress, Previewed, Unchanged
from wopr.domain.change import TAKES, Change, Decision, Takes, Verb, decision, take_back
from wopr.domain.clock import naive_now
from wopr.domain.errors import ActError, InvalidCallError, TaskNotFoundError
from wopr.domain.rule import Rule
from wopr.domain.selection import Selection
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.actbook import NO_END, ActBook
from wopr.engine.again import Again
from wopr.engine.changing import UNKNOWN, Changed, Changing
from wopr.engine.ruleacts import SETTINGS, RuleActs
from wopr.engine.shared import Shared, to_its_end

log = logging.getLogger(__name__)

ROUND = 100_000
"""So many tasks of a selection memory holds the ids of."""
PAGE = 1_000
"""So many tasks are read together."""
MADE = 10_000
"""So many transitions of an act that is taken back are read together."""
AT_ONCE = 2
"""So many pages are worked on: one is read while another is written."""
SAVE_SECONDS = 1.0
"""So often the row of an act that goes on says how far it is."""
AMBIGUOUS = 5
_ALL = Takes(frozenset(TaskStatus))
_TASKS = frozenset({"cancel", "set-priority", "move", "delay", "revoke-tasks"})
"""The verbs over tasks that can be taken back."""

Page = Callable[[Sequence[str]], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """An act that goes on now."""

    act: Act
    total: int
    changed: Changed = field(default_factory=Changed)
    saved_at: float = 0.0

    @property
    def progress(self) -> ActProgress:
        """How far it is."""
        return ActProgress(self.changed.seen, self.total, self.changed.count)

    def row(self, newest: int, ended_at: datetime | None) -> Act:
        """Return the act as it stands now; what it changed before an interruption counts."""
        count = self.act.changed + self.changed.count
        return replace(self.act, changed=count, last_seq=newest, ended_at=ended_at)


@dataclass(frozen=True, slots=True)
class Back:
    """Takes back what an act did to some tasks."""

    made: dict[str, Transition]
    act: int

    def __call__(self, record: TaskRecord, now: datetime) -> Transition | str:
        """Return what takes it back for one of them, or why nothing does."""
        return take_back(self.made[record.id], self.act)(record, now)


class Acts:
    """What operators do in one engine."""

    def __init__(
        self,
        shared: Shared,
        changing: Changing,
        again: Again,
        book: ActBook,
        rules: RuleActs,
    ) -> None:
        self._shared = shared
        self._changing = changing
        self._again = again
        self._book = book
        self._rules = rules
        self._runs: dict[str, Run] = {}
        self.list = book.list
        self.asked = book.asked
        self.deleting = asyncio.Lock()
        """Held while rows of ended tasks are deleted, or put back."""

    # -- looking --------------------------------------------------------------

    async def preview(self, which: Selection, verb: Verb | None, seconds: float) -> Previewed:
        """Return what a verb would do, without doing it; with ``None`` what is selected."""
        which, strange = await self._whole(which)
        storage = self._shared.storage
        takes = _ALL if verb is None else TAKES[verb]
        counts = await storage.tally(which, takes, seconds)
        found = await storage.select(which, takes, EXAMPLES, seconds)
        examples = await storage.stored([one.id for one in found])
        records = [examples[one.id] for one in found if one.id in examples]
        return Previewed(tuple(counts), tuple(records), tuple(strange))

    async def ids(self, which: Selection, limit: int, seconds: float) -> list[str]:
        """Return the ids of selected tasks, in enqueue order."""
        which, _ = await self._whole(which)
        return [one.id for one in await self._shared.storage.select(which, None, limit, seconds)]

    async def page(
        self, which: Selection, limit: int, cursor: str | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first; after the task ``cursor``."""
        which, _ = await self._whole(which)
        before: int | None = None
        if cursor is not None:
            last = await self._changing.known(cursor)
            if last is None:
                raise TaskNotFoundError(f"cursor={cursor!r} is no task of this queue (any more).")
            before = last.seq
        return await self._shared.storage.selected(which, limit, before, seconds)

    async def _whole(self, which: Selection) -> tuple[Selection, list[Unchanged]]:
        """Return the selection with whole ids, and what was given that is none."""
        if which.ids is None:
            return which, []
        ids: dict[str, None] = {}
        strange: list[Unchanged] = []
        beginning = await self._shared.storage.beginnings(which.ids, AMBIGUOUS)
        for given in which.ids:
            found = beginning[given]
            if len(found) == 1:
                ids[found[0]] = None
            elif found:
                why = f"several tasks begin so: {', '.join(found)}. Give more of the id"
                strange.append(Unchanged(given, why))
            else:
                strange.append(Unchanged(given, UNKNOWN))
        return replace(which, ids=tuple(ids)), strange

    async def progress(self, key: str) -> ActProgress | None:
        """Return how far an act is; ``None`` if it does not go on now."""
        run = self._runs.get(key)
        return None if run is None else run.progress

    # -- doing ----------------------------------------------------------------

    async def change(
        self, which: Selection, change: Change, key: str, who: str | None, seconds: float
    ) -> ActAnswer:
        """Do what a verb says to the selected tasks; an act that was interrupted goes on.

        Raises:
            InvalidCallError: nothing says which tasks.
            QueryError: its condition in SQL is none; nothing was changed.
            StorageError: some of them may be changed already; the same call goes on.
        """
        if which.everything:  # whoever asks: it is said too seldom to be meant
            raise InvalidCallError(
                f"{change.verb.value} of all tasks there are? Say which: queue.tasks.where(name=…, "
                "status=…), or where('true') if you mean it."
            )
        new = self._book.new(change.verb.value, who)
        detail = json.dumps(change.detail)
        new = replace(new, selection=which.to_json(), detail=detail, reason=change.reason or "")
        takes = TAKES[change.verb]
        if change.verb is Verb.RUN_AGAIN:
            return await self._done(new, which, takes, None, key, seconds)
        return await self._done(new, which, takes, lambda act: decision(change, act), key, seconds)

    async def _done(
        self,
        new: Act,
        which: Selection,
        takes: Takes,
        decide: Callable[[int], Decision] | None,
        key: str,
        seconds: float,
    ) -> ActAnswer:
        """Do something to each selected task; without ``decide`` run it again."""
        which, strange = await self._whole(which)
        counts = await self._shared.storage.tally(which, takes, seconds)
        going_on = {run.act.number for run in self._runs.values()}
        act = await self._book.interrupted(new, going_on) or await self._book.begin(new)
        run = Run(act, sum(one.changes for one in counts))
        page = self._page(decide, takes, run)
        since = act.first_seq if decide is None else None

        async def work() -> None:
            if which.ids is None:
                await self._rounds(which, takes, since, seconds, page)
                return
            for one in strange:
                run.changed.leave(one.id, one.why)
            await _pages(which.ids, page)

        return await self._carried(run, key, work)

    def _page(self, decide: Callable[[int], Decision] | None, takes: Takes, run: Run) -> Page:
        """Return what changes a page of tasks."""
        number, changed = run.act.number, run.changed

        async def page(ids: Sequence[str]) -> None:
            if decide is None:
                await self._again.many(ids, number, changed)
            elif takes.statuses & TERMINAL:
                async with self.deleting:
                    await self._changing.many(ids, decide(number), changed)
            else:
                await self._changing.many(ids, decide(number), changed)
            await self._save_now_and_then(run)

        return page

    async def _rounds(
        self, which: Selection, takes: Takes, since: int | None, seconds: float, page: Page
    ) -> None:
        """Change what is selected, so many at a time that memory can hold their ids."""
        until = naive_now(self._shared.clock)
        after = 0
        while True:
            found = await self._shared.storage.select(
                which, takes, ROUND, seconds, after=after, unless_again_since=since
            )
            await _pages([one.id for one in found], page)
            if len(found) < ROUND:
                return
            after = found[-1].seq
            which = replace(which, until=min(which.until or until, until))

    async def revoke(
        self, task: str, reason: str, where: str, decide: Callable[[int], Decision], seconds: float
    ) -> int:
        """Cancel live tasks of a name, as far as ``decide`` says so; return how many."""
        which = Selection(name=(task,))
        new = replace(self._book.new("revoke-tasks"), selection=which.to_json(), detail=where)
        new = replace(new, reason=reason)
        key = f"revoke {id(new)}"
        answer = await self._done(new, which, TAKES[Verb.CANCEL], decide, key, seconds)
        return answer.act.changed

    # -- taking back ----------------------------------------------------------

    async def undo(self, number: int, key: str, who: str | None) -> ActAnswer:
        """Take back what can be of an act.

        Raises:
            ActError: there is no such act, or nothing of it can be taken back.
        """
        undone = await self._book.get(number)
        if undone.verb not in _TASKS | SETTINGS:
            raise ActError(
                f"Act {number} was {undone.verb!r}, which can't be taken back. What can be: "
                f"{', '.join(sorted(_TASKS | SETTINGS))}; of tasks those that have not run since."
            )
        said = json.dumps({"act": number})
        act = await self._book.begin(
            replace(self._book.new("undo", who), selection=said, undoes=number)
        )
        run = Run(act, undone.changed)
        return await self._carried(run, key, lambda: self._take_back(undone, run))

    async def _take_back(self, undone: Act, run: Run) -> None:
        if undone.verb in SETTINGS:
            now = self._shared.clock.now()
            await self._rules.take_back(
                undone, run.changed, lambda kind, name, value: Rule(kind, name, value, now)
            )
            return
        after = 0
        while made := await self._shared.storage.made_by(undone, after, MADE):
            after = made[-1].seq
            back = Back({one.task_id: one for one in made}, run.act.number)

            async def page(ids: Sequence[str], back: Back = back) -> None:
                await self._changing.many(ids, back, run.changed)
                await self._save_now_and_then(run)

            async with self.deleting:
                await _pages(list(back.made), page)

    # -- the row --------------------------------------------------------------

    async def _carried(self, run: Run, key: str, work: Callable[[], Awaitable[None]]) -> ActAnswer:
        """Do the work of an act and write down how it ended, whatever it ends with."""
        self._runs[key] = run
        storage = self._shared.storage
        run.saved_at = self._shared.loop.time()
        try:
            await work()
        except BaseException:
            await to_its_end(self._interrupted(run))
            raise
        finally:
            self._runs.pop(key, None)
        act = run.row(storage.newest, self._shared.clock.now())
        await self._book.save(act)
        log.info("Act %d by %s: %s, %d changed.", act.number, act.who, act.verb, act.changed)
        return ActAnswer(act, run.changed.left, tuple(run.changed.unchanged))

    async def _interrupted(self, run: Run) -> None:
        """Write down how far an act came."""
        storage = self._shared.storage
        try:
            await storage.flush()
            await asyncio.sleep(0)  # what was written is told in the loop
            await self._book.save(run.row(storage.newest, None))
        except Exception as error:  # noqa: BLE001 - what it ended with is what the caller hears
            log.error("How far act %d came can't be stored: %s", run.act.number, error)

    async def _save_now_and_then(self, run: Run) -> None:
        now = self._shared.loop.time()
        if now - run.saved_at >= SAVE_SECONDS:
            run.saved_at = now
            await self._book.save(run.row(NO_END, None))


async def _pages(ids: Sequence[str], page: Page) -> None:
    """Change tasks, a few pages at once."""
    parts = iter([ids[at : at + PAGE] for at in range(0, len(ids), PAGE)])

    async def work() -> None:
        for part in parts:
            await page(part)

    tasks = [asyncio.ensure_future(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
