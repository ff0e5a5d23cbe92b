"""Delete old tasks in batches, each short enough not to hold the writer up."""

from __future__ import annotations

from datetime import datetime

from wopr.domain.status import LIVE, TERMINAL
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.folding import Folding

BATCH = 5_000
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))

_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_NOT_NEEDED = (
    "id not in (select cast(unnest(cast(depends_on as json[])) ->> '$' as uuid) "
    f"from tasks where depends_on is not null and status in ({_ALIVE}))"
)
"""The result of a task is kept while another one that depends on it is live."""


class Cleanup:
    """Deletes terminal tasks that were completed before a moment; runs in the writer's thread."""

    def __init__(
        self, folding: Folding, opened: OpenedDatabase, before: datetime, *, keep_history: bool
    ) -> None:
        self._folding = folding
        self._opened = opened
        self._before = before
        self._keep_history = keep_history

    def batch(self) -> int:
        """Delete up to :data:`BATCH` tasks in one transaction; return how many.

        The watermark goes first: a task whose log is not known to be folded would
        be built anew from its log after a crash.
        """
        self._folding.complete()
        self._folding.save_watermark()
        connection = self._opened.connection
        connection.execute("begin")
        try:
            connection.execute(
                "create or replace temp table doomed as select id, seq from tasks "
                f"where status in ({_ENDED}) and completed_at <= ? and {_NOT_NEEDED} "
                f"order by seq limit {BATCH}",
                [self._before],
            ).fetchall()
            [(count, first, *ids)] = connection.execute(
                "select count(*), min(seq), min(id), max(id) from doomed"
            ).fetchall()
            if count:
                connection.execute(
                    "delete from tasks where id in (select id from doomed)"
                ).fetchall()
                connection.execute(
                    "delete from task_logs where task_id between ? and ? "
                    "and task_id in (select id from doomed)",
                    ids,
                ).fetchall()
                if not self._keep_history:
                    connection.execute(
                        "delete from transitions where seq >= ? "
                        "and task_id in (select id from doomed)",
                        [first],
                    ).fetchall()
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        return int(count)
