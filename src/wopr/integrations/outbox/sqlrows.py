"""The table of an outbox in a database that SQLAlchemy reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

from wopr.integrations.outbox.rows import MOST_ROWS, OutboxRow, within


def outbox_table(name: str, metadata: MetaData) -> Table:
    """Return the table of an outbox. No number is given twice, so their order is for ever."""
    number = Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    )
    return Table(
        name,
        metadata,
        number,
        Column("id", String(36), nullable=False, unique=True),
        Column("name", String(200), nullable=False),
        Column("call", Text, nullable=False),
        Column("created_at", DateTime, nullable=False),
        Column("error", Text),
        sqlite_autoincrement=True,
    )


def _locks(connection: Connection) -> bool:
    """Whether rows can be kept from other movers; else these find the same, which is harmless."""
    return connection.dialect.name == "postgresql"


def take(connection: Connection, table: Table) -> list[OutboxRow]:
    """Return the oldest rows, and have them for this transaction where the database can."""
    number, waits = table.c.number, table.c.error.is_(None)
    sized = select(number, func.length(table.c.call)).where(waits).order_by(number).limit(MOST_ROWS)
    if _locks(connection):
        sized = sized.with_for_update(skip_locked=True)
    found = [(row[0], row[1]) for row in connection.execute(sized)]
    oldest = connection.scalar(select(func.min(number)).where(waits))
    rows: list[OutboxRow] = []
    if found and found[0][0] == oldest:  # else another mover has older ones
        rows = _rows(connection, table, table.c.number.in_(within(found)))
    if not _locks(connection):
        connection.rollback()  # nobody is kept from writing while the tasks are enqueued
    return rows


def _rows(
    connection: Connection, table: Table, which: object, most: int = MOST_ROWS
) -> list[OutboxRow]:
    asked = select(table).where(which).order_by(table.c.number).limit(most)  # type: ignore[arg-type]
    return [OutboxRow(**row) for row in connection.execute(asked).mappings()]


def settle(
    connection: Connection, table: Table, moved: Sequence[int], refused: Mapping[int, str]
) -> None:
    """Delete what was moved, give an error to what was refused, and commit."""
    connection.execute(delete(table).where(table.c.number.in_(moved)))
    for number, error in refused.items():
        connection.execute(update(table).where(table.c.number == number).values(error=error))
    connection.commit()


def refused(connection: Connection, table: Table, most: int) -> list[OutboxRow]:
    """Return the oldest rows that have an error."""
    return _rows(connection, table, table.c.error.is_not(None), most)


def retry(connection: Connection, table: Table, ids: Sequence[str]) -> int:
    """Take the errors away from some rows, or from all; return from how many."""
    which = update(table).where(table.c.error.is_not(None)).values(error=None)
    if ids:
        which = which.where(table.c.id.in_(ids))
    count = connection.execute(which).rowcount
    connection.commit()
    return count
