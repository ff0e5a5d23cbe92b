"""Tasks as methods of a class that holds what they need; run by workers, and directly."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from wopr import TaskQueue
from wopr.handlers import DirectTaskExecutor, DirectTaskInvocation, TaskHandler, task

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Ledger:
    def __init__(self) -> None:
        self.entries = {"engines": [120, 80], "looms": [45]}

    def total(self, customer: str) -> int:
        return sum(self.entries.get(customer, []))


@TaskHandler(category="billing")
class Billing:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    @task
    def invoice(self, number: int) -> str:
        return f"invoice {number}: {tenant.get()} owes {self.ledger.total(tenant.get())}"

    @task(max_retries=3)
    async def remind(self, number: int) -> str:
        return f"reminder of {self.invoice(number)}"


queue = TaskQueue(enabled=True)
queue.propagate(tenant)
billing = queue.register_handler(Billing, factory=lambda: Billing(Ledger()))


async def main() -> None:
    async with queue:
        await queue.start_workers("billing", 2)
        handles = []
        for number, customer in enumerate(("engines", "looms"), start=1):
            tenant.set(customer)  # goes along with what is enqueued from here
            handles.append(await billing.task(Billing.invoice).enqueue(number))
            handles.append(await billing.task(Billing.remind).enqueue(number))
        for handle in handles:
            print(await handle.result(timeout=10))

        now = DirectTaskInvocation(handler_type=Billing, method_name="invoice", args=(3,))
        print("directly,", DirectTaskExecutor(queue).execute(now))


asyncio.run(main())
