"""The demo's shop: what an application's module of tasks looks like, declared without a queue.

``wopr worker wopr.demo.shopqueue:queue`` runs it on a database that ``wopr demo --history`` made.
The tasks take as long as real ones, and fail as often; they do nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from wopr import RetryPolicy, current_task, schedule, task
from wopr.demo.trade import (
    BROKEN_FEED,
    FEEDS,
    KINDS,
    CardDeclinedError,
    UnreadablePhotoError,
)

log = logging.getLogger("shop")

VISITS = 60
"""So many visits are made up for each ten minutes, while somebody runs the shop."""
STEPS = 20
_POLICY = RetryPolicy(dont_retry=(CardDeclinedError, UnreadablePhotoError))


def _options(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    return {
        "name": name,
        "category": kind.category,
        "priority": kind.priority,
        "max_retries": kind.max_retries,
        "retry": _POLICY,
    }


async def _work(seconds: float | None = None) -> random.Random:
    """Take as long as such a task takes, and fail as often."""
    running = current_task()
    kind = KINDS[running.name]
    rng = random.Random(f"{running.id} {running.attempt}")
    seconds = kind.takes(rng) if seconds is None else seconds
    trouble = kind.trouble(rng)
    for step in range(1, (STEPS if kind.progress else 1) + 1):
        await asyncio.sleep(seconds / (STEPS if kind.progress else 1))
        if kind.progress:
            running.progress(100 * step / STEPS, f"part {step} of {STEPS}")
    if trouble is not None:
        text = trouble.say(rng)
        log.warning("It goes wrong: %s", text)
        raise trouble.error(text)
    return rng


@task(**_options("payments.charge"))
async def charge(order: int, amount: float) -> dict[str, Any]:
    """Take the money for an order."""
    rng = await _work()
    return {"order": order, "amount": amount, "payment": f"pay_{rng.getrandbits(40):010x}"}


@task(**_options("payments.refund"))
async def refund(order: int, amount: float) -> dict[str, Any]:
    """Give the money back."""
    await _work()
    return {"order": order, "refunded": amount}


@task(**_options("reports.invoice"))
async def invoice(order: int) -> str:
    """Write an invoice."""
    await _work()
    return f"/srv/invoices/{order}.pdf"


@task(**_options("shipping.label"))
async def label(order: int) -> str:
    """Order a parcel label."""
    await _work()
    return f"/srv/labels/{order}.pdf"


@task(**_options("mail.receipt"))
async def receipt(order: int, to: str) -> str:
    """Tell a customer that the order is on its way."""
    await _work()
    return f"sent to {to}"


@task(**_options("mail.password"))
async def password(to: str) -> str:
    """Send a link for a new password."""
    await _work()
    return f"sent to {to}"


@task(**_options("mail.newsletter"))
async def newsletter(campaign: str, to: str) -> str:
    """Send one newsletter to one customer."""
    await _work()
    return f"sent to {to}"


@task(**_options("images.resize"))
async def resize(path: str, width: int) -> dict[str, Any]:
    """Make a photo smaller."""
    rng = await _work()
    return {"path": path.replace(".jpg", f"-{width}.jpg"), "bytes": rng.randrange(20_000, 400_000)}


@task(**_options("search.update"))
async def update(product: int) -> None:
    """Tell the search index of a product that has changed."""
    await _work()


@schedule(name="reindex", crontab="17 * * * *")
@task(**_options("search.reindex"))
async def reindex() -> dict[str, int]:
    """Build the search index anew."""
    rng = await _work()
    return {"products": rng.randrange(41_000, 42_000)}


@schedule(name="daily report", at="05:00")
@task(**_options("reports.daily"))
async def daily() -> dict[str, Any]:
    """Sum a day up."""
    rng = await _work()
    return {"orders": rng.randrange(900, 1_600), "revenue": round(rng.uniform(3e4, 9e4), 2)}


@task(**_options("imports.feed"))
async def feed(supplier: str) -> dict[str, int]:
    """Import the products of a supplier."""
    if supplier == FEEDS[-1]:
        await asyncio.sleep(2.0)
        raise BROKEN_FEED.error("price_net")
    rng = await _work()
    return {"products": rng.randrange(2_000, 9_000), "changed": rng.randrange(200)}


for _supplier in FEEDS:
    schedule(name=f"feed {_supplier}", every=1800, args=(_supplier,))(feed)


@schedule(name="visitors", every=600, run_on_start=True)
@task(**_options("shop.visitors"))
async def visitors() -> int:
    """Make up what the visitors of the next ten minutes do."""
    rng = random.Random(current_task().id)
    for _ in range(VISITS):
        delay, order = rng.uniform(0, 600), rng.randrange(100_000, 999_999)
        amount, to = round(rng.uniform(9, 250), 2), f"customer{order % 5000}@example.org"
        what = rng.random()
        if what < 0.3:
            paid = await charge.options(delay=delay).enqueue(order, amount)
            await receipt.options(depends_on=[paid]).enqueue(order, to)
        elif what < 0.6:
            await update.options(delay=delay).enqueue(order % 40_000)
        elif what < 0.9:
            await resize.options(delay=delay).enqueue(f"/srv/photos/{order}.jpg", 800)
        else:
            await password.options(delay=delay).enqueue(to)
    return VISITS
