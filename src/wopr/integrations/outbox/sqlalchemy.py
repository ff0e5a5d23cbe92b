"""An outbox in the database of an application that uses SQLAlchemy.

::

    outbox = Outbox(queue, engine, metadata=Base.metadata)

    with Session(engine) as session, session.begin():
        session.add(order)
        outbox.enqueue(session, send_mail, (order.email,))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import Engine, MetaData, event
from sqlalchemy.orm import Session, registry, scoped_session

from wopr.calls.options import Options
from wopr.core.task import Task
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.integrations.outbox.base import OutboxBase, checked_queue
from wopr.integrations.outbox.rows import Rows
from wopr.integrations.outbox.sqlrows import outbox_table
from wopr.integrations.outbox.syncrows import SyncRows
from wopr.queue.queue import TaskQueue

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session

TABLE = "wopr_outbox"


class Outbox(OutboxBase):
    """Enqueues tasks in the transactions of an application.

    Args:
        queue: where the tasks go. It moves the rows as long as it has workers.
        engine: of the database with the table; an ``Engine``, or an ``AsyncEngine``.
        metadata: where the table is put, for alembic and ``create_all``; ``None``: in one of
            its own.
        table: its name.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    def __init__(
        self,
        queue: TaskQueue,
        engine: Engine | AsyncEngine,
        *,
        metadata: MetaData | None = None,
        table: str = TABLE,
    ) -> None:
        self.metadata = MetaData() if metadata is None else metadata
        """Has the table."""
        self.table = outbox_table(check_label(table, "table"), self.metadata)
        """The table: one row per call that waits to become a task."""
        self._made = type("OutboxRow", (), {})
        registry(metadata=self.metadata).map_imperatively(self._made, self.table)
        super().__init__(checked_queue(queue), self._rows_of(engine))

    def _rows_of(self, engine: Any) -> Rows:
        if isinstance(engine, Engine):
            return SyncRows(engine, self.table)
        if not isinstance(getattr(engine, "sync_engine", None), Engine):
            raise InvalidCallError(
                f"Outbox(queue, engine) takes an Engine or an AsyncEngine, not {shown(engine)}."
            )
        from wopr.integrations.outbox.asyncrows import AsyncRows

        return AsyncRows(engine, self.table)

    def enqueue(
        self,
        session: Session
        | scoped_session[Session]
        | AsyncSession
        | async_scoped_session[AsyncSession],
        task: str | Task[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> str:
        """Enqueue a task when, and only when, the session's transaction is committed.

        Args:
            session: its next flush writes the row. Nothing is awaited, in an ``AsyncSession``
                neither.
            task: registered in this process, or its name.
            args: positional arguments of the function.
            kwargs: keyword arguments of the function.
            **options: as in :meth:`wopr.Task.options`; spans count from now.

        Returns:
            The id of the task, for ``queue.handle``. The queue knows it once it was moved.

        Raises:
            QueueDisabledError: the queue is switched off.
            TaskNotRegisteredError: nothing has this name.
            InvalidCallError: a value or an argument is wrong; the session is as it was.
        """
        own = _session_of(session)
        row = self._made()
        for name, value in self._row(task, args, kwargs, options).items():
            setattr(row, name, value)
        own.add(row)
        if not event.contains(own, "after_commit", self._committed):
            event.listen(own, "after_commit", self._committed)
        return str(row.id)

    def _committed(self, _session: Session) -> None:
        self._mover.wake()


def _session_of(session: Any) -> Session:
    """Return the session that does the work behind whatever was given."""
    found = session if not hasattr(session, "registry") else session()  # a scoped one
    found = getattr(found, "sync_session", found)
    if not isinstance(found, Session):
        raise InvalidCallError(
            f"outbox.enqueue(session, task, …) takes a Session or an AsyncSession of SQLAlchemy, "
            f"not {shown(session)}: the row is part of its transaction."
        )
    return found
