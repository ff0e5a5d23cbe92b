"""The one place that reads time or randomness."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the records hold times
_END = (1 << 48) - 1
"""The last twelve hexadecimal digits of an id."""

_since_boot: Callable[[], float] = time.monotonic
if hasattr(
    time, "CLOCK_BOOTTIME"
):  # Linux, whose other monotonic clock stops while it is suspended
    _since_boot = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class Clock(Protocol):
    """Source of time; tests inject their own."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for measuring durations.

        They should go on while the machine is suspended: else its waking up looks like a wall
        clock that was set forward.
        """
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds since the machine was booted, where there is a clock of that."""
        return _since_boot()


def naive_now(clock: Clock) -> datetime:
    """Return the time as records hold it: UTC, without a zone."""
    return clock.now().replace(tzinfo=None)


class IdFactory:
    """Make task ids: UUIDv7 (RFC 9562) that always increase within a process.

    The time part never goes back, even when the system clock does, so that ids
    keep following the order of enqueueing. Twelve bits count within a
    millisecond; 62 bits are random.

    Args:
        stem: the last twelve hexadecimal digits of all of them, instead of random ones.
    """

    def __init__(self, stem: str | None = None) -> None:
        self._end = None if stem is None else int(stem, 16)
        self._now: datetime | None = None
        self._tick = 0  # milliseconds << 12 | counter
        self._millis = 0
        self._head = ""

    def new(self, now: datetime) -> str:
        """Return a new id in its canonical text form; ``now`` is naive UTC."""
        if now is not self._now:  # a bulk call gives the same moment again and again
            self._now = now
            since = now - _EPOCH
            millis = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
            self._tick = max(self._tick, (millis << 12) - 1)
        self._tick = tick = self._tick + 1
        if tick >> 12 != self._millis:
            self._millis = tick >> 12
            self._head = f"{tick >> 28:08x}-{tick >> 12 & 0xFFFF:04x}-7"
        bits = random.getrandbits(62) | 1 << 63
        end = bits & _END if self._end is None else self._end
        # Twice as fast as an f-string with these formats.
        return "%s%03x-%x-%012x" % (self._head, tick & 0xFFF, bits >> 48, end)  # noqa: UP031


def new_stem() -> str:
    """Return twelve hexadecimal digits that ids end with, which nobody else has."""
    return secrets.token_hex(6)


def new_identity() -> bytes:
    """Return 16 bytes that name something for ever, such as a database."""
    return secrets.token_bytes(16)


def salt() -> int:
    """Return a number of 63 bits that nobody can guess."""
    return secrets.randbits(63)


def boot_id() -> str:
    """Return what identifies this boot of the machine, or an empty text."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


# A forked child must not repeat its parent's ids.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=random.seed)
