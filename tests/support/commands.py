"""The wopr command, called in this process, and a database with one task of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from support.matching import check_document, command_of
from support.queues import PATIENCE
from wopr import TaskPriority, TaskQueue
from wopr.cli.main import app

NASTY = "boom \x1b]0;owned\x07\x1b[2J\u202e [red]not markup[/red]\nsecond line"


@dataclass(frozen=True)
class Answer:
    """What a call of the command left behind."""

    code: int
    out: str
    err: str
    words: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """What it printed, without the version; it has to be what the schema says."""
        return check_document(command_of(self.words), json.loads(self.out))


Call = Callable[..., Answer]


@dataclass(frozen=True)
class Database:
    """A file with tasks, by what became of them."""

    path: Path
    succeeded: str
    failed: str
    delayed: str


def call(*words: object, stdin: str | None = None) -> Answer:
    """Run the command in this process."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Answer(done.exit_code, done.stdout, done.stderr, tuple(map(str, words)))


async def fill(path: Path) -> Database:
    """Make a file in which one task has succeeded, one has failed and one waits."""
    queue = TaskQueue(enabled=True, database=path)

    @queue.task(name="double", category="sums")
    async def double(number: int) -> dict[str, int]:
        return {"doubled": number * 2}

    @queue.task(name="nasty", category="odd\x1b[31m", max_retries=1, retry=None)
    async def nasty(text: str) -> None:
        raise ValueError(text)

    async with queue:
        await queue.start_workers("sums", 1)
        await queue.start_workers("odd\x1b[31m", 1)
        succeeded = await double.enqueue(21)
        failed = await nasty.options(max_retries=0).enqueue(NASTY)
        await queue.wait(succeeded.id, timeout=PATIENCE)
        await queue.wait(failed.id, timeout=PATIENCE)
        delayed = await double.options(
            delay=3600, unique_key="only one", priority=TaskPriority.LOW
        ).enqueue(1)
    return Database(path, succeeded.id, failed.id, delayed.id)
