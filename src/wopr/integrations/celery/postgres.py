"""Word of calls in a table of PostgreSQL, for a Celery app without a result backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wopr.domain.address import PostgresAddress, database_of
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.integrations.celery.mailbox import Kind, Word
from wopr.storage.postgres.words import Words


class PostgresMailbox:
    """A table ``wopr_celery``, made when it is first used, in the database of the queue or another.

    Args:
        address: ``postgresql://user@host/name``.

    Raises:
        InvalidCallError: it is no such address.
        StorageError: psycopg is not installed.
    """

    def __init__(self, address: str) -> None:
        found = database_of(address)
        if not isinstance(found, PostgresAddress):
            raise InvalidCallError(
                f"PostgresMailbox() takes the address of a database, like "
                f"postgresql://user@host/name, not {shown(found)}."
            )
        self._words = Words(found)

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Return what is known of calls, by one question."""
        return {id: Word(Kind(kind), word or "") for id, kind, word in self._words.look(ids)}

    def begun(self, id: str, text: str) -> None:
        """Write that it runs, unless it has ended."""
        self._words.write(id, Kind.BEGUN.value, text, over_others=False)

    def done(self, id: str, text: str) -> None:
        """Write the result."""
        self._words.write(id, Kind.DONE.value, text)

    def raised(self, id: str, text: str) -> None:
        """Write the error."""
        self._words.write(id, Kind.RAISED.value, text)

    def stop(self, id: str) -> None:
        """Write that it is to stop, and drop what is older than a day."""
        self._words.stop(id)

    def stopped(self, id: str) -> bool:
        """Whether that was written."""
        return self._words.stopped(id)

    def forget(self, id: str) -> None:
        """Delete its row."""
        self._words.forget(id)

    def close(self) -> None:
        """Close the connection of this process; the next call makes a new one."""
        self._words.close()
