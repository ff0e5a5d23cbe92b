"""Waiting tasks whose arguments don't fit their function: looked at when one is registered."""

from __future__ import annotations

from wopr.domain import decide
from wopr.domain.task import TaskRecord
from wopr.fleet.changing import Changing
from wopr.fleet.parts import Parts
from wopr.storage.postgres import statements
from wopr.storage.postgres.store import records

PAGE = 500
FITS = "fits the function again"


class Unfit:
    """Lets tasks go that fit their function again."""

    def __init__(self, parts: Parts, changing: Changing) -> None:
        self._parts = parts
        self._changing = changing

    async def look(self, name: str | None) -> None:
        """Look at those of a name, or of all that are registered here."""
        after = 0
        names = list(self._parts.registry.definitions) if name is None else [name]
        while page := await self._page(names, after):
            after = page[-1].seq
            now = self._parts.now()
            entries = [
                (one, made)
                for one in page
                if self._fits(one) and (made := decide.try_again(one, now, FITS)) is not None
            ]
            if entries:
                await self._changing.made(entries)

    async def _page(self, names: list[str], after: int) -> list[TaskRecord]:
        values = {"names": names, "after": after, "most": PAGE}
        return records(await self._parts.store.connections.rows(statements.UNFIT, **values))

    def _fits(self, record: TaskRecord) -> bool:
        definition = self._parts.registry.definitions.get(record.name)
        return definition is not None and definition.codec.fits(record.args, record.kwargs)
