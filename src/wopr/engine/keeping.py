"""Old tasks retire: when somebody says so, and by rules, in quiet moments."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from datetime import datetime
from pathlib import Path

from wopr.domain.clock import naive_now
from wopr.domain.errors import StorageFileError, WoprError
from wopr.domain.keeping import Old, Retention
from wopr.engine.actbook import ActBook
from wopr.engine.acts import Acts
from wopr.engine.shared import Shared
from wopr.ports.status import Kept

log = logging.getLogger(__name__)

FIRST_SECONDS = 30.0
"""So long after the opening it is looked for the first time what has been kept long enough."""
EVERY_SECONDS = 60.0
QUIET_SECONDS = 0.5
"""So often it is looked whether the tables hold all there is, which they do in a quiet moment."""
PATIENCE_SECONDS = 300.0
"""So long a quiet moment is waited for; then it is done beside the work."""
ARCHIVING = frozenset({"archive", "retire"})
LOOKED_AT = 100
"""Among so many of the newest acts it is looked where tasks were archived to."""
SLICE_SECONDS = 5.0
"""So long one call archives, so that whoever called hears how far it is."""


class Keeping:
    """Who retires in one engine."""

    def __init__(self, shared: Shared, acts: Acts, book: ActBook) -> None:
        self._shared = shared
        self._acts = acts
        self._book = book
        self.rules: tuple[Retention, ...] = ()
        """Set before it is started."""
        self._task: asyncio.Task[None] | None = None
        self._done = Counter[str]()
        self._last: datetime | None = None
        self._trouble: str | None = None

    # -- when somebody says so --------------------------------------------------

    async def archive(self, before: datetime, directory: Path | None) -> tuple[int, bool]:
        """Archive, for some seconds, what ended until then; return how many, and if that is all.

        Raises:
            StorageFileError: there is no archive, or another one than ``directory``.
        """
        there = self._shared.storage.archive
        if directory is not None and there is not None and not _same(directory, there):
            raise _other(directory, str(there))
        if directory is not None and there is None:
            raise _other(directory, None)
        until, total, complete = self._shared.loop.time() + SLICE_SECONDS, 0, False
        try:
            while not complete and self._shared.loop.time() < until:
                count = await self._retire(Old(before=before), archived=True)
                total += count
                complete = not count
        finally:
            if total:
                said = {"completed until": before.isoformat()}
                await self._book.note("archive", said, {"to": str(there)}, changed=total)
        return total, complete

    async def _retire(self, old: Old, *, archived: bool) -> int:
        async with self._acts.deleting:
            return await self._shared.storage.retire(old, archive=archived)

    # -- by rules -----------------------------------------------------------------

    def start(self) -> None:
        """Look now and then, from now on, what has been kept long enough; once for the archive."""
        if self._task is None and (self.rules or self._shared.storage.archive is not None):
            self._task = asyncio.ensure_future(self._look())

    async def stop(self) -> None:
        """Look no more. Idempotent. What was begun goes on the next time."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self) -> None:
        await self.look_for_archive()
        await asyncio.sleep(FIRST_SECONDS)
        while self.rules:
            await self._quiet()
            await self.round()
            await asyncio.sleep(EVERY_SECONDS)

    async def look_for_archive(self) -> None:
        """Say so if there is no archive where it should be: a name that is misspelt makes none."""
        there = self._shared.storage.archive
        if there is None:
            return
        try:
            acts = [one for one in await self._book.list(LOOKED_AT, None) if one.verb in ARCHIVING]
            used = next((to for one in acts if (to := json.loads(one.detail).get("to"))), None)
            found = await asyncio.to_thread(os.path.isdir, there)
        except (WoprError, ValueError, AttributeError) as error:
            log.warning("Whether the archive is at %s can't be told: %s", there, error)
            return
        if isinstance(used, str) and not (found and _same(Path(used), there)):
            log.warning(
                "WOPR_TASKS_ARCHIVE is %s%s, and tasks of this queue were archived to %s: no "
                "answer has those. Correct the setting, or mount the directory.",
                there,
                "" if found else ", which is no directory",
                used,
            )
        elif not found:
            log.info("There is no %s yet (WOPR_TASKS_ARCHIVE): archiving makes it.", there)

    async def _quiet(self) -> None:
        until = self._shared.loop.time() + PATIENCE_SECONDS
        while self._shared.loop.time() < until:
            state = self._shared.storage.journal
            if state is None or not state.rows:
                return
            await asyncio.sleep(QUIET_SECONDS)

    async def round(self) -> None:
        """Let go of all that was kept long enough, in portions, with breaks as long as those."""
        for rule in self.rules:
            try:
                await self._apply(rule)
            except Exception as error:  # noqa: BLE001 - disks refuse in many ways; it is tried again
                trouble = str(error) or type(error).__name__
                if trouble != self._trouble:
                    log.warning("What was kept long enough (%s) is still there: %s", rule, trouble)
                self._trouble = trouble
                return
        self._trouble = None

    async def _apply(self, rule: Retention) -> None:
        loop, total = self._shared.loop, 0
        old = rule.old(naive_now(self._shared.clock))
        try:
            while True:
                began = loop.time()
                count = await self._retire(old, archived=rule.archived)
                if not count:
                    return
                total += count
                await asyncio.sleep(loop.time() - began)
        finally:
            if total:
                await self._note(rule, old, total)

    async def _note(self, rule: Retention, old: Old, total: int) -> None:
        then = "archived" if rule.archived else "deleted"
        self._done[then] += total
        self._last = self._shared.clock.now()
        said = {"status": rule.status.value, "completed until": old.before.isoformat()}
        if rule.category is not None:
            said["category"] = rule.category
        if rule.other_than:
            said["not category"] = ", ".join(rule.other_than)
        where = {"to": str(self._shared.storage.archive)} if rule.archived else {}
        await self._book.note("retire", said, {"then": then, **where}, changed=total)

    @property
    def told(self) -> Kept | None:
        """What the rules are, and what they did; ``None`` without rules."""
        if not self.rules:
            return None
        return Kept(
            rules=tuple(map(str, self.rules)),
            archived=self._done["archived"],
            deleted=self._done["deleted"],
            last=self._last,
            trouble=self._trouble,
        )


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _other(directory: Path, there: str | None) -> StorageFileError:
    return StorageFileError(
        f"Process {os.getpid()} has the queue open and archives to {there or 'no directory'}, so "
        f"nothing was archived to {directory}: what is there would be missing in its answers. "
        f"Start it with WOPR_TASKS_ARCHIVE={directory}, or stop it and archive then."
    )
