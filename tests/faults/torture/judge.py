"""Judge what is left of a queue: it opens, all that was said is true, and it goes on.

Knows nothing of faults: what a child was told is in what it said, see ``scenario.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.torture.scenario import digest, lower_thresholds, new_queue
from support.audit import Audit, audit
from wopr.domain.errors import WoprError
from wopr.domain.status import LIVE, TERMINAL, TaskStatus
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.start import open_settled

PATIENCE = 30.0
"""Within so many seconds every live task has to end."""


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
    """Return what is wrong with the file at ``path``."""
    logging.disable(logging.CRITICAL)
    lower_thresholds()
    said = Said.of(lines)
    try:
        if not said.tasks and not path.exists():
            return asyncio.run(_goes_on(path, said, {}))
        if chance.random() < 0.5:  # it is a queue that opens it first, or a tool
            asyncio.run(_opens(path))
        open_settled(path).close()
        found = audit(path, deleted=_Deletable(said))
        _compare(found, said)
        _compare_rules(path, found, said)
        report = check(path)
        found.problems += [f"doctor: {one}" for one in report.problems]
        found.problems += asyncio.run(_goes_on(path, said, found.rows))
    except (WoprError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]
    return found.problems


class _Deletable(frozenset[str]):
    """Ids of tasks that may have no row any more."""

    def __new__(cls, said: Said) -> _Deletable:
        return super().__new__(cls, said.deletable)


async def _opens(path: Path) -> None:
    queue, _ = new_queue(path)
    async with queue:
        await queue.get_task_stats()


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


def _compare_rules(path: Path, found: Audit, said: Said) -> None:
    opened = open_settled(path)
    try:
        rules = opened.connection.execute("select value from rules").fetchall()
        plans = opened.connection.execute("select name from schedules").fetchall()
        refused = opened.connection.execute("select error from refused_records").fetchall()
    finally:
        opened.close()
    limit = json.loads(rules[0][0]).get("concurrency") if rules else None
    if limit not in said.limits:
        found.say(f"the limit is {limit}, and was set to one of {said.limits}")
    if lost := said.planned - {name for (name,) in plans}:
        found.say(f"schedules are lost: {lost}")
    if refused:
        found.say(f"DuckDB refused records: {refused}")


async def _goes_on(path: Path, said: Said, rows: dict[str, Any]) -> list[str]:
    """Let a queue work off what is live, and one task more."""
    queue, measure = new_queue(path)
    async with queue:
        await queue.start_workers("c", 4)
        more = await measure.enqueue("more")
        live = [one for one, row in rows.items() if row.status in LIVE]
        try:
            async with asyncio.timeout(PATIENCE):
                for one in [*live, more.id]:
                    info = await queue.wait(one)
                    if info.status is not TaskStatus.SUCCESS:
                        return [f"task {one} ended as {info.status}: {info.error}"]
        except TimeoutError:
            return [f"{len(live)} tasks were not done within {PATIENCE:g} s"]
    return []
