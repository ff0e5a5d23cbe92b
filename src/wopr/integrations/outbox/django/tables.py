"""The table of an outbox through Django's ORM, whose connections belong to threads: in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Min
from django.db.models.functions import Length

from wopr.domain.errors import InvalidCallError
from wopr.integrations.outbox.rows import MOST_ROWS, OutboxRow, within
from wopr.integrations.outbox.threaded import OwnThread

_FIELDS = ("number", "id", "name", "call", "created_at", "error")


def model() -> Any:
    """Return the model, once Django's applications are loaded.

    Raises:
        InvalidCallError: the project has not installed it.
    """
    try:
        return apps.get_model("wopr_outbox", "OutboxCall")
    except LookupError:
        raise InvalidCallError(
            "The outbox has no table in this project. Add 'wopr.integrations.outbox.django' to "
            "INSTALLED_APPS, then run: manage.py migrate"
        ) from None


class DjangoRows:
    """See :class:`wopr.integrations.outbox.rows.Rows`."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._thread = OwnThread()
        self._atomic: Any = None

    @property
    def _all(self) -> Any:
        return model().objects.using(self._using)

    async def take(self) -> list[OutboxRow]:
        """Return the oldest rows; on PostgreSQL their transaction goes on."""
        return await self._thread(self._take)

    def _take(self) -> list[OutboxRow]:
        connections[self._using].close_if_unusable_or_obsolete()
        waiting = self._all.filter(error=None).order_by("number")
        sized = waiting
        if connections[self._using].vendor == "postgresql":  # else others find the same: harmless
            self._atomic = transaction.atomic(using=self._using)
            self._atomic.__enter__()
            sized = waiting.select_for_update(skip_locked=True)
        found = list(sized.values_list("number", Length("call"))[:MOST_ROWS])
        oldest = waiting.order_by().aggregate(oldest=Min("number"))["oldest"]
        if not found or found[0][0] != oldest:  # another mover has older ones
            return []
        return _rows(waiting.filter(number__in=within(found)))

    async def settle(self, moved: Sequence[int], refused: Mapping[int, str]) -> None:
        """Settle what was taken, and commit."""
        await self._thread(self._settle, moved, refused)

    def _settle(self, moved: Sequence[int], refused: Mapping[int, str]) -> None:
        with transaction.atomic(using=self._using):
            self._all.filter(number__in=moved).delete()
            for number, error in refused.items():
                self._all.filter(number=number).update(error=error)
        self._end(keep=True)

    async def let_go(self) -> None:
        """Take back what was not settled."""
        await self._thread(self._end, keep=False)

    def _end(self, *, keep: bool) -> None:
        atomic, self._atomic = self._atomic, None
        if atomic is not None:
            if not keep:
                transaction.set_rollback(True, using=self._using)
            atomic.__exit__(None, None, None)

    async def refused(self, most: int) -> list[OutboxRow]:
        """Return the oldest rows that have an error."""
        return await self._thread(
            lambda: _rows(self._all.exclude(error=None).order_by("number")[:most])
        )

    async def retry(self, ids: Sequence[str]) -> int:
        """Take errors away."""
        return await self._thread(self._retry, ids)

    def _retry(self, ids: Sequence[str]) -> int:
        which = self._all.exclude(error=None)
        return int((which.filter(id__in=ids) if ids else which).update(error=None))

    async def close(self) -> None:
        """Close the thread's connection, and end it."""
        if self._thread.begun:
            await self._thread(self._close)
        self._thread.end()

    def _close(self) -> None:
        connections[self._using].close()


def _rows(found: Any) -> list[OutboxRow]:
    rows = [OutboxRow(*values) for values in found.values_list(*_FIELDS)]
    return [replace(row, created_at=_naive(row.created_at)) for row in rows]


def _naive(moment: datetime) -> datetime:
    """Return a stored moment as naive UTC; it has a zone if the project's times have."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
