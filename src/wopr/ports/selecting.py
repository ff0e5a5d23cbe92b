"""Two more roles of a storage: finding the tasks of a selection, and keeping acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from wopr.domain.act import Act, Tally
from wopr.domain.change import Takes
from wopr.domain.selection import Selection
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition


class Found(NamedTuple):
    """A task of a selection."""

    seq: int
    id: str


class Selecting(Protocol):
    """Which tasks a selection means. Its ids are whole by then.

    All raise :class:`QueryError` if its condition in SQL is none, or can't be asked here.
    """

    async def tally(self, which: Selection, takes: Takes, seconds: float) -> list[Tally]:
        """Count what is selected, by name and status."""
        ...

    async def select(
        self,
        which: Selection,
        takes: Takes | None,
        limit: int,
        seconds: float,
        *,
        after: int = 0,
        unless_again_since: int | None = None,
    ) -> list[Found]:
        """Return selected tasks that a verb takes, in enqueue order; with ``None`` any of them.

        ``after`` the task of this number. With ``unless_again_since`` none that was enqueued, or
        run again, after the transition of that number.
        """
        ...

    async def selected(
        self, which: Selection, limit: int, before: int | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first; those before a number.

        It may end with the one that brings it to ``PAGE_BYTES``.
        """
        ...

    async def beginnings(self, prefixes: Sequence[str], limit: int) -> dict[str, list[str]]:
        """Return for each of these the ids that begin so, at most so many: by one question."""
        ...

    async def stored(self, ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are, as :meth:`Reads.get` does for one."""
        ...


class ActLog(Protocol):
    """The rows of ``acts``."""

    @property
    def newest(self) -> int:
        """The number of the newest transition that was handed over."""
        ...

    async def save_act(self, act: Act) -> None:
        """Make an act durable, new or changed."""
        ...

    async def acts(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        ...

    async def act(self, number: int) -> Act | None:
        """Return one act."""
        ...

    async def made_by(self, act: Act, after: int, limit: int) -> list[Transition]:
        """Return transitions that an act made, in order, after one of them."""
        ...

    async def made_count(self, act: Act) -> int:
        """Return how many tasks an act has changed, or added, so far."""
        ...
