"""A shop that takes orders: a row of its own and a call in one transaction, on any database.

As a program it moves what was committed, and may be killed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Integer, MetaData, create_engine, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from wopr import Settings, TaskQueue
from wopr.integrations.outbox.sqlalchemy import Outbox

AT_ONCE = Settings(outbox_seconds=0.01)
NEVER = Settings(outbox_seconds=1_000)


def shop_queue(database: Path, settings: Settings = AT_ONCE, **more: Any) -> TaskQueue:
    """Return a queue with the task ``send``."""
    queue = TaskQueue(enabled=True, database=database, settings=settings, **more)

    @queue.task(name="send")
    async def send(order: int) -> int:
        return order

    return queue


class Shop:
    """Orders, and the outbox beside them."""

    def __init__(self, queue: TaskQueue, address: str) -> None:
        class Base(DeclarativeBase):
            metadata = MetaData()

        class Order(Base):
            __tablename__ = "orders"
            number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)

        self.orders = Order
        self.queue = queue
        self.engine: Engine | AsyncEngine
        asynchronous = "aiosqlite" in address or address.endswith("&async")
        address = address.removesuffix("&async")
        self.engine = create_async_engine(address) if asynchronous else create_engine(address)
        self.outbox = Outbox(queue, self.engine, metadata=Base.metadata)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session | AsyncSession]:
        """Give a session; its transaction is committed, unless something is raised."""
        if isinstance(self.engine, AsyncEngine):
            async with AsyncSession(self.engine) as session, session.begin():
                yield session
        else:
            with Session(self.engine) as session, session.begin():
                yield session

    async def order(self, *numbers: int) -> list[str]:
        """Take some orders in one transaction; return the ids of their tasks."""
        async with self.transaction() as session:
            session.add_all([self.orders(number=number) for number in numbers])
            return [self.outbox.enqueue(session, "send", (number,)) for number in numbers]

    async def create(self) -> None:
        """Create the tables."""
        metadata = self.outbox.metadata
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
        else:
            metadata.create_all(self.engine)

    async def counts(self) -> tuple[int, int]:
        """Return how many orders and how many rows of the outbox there are."""
        found = []
        async with self.transaction() as session:
            for table in (self.orders, self.outbox.table):
                asked = session.scalar(select(func.count()).select_from(table))
                found.append(await asked if isinstance(session, AsyncSession) else asked)
        return found[0], found[1]

    async def close(self) -> None:
        """Let go of the database."""
        disposing: Any = self.engine.dispose()
        if disposing is not None:
            await disposing


async def main(database: str, address: str) -> None:
    """Take three orders, and move them."""
    shop = Shop(shop_queue(Path(database), NEVER), address)
    async with shop.queue:
        await shop.order(1, 2, 3)
        print("ordered", flush=True)
        await shop.outbox.move()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
