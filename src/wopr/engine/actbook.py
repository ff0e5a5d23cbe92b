"""The rows of acts: numbered, written before anything is changed, and when it has ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from wopr.config.whoami import this_process
from wopr.domain.act import Act, acting
from wopr.domain.errors import ActError, StorageError
from wopr.domain.masking import mask, shortened
from wopr.engine.shared import Shared

log = logging.getLogger(__name__)

GOES_ON = timedelta(days=1)
"""So old an interrupted act may be that the same call goes on with, instead of a new one."""
LONGEST_QUESTION = 10_000
"""Characters of a question in SQL that are kept."""
LOOKED_AT = 100
"""So many of the newest acts are looked at for one that was interrupted."""
NO_END = 2**62
"""The last transition of an act that goes on: no number is as large."""


class ActBook:
    """The acts of one engine, as rows."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._numbering = asyncio.Lock()
        self._next: int | None = None

    async def list(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        return await self._shared.storage.acts(limit, before)

    async def get(self, number: int) -> Act:
        """Return an act.

        Raises:
            ActError: there is none with this number.
        """
        found = await self._shared.storage.act(number)
        if found is None:
            raise ActError(f"There is no act {number} (any more). See them: wopr acts")
        return found

    async def save(self, act: Act) -> None:
        """Make an act durable, new or changed."""
        await self._shared.storage.save_act(act)

    def new(self, verb: str, who: str | None = None) -> Act:
        """Return an act that begins now, without a number."""
        by = acting.get() or this_process()
        return Act(
            number=0,
            verb=verb,
            who=who or by.who,
            origin=by.origin,
            began_at=self._shared.clock.now(),
            first_seq=self._shared.storage.newest,
            last_seq=NO_END,
        )

    async def begin(self, act: Act) -> Act:
        """Give an act the next number; it is on disk then, before anything is changed."""
        async with self._numbering:
            if self._next is None:
                newest = await self.list(1, None)
                self._next = newest[0].number + 1 if newest else 1
            act = replace(act, number=self._next)
            await self.save(act)
            self._next += 1
        return act

    async def interrupted(self, new: Act, going_on: set[int]) -> Act | None:
        """Return an act like a new one that was interrupted, and that goes on nowhere."""
        for one in await self.list(LOOKED_AT, None):
            same = (one.verb, one.selection, one.detail) == (new.verb, new.selection, new.detail)
            fresh = new.began_at - one.began_at < GOES_ON
            if same and fresh and not one.finished and one.number not in going_on:
                log.info("Act %d (%s) was interrupted, and goes on.", one.number, one.verb)
                # Its row is behind, for its process may have been killed.
                return replace(one, changed=await self._shared.storage.made_count(one))
        return None

    async def asked(self, question: str) -> None:
        """Note that somebody asks in SQL."""
        await self.note(
            "sql", {}, {"query": shortened(mask(question), LONGEST_QUESTION)}, changed=0
        )

    async def note(
        self, verb: str, selection: Mapping[str, Any], detail: Mapping[str, Any], **more: Any
    ) -> None:
        """Write down what was done. It is done: what goes wrong with that is logged."""
        act = replace(
            self.new(verb),
            selection=json.dumps(selection, ensure_ascii=False),
            detail=json.dumps(detail, ensure_ascii=False),
            **{"changed": 1, **more},
        )
        newest, now = self._shared.storage.newest, self._shared.clock.now()
        try:
            await self.begin(replace(act, last_seq=newest, ended_at=now))
        except StorageError as error:
            log.error("That %s did %r can't be stored among the acts: %s", act.who, verb, error)
