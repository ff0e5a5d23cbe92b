"""A standing revocation, on hosts of which not all have the function."""

from __future__ import annotations

from support.queues import PATIENCE, PostgresHome
from wopr import TaskStatus


async def test_who_does_not_know_the_arguments_revokes_nothing(shared: PostgresHome) -> None:
    knows, strange = shared.queue(), shared.queue()

    @knows.task(name="mail")
    async def mail(customer: int | None) -> None: ...

    @strange.task(name="other")
    async def other() -> None: ...

    async with knows, strange:
        await knows.revoke(task="mail", where={"customer": None}, standing=True)
        about, not_about = await mail.enqueue(None), await mail.enqueue(1)
        await strange.start_workers("default", 2)
        await (await other.enqueue()).result(timeout=PATIENCE)
        await (await other.enqueue()).result(timeout=PATIENCE)
        assert TaskStatus.PENDING is (await not_about.info()).status
        await knows.start_workers("default", 1)
        await not_about.result(timeout=PATIENCE)
        assert TaskStatus.CANCELLED is (await knows.wait(about.id, timeout=PATIENCE)).status
