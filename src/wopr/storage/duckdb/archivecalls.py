"""The calls of the storage by which old tasks retire, a portion at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from wopr.config.crashpoint import crashpoint
from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageFileError
from wopr.domain.keeping import Old
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.cleanup import BATCH, doomed
from wopr.storage.duckdb.disk import sync_directory
from wopr.storage.duckdb.failures import told
from wopr.storage.duckdb.operations import delete_tasks, save_fact
from wopr.storage.duckdb.parquet import again, archived, layout, parts
from wopr.storage.duckdb.reads import is_id

log = logging.getLogger(__name__)

Connection = duckdb.DuckDBPyConnection

RETIRING = "retiring"
"""The fact about the file that says which tasks are being archived, under what name and where."""


class ArchiveCalls(Base):
    """What is archived is noted first, then written, then deleted.

    Its files are in place and synced before it is deleted. A crash before that leaves files
    whose name is noted, and all that they hold is in the tables still: they are deleted before
    the next portion. So nothing is lost, and nothing is there twice.
    """

    async def retire(self, which: Old, *, archive: bool) -> int:
        """Delete a portion of old tasks, the oldest, once they are archived; return how many.

        Nobody may put ended tasks back in their queue meanwhile.

        Raises:
            StorageFileError: there is no archive, or it can't be written; nothing was deleted.
        """
        self._check()
        if not archive:
            ids = await self._old(which, BATCH)
            if ids:
                await self._log([delete_tasks(ids, which.before, keep_history=False)])
            return len(ids)
        directory = self._archive_or_raise()
        await self._clear_up()
        ids = await self._old(which, self._portion.count)
        if not ids:
            return 0
        name = new_identity().hex()
        noted = {"name": name, "directory": str(directory), "ids": ids, "file": self._place()}
        await self._log([save_fact(RETIRING, json.dumps(noted))])
        crashpoint("archive.noted")
        await self._fold()
        size = await asyncio.to_thread(self._archive, directory, name, ids)
        self._portion.read(len(ids), size)
        deleted = delete_tasks(ids, which.before, keep_history=False)
        await self._log([deleted, save_fact(RETIRING, None)])
        return len(ids)

    async def archived(self, task_id: str) -> TaskRecord | None:
        """Return a task that is in the archive."""
        directory = self.archive
        if directory is None or not is_id(task_id):
            return None
        return await self._ask(
            self._reader, lambda cursor: archived.get(cursor, directory, task_id)
        )

    async def archived_history(self, record: TaskRecord) -> list[Transition]:
        """Return the transitions of an archived task, in order."""
        directory = self._archive_or_raise()
        return await self._ask(
            self._reader, lambda cursor: archived.history(cursor, directory, record)
        )

    async def archived_logs(self, record: TaskRecord, limit: int) -> list[LogLine]:
        """Return the first lines that an archived task logged, in order."""
        directory = self._archive_or_raise()
        return await self._ask(
            self._reader, lambda cursor: archived.logs(cursor, directory, record, limit)
        )

    async def _old(self, which: Old, most: int) -> list[str]:
        def choose(connection: Connection) -> list[str]:
            self._folding.lines.write_all()  # they go with their tasks
            return doomed(connection, which, most)

        return await asyncio.wrap_future(self.in_writer(choose))

    def _archive_or_raise(self) -> Path:
        if self.archive is None:
            raise StorageFileError(
                f"There is no archive of {self.path}, so nothing was archived. Set "
                "WOPR_TASKS_ARCHIVE to a directory where the queue runs, and start it again: what "
                "is archived is then part of every question."
            )
        return self.archive

    def _archive(self, directory: Path, name: str, ids: Sequence[str]) -> int:
        """Write tasks, but for those that are there already; return how many bytes that made."""
        with self._outside:
            return self._write_and_place(directory, name, ids)

    def _write_and_place(self, directory: Path, name: str, ids: Sequence[str]) -> int:
        built = directory / (layout.NEW + name)
        cursor = self._opened_or_raise().cursor()
        try:
            with told(f"Nothing was archived to {directory}, and nothing deleted"):
                layout.make(directory)
                layout.make(built)
                there, before = archived.already(cursor, directory, ids)
                again.note(cursor, built, directory, name, before)
                parts.write(cursor, built, name, [one for one in ids if one not in there])
                crashpoint("archive.written")
                size = layout.put_in_place(built, directory)
                crashpoint("archive.placed")
                return size
        finally:
            shutil.rmtree(built, ignore_errors=True)
            cursor.close()

    async def _clear_up(self) -> None:
        """Delete the files of a portion that was broken off: its tasks are in the tables.

        A copy of the file leaves them alone: they may be the only ones that the other one has.
        """

        def look(connection: Connection) -> str | None:
            asked = "select value from meta where key = ?"
            row = connection.execute(asked, [RETIRING]).fetchone()
            return None if row is None else str(row[0])

        found = await asyncio.wrap_future(self.in_writer(look))
        if found is None:
            return
        noted = json.loads(found)
        directory = Path(noted["directory"])
        if noted.get("file", self._place()) != self._place():
            log.warning(
                "%s is a copy of %s, made while that archived tasks to %s. What is archived there "
                "is left to it.",
                self.path,
                noted["file"],
                directory,
            )
            await self._log([save_fact(RETIRING, None)])
            return
        try:
            await asyncio.to_thread(self._delete, directory, noted["name"])
        except OSError as error:
            raise StorageFileError(
                f"Files in {directory} that are left of a time that archiving was broken off can't "
                f"be deleted: {error}. Nothing was archived or deleted. Their tasks are in "
                f"{self.path}; delete the files that begin with {noted['name']}, or let this user "
                "do it."
            ) from error
        await self._log([save_fact(RETIRING, None)])

    def _place(self) -> str:
        return os.path.realpath(self.path)

    def _delete(self, directory: Path, name: str) -> None:
        """Delete the files of a portion, durably: what comes back would be there twice."""
        if not layout.is_there(directory) and directory != self.archive:
            raise StorageFileError(
                f"The directory {directory} is not there, and the last time that tasks were "
                "archived to it was broken off. Nothing was archived or deleted. Mount it, or make "
                f"it if it is gone for good: mkdir -m 700 '{directory}'"
            )
        with self._outside:  # who gave up waiting for it may have left it at work
            shutil.rmtree(directory / (layout.NEW + name), ignore_errors=True)
            found = list(layout.files(directory, name))
            for one in found:
                one.unlink()
            for folder in {one.parent for one in found}:
                sync_directory(folder)
