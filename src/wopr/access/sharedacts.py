"""What operators do to a queue that many hosts share: acts, as in a file, over its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from wopr.domain.act import Act
from wopr.domain.change import TAKES, Decision, Verb, refusal
from wopr.domain.errors import StorageError, TaskNotFoundError, UniqueKeyConflictError
from wopr.domain.newtask import NewTask
from wopr.domain.task import TaskRecord
from wopr.engine.actbook import ActBook
from wopr.engine.acts import Acts
from wopr.engine.again import Again, once_more
from wopr.engine.changing import SLICE, UNKNOWN, Changed, Changing
from wopr.engine.controls import Controls
from wopr.engine.revoking import Revoking as Acted
from wopr.engine.ruleacts import RuleActs
from wopr.engine.rules import Rules
from wopr.engine.shared import Shared
from wopr.fleet.doubt import acted
from wopr.fleet.fleet import Fleet
from wopr.fleet.revoking import Revoking
from wopr.ports.storage import Entry
from wopr.storage.postgres.selecting import SelectStore


class SharedActs:
    """The acts of one host, and all that is noted as such."""

    def __init__(self, fleet: Fleet) -> None:
        parts = fleet.parts
        rows = SelectStore(parts.store)
        shared = cast(
            "Shared", SimpleNamespace(storage=rows, clock=parts.clock, loop=parts.around.loop)
        )
        self.book = _Book(shared, rows)
        self.rules = RuleActs(cast("Rules", fleet.rules), self.book)
        changing, again = cast("Changing", _Changing(fleet)), cast("Again", _Again(fleet))
        self.acts = Acts(shared, changing, again, self.book, self.rules)
        self.revoke = Acted(cast("Controls", Revoking(fleet.parts)), self.acts).revoke_live
        self.note = self.book.note


class _Book(ActBook):
    """Numbers acts as the tables say: other hosts begin some, too."""

    def __init__(self, shared: Shared, rows: SelectStore) -> None:
        super().__init__(shared)
        self._rows = rows

    async def begin(self, act: Act) -> Act:
        """Give an act the next number; it is durable then, before anything is changed."""
        while True:
            newest = await self.list(1, None)
            number = newest[0].number + 1 if newest else 1
            act = replace(act, number=number, first_seq=await self._rows.last())
            if await self._rows.begin_act(act):
                return act


class _Changing:
    """Changes many tasks, a slice to a transaction."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def known(self, task_id: str) -> TaskRecord | None:
        """Return a task."""
        return await self._fleet.parts.store.get(task_id)

    async def many(self, ids: Sequence[str], decision: Decision, changed: Changed) -> None:
        """Change tasks; ``changed`` says what came of it, also if this is interrupted."""
        for at in range(0, len(ids), SLICE):
            todo: Sequence[str] = ids[at : at + SLICE]
            while todo:  # what somebody else has changed meanwhile is looked at again
                try:
                    entries = await self._decided(todo, decision, changed)
                    done = await self._made(entries, changed) if entries else set()
                except StorageError as error:
                    raise acted(error, changed.count) from error
                todo = [record.id for record, _ in entries if record.id not in done]

    async def _decided(
        self, ids: Sequence[str], decision: Decision, changed: Changed
    ) -> list[Entry]:
        found = await self._fleet.parts.store.get_many(ids)
        now = self._fleet.parts.now()
        entries: list[Entry] = []
        for one in ids:
            record = found.get(one)
            made = UNKNOWN if record is None else decision(record, now)
            if isinstance(made, str) or record is None:
                changed.leave(one, str(made))
            else:
                entries.append((record, made))
        return entries

    async def _made(self, entries: list[Entry], changed: Changed) -> set[str]:
        """Make changes; return the ids of the tasks that are over and done with."""
        try:
            done = {record.id for record, _ in await self._fleet.changing.made(entries)}
        except UniqueKeyConflictError as error:
            if len(entries) == 1:
                [(record, _)] = entries
                changed.leave(record.id, str(error))
                return {record.id}
            return set().union(*[await self._made([one], changed) for one in entries])
        changed.count += len(done)
        return done


class _Again:
    """Runs ended tasks again."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def many(self, ids: Sequence[str], act: int, changed: Changed) -> None:
        """Run tasks again; ``changed`` says what came of it, also if this is interrupted."""
        store = self._fleet.parts.store
        for at in range(0, len(ids), SLICE):
            found = await store.get_many(ids[at : at + SLICE])
            together: list[NewTask] = []
            for one in ids[at : at + SLICE]:
                record = found.get(one)
                if record is None or not TAKES[Verb.RUN_AGAIN].include(record):
                    changed.leave(one, UNKNOWN if record is None else refusal(record))
                    continue
                new = once_more(record, act)
                if new.unique_key is not None and await store.holder(new.unique_key):
                    changed.leave(one, f"another task has its unique key {new.unique_key!r}")
                elif new.depends_on or new.unique_key is not None:
                    await self._alone(one, new, changed)
                else:
                    together.append(new)
            await self._add(together, changed)

    async def _alone(self, task_id: str, new: NewTask, changed: Changed) -> None:
        try:
            await self._add([new], changed)
        except TaskNotFoundError as error:  # one that it takes the result of is not there
            changed.leave(task_id, str(error))

    async def _add(self, tasks: Iterable[NewTask], changed: Changed) -> None:
        changed.count += len(await self._fleet.adding.add_many(tasks))
