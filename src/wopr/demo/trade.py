"""What the demo's shop does: its kinds of tasks, how long they take, and what goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from wopr.domain.status import TaskPriority
from wopr.domain.task import UNLIMITED_RETRIES


class CardDeclinedError(Exception):
    """The bank said no."""


class MailServerError(Exception):
    """The mail server hung up."""


class UnreadablePhotoError(Exception):
    """What was uploaded is no photo."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One way to fail."""

    share: float
    """Of the attempts."""
    error: type[Exception]
    text: str
    """With ``{n}`` and ``{hex}`` for what differs each time."""
    final: bool = False
    """Whether another attempt would not help."""

    def say(self, rng: random.Random) -> str:
        """Return what the error says."""
        return self.text.format(n=rng.randrange(1_000, 99_999), hex=f"c{rng.getrandbits(28):07x}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of task."""

    category: str
    seconds: float
    """Half of the attempts take no longer."""
    priority: TaskPriority = TaskPriority.NORMAL
    max_retries: int = 3
    troubles: tuple[Trouble, ...] = ()
    progress: bool = False
    """Whether it reports how far it is."""

    def takes(self, rng: random.Random) -> float:
        """Return how long one attempt takes, in seconds: few take very long."""
        return min(self.seconds * math.exp(rng.gauss(0.0, 0.6)), 20 * self.seconds)

    def trouble(self, rng: random.Random, factor: float = 1.0) -> Trouble | None:
        """Return what goes wrong with one attempt; usually nothing."""
        drawn = rng.random()
        for one in self.troubles:
            drawn -= one.share * (1.0 if one.final else factor)
            if drawn < 0:
                return one
        return None


_GATEWAY = Trouble(
    0.008, TimeoutError, "the payment gateway did not answer within 10 s (request {hex})"
)
_DECLINED = Trouble(0.006, CardDeclinedError, "the card of customer {n} was declined", final=True)
_MAIL = Trouble(0.006, MailServerError, "mx2.example.org closed the connection after {n} bytes")
_PHOTO = Trouble(0.012, UnreadablePhotoError, "/srv/photos/{n}.jpg is no image", final=True)
_SEARCH = Trouble(0.003, ConnectionRefusedError, "[Errno 111] search-1:9200 refused the connection")
_HOOK = Trouble(0.06, ConnectionError, "hooks.example.org answered 503 (try again: {n})")

KINDS: Mapping[str, Kind] = {
    "payments.charge": Kind("payments", 1.4, TaskPriority.HIGH, 4, (_GATEWAY, _DECLINED)),
    "payments.refund": Kind("payments", 1.1, max_retries=4, troubles=(_GATEWAY,)),
    "reports.invoice": Kind("reports", 2.2),
    "shipping.label": Kind("shipping", 3.0, max_retries=2),
    "mail.receipt": Kind("mail", 0.5, TaskPriority.HIGH, 3, (_MAIL,)),
    "mail.password": Kind("mail", 0.4, TaskPriority.CRITICAL, 3, (_MAIL,)),
    "mail.newsletter": Kind("mail", 1.3, TaskPriority.LOW, 2, (_MAIL,)),
    "images.resize": Kind("images", 4.5, max_retries=1, troubles=(_PHOTO,)),
    "search.update": Kind("search", 0.2, max_retries=5, troubles=(_SEARCH,)),
    "search.reindex": Kind("search", 150.0, TaskPriority.LOW, 1, progress=True),
    "reports.daily": Kind("reports", 240.0, TaskPriority.LOW, 1, progress=True),
    "imports.feed": Kind("imports", 12.0, max_retries=2, progress=True),
    "shop.visitors": Kind("shop", 0.3),
    "wopr.notify": Kind("wopr.notifications", 0.4, TaskPriority.LOW, UNLIMITED_RETRIES, (_HOOK,)),
}
"""By the names of the tasks."""

WORKERS: Mapping[str, int] = {
    "payments": 3,
    "mail": 4,
    "images": 2,
    "reports": 1,
    "shipping": 1,
    "search": 2,
    "imports": 1,
    "shop": 1,
    "wopr.notifications": 1,
}
"""How many workers each category has."""
FEEDS = ("northwind", "acme", "globex")
"""Suppliers whose products are imported."""
BROKEN_FEED = Trouble(1.0, KeyError, "'price_net'")
"""What one of them has sent for a day."""
