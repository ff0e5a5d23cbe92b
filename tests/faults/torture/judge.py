"""Judge what is left of a queue: it opens, all that was said is true, and it goes on.

Knows nothing of faults: what a child was told is in what it said, see ``scenario.py``.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from faults.torture.scenario import digest, new_queue
from support.audit import Audit, audit_of
from wopr.domain.errors import WoprError
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.storage.duckdb.examination import Examination
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.start import open_settled

PATIENCE = 30.0
"""Within so many seconds every live task has to end."""


_TABLES = ("tasks", "transitions", "rules", "schedules", "refused_records")
_CONTENT = "select md5(concat_ws('/', {})) from (values (1))".format(
    ", ".join(f"(select string_agg(hash(t), ',' order by hash(t)) from {t} t)" for t in _TABLES)
)


@dataclass
class Said:
    """What was said, sorted."""

    tasks: dict[str, str] = field(default_factory=dict)
    """The digest of its argument for each id."""
    runs: Counter[tuple[str, int]] = field(default_factory=Counter)
    done: set[str] = field(default_factory=set)
    limits: set[int | None] = field(default_factory=lambda: {None})
    """What the limit may be."""
    planned: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    """Surely not there any more."""
    deletable: set[str] = field(default_factory=set)
    """Perhaps not there any more."""

    _ended: set[str] = field(default_factory=set)
    _cleaning: bool = False

    @classmethod
    def of(cls, lines: Sequence[str]) -> Said:
        """Read lines; the last may be cut off."""
        said = cls()
        for line in lines:
            match line.split():
                case ["task", one, text]:
                    said.tasks[one] = text
                case ["done", one]:
                    said.done.add(one)
                case ["setting", number]:
                    said.limits.add(int(number))
                case ["set", number]:
                    said.limits = {int(number)}
                case ["planned", name]:
                    said.planned.add(name)
                case words:
                    said._about_deletions(words)
        return said

    def _about_deletions(self, words: list[str]) -> None:
        match words:
            case ["run", one, attempt]:
                self.runs[one, int(attempt)] += 1
                if self._cleaning:
                    self.deletable.add(one)
            case ["cleaning"]:
                self._cleaning, self._ended = True, set(self.done)
                self.deletable |= {one for one, _ in self.runs}
            case ["cleaned"]:
                self._cleaning = False
                self.deleted |= self._ended


def judge(path: Path, lines: Sequence[str], chance: random.Random) -> list[str]:
    """Return what is wrong with the file at ``path``.

    Either a tool opens it, which looks at it as it is; or a queue, which goes on with it: then
    it is looked at when all is done, with what was done.
    """
    said = Said.of(lines)
    try:
        if said.tasks and chance.random() < 0.4:
            return _opened(path, said).problems
        promised = [one for one in said.tasks if one not in said.deletable]
        problems = asyncio.run(_goes_on(path, said, promised))
        return [*problems, *_closed(path, said).problems]
    except (WoprError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]


def _opened(path: Path, said: Said) -> Audit:
    """Open a file as every tool does, and compare it with what was said."""
    opened = open_settled(path)
    try:
        found = _compared(opened.connection, said)
        found.problems += [f"doctor: {one}" for one in Examination(opened).run().problems]
    finally:
        opened.close()
    return found


def _closed(path: Path, said: Said) -> Audit:
    """Compare a file that was closed, and that any DuckDB has to open."""
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        found = _compared(connection, said, whole=True)
    if segments(path):
        found.say("its journal is beside it, though it was closed")
    return found


def _compared(connection: duckdb.DuckDBPyConnection, said: Said, *, whole: bool = False) -> Audit:
    found = audit_of(connection, whole=whole, deleted=_Deletable(said))
    _compare(found, said)
    _compare_rules(connection, found, said)
    return found


def glance(folder: Path, lines: Sequence[str]) -> list[str]:
    """Return what is wrong with any of many images that differ in little; none goes on.

    So there are few contents, and one is compared once.
    """
    said = Said.of(lines)
    compared: dict[str, list[str]] = {}
    problems = []
    for one in sorted(folder.iterdir()):
        path = one / "tasks.duckdb"
        try:
            found = _glanced(path, said, compared) if said.tasks or path.exists() else []
        except (WoprError, OSError) as error:
            found = [f"{type(error).__name__}: {error}"]
        problems += [f"{one.name}: {problem}" for problem in found]
        shutil.rmtree(one, ignore_errors=bool(found))
    return problems


def _glanced(path: Path, said: Said, compared: dict[str, list[str]]) -> list[str]:
    opened = open_settled(path)
    try:
        [(content,)] = opened.connection.execute(_CONTENT).fetchall()
        if content not in compared:
            compared[content] = _compared(opened.connection, said).problems
        return compared[content]
    finally:
        opened.close()


class _Deletable(frozenset[str]):
    """Ids of tasks that may have no row any more."""

    def __new__(cls, said: Said) -> _Deletable:
        return super().__new__(cls, said.deletable)


def _compare(found: Audit, said: Said) -> None:
    for one, text in said.tasks.items():
        if one in found.rows:
            _compare_task(found, said, one, text)
        elif one not in said.deletable:
            found.say(f"task {one} is lost")
    for (one, attempt), count in said.runs.items():
        record = found.folded.get(one)
        if count > 1:
            found.say(f"attempt {attempt} of task {one} ran {count} times")
        if record is not None and record.attempt < attempt:
            found.say(f"task {one} ran as attempt {attempt}, and {record.attempt} is stored")
        if record is None and one not in said.deletable:
            found.say(f"task {one} ran, and is not there")
    for one, record in found.rows.items():
        if record.status in TERMINAL and record.result is None:
            found.say(f"task {one} ended as {record.status}: {record.error}")


def _compare_task(found: Audit, said: Said, one: str, text: str) -> None:
    record = found.folded[one]
    if one in said.deleted:
        found.say(f"task {one} was deleted and is there again")
    if digest(json.loads(record.args)[0]) != text:
        found.say(f"task {one} has another argument")
    if one in said.done and record.status is not TaskStatus.SUCCESS:
        found.say(f"task {one} had its result, and is {record.status}")


def _compare_rules(connection: duckdb.DuckDBPyConnection, found: Audit, said: Said) -> None:
    rules = connection.execute("select value from rules").fetchall()
    plans = connection.execute("select name from schedules").fetchall()
    limit = json.loads(rules[0][0]).get("concurrency") if rules else None
    if limit not in said.limits:
        found.say(f"the limit is {limit}, and was set to one of {said.limits}")
    if lost := said.planned - {name for (name,) in plans}:
        found.say(f"schedules are lost: {lost}")


async def _goes_on(path: Path, said: Said, promised: Sequence[str]) -> list[str]:
    """Let a queue work off what was promised, and one task more."""
    ran: list[tuple[str, int]] = []
    queue, measure = new_queue(path, ran)
    async with queue:
        await queue.start_workers("c", 4)
        more = await measure.enqueue("more")
        try:
            async with asyncio.timeout(PATIENCE):
                for one in [*promised, more.id]:
                    info = await queue.wait(one)
                    if info.status is not TaskStatus.SUCCESS:
                        return [f"task {one} ended as {info.status}: {info.error}"]
        except TimeoutError:
            return [f"{len(promised)} tasks were not done within {PATIENCE:g} s"]
    said.runs.update(ran)
    return [f"task {one} had its result, and ran again" for one, _ in ran if one in said.done]
