"""A clock that stands still until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wopr.domain.checks import check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """The time of a queue: ``TaskQueue(clock=FakeClock())``, or ``isolated(queue, clock=…)``.

    It says when delayed tasks, retries and schedules are due, and what times are stored. It
    does not shorten what really waits: timeouts of running functions, and ``sleep`` in them.

    Args:
        start: where it stands first, an aware datetime; noon of 1 January 2030, UTC.

    Raises:
        InvalidCallError: ``start`` has no time zone.
    """

    def __init__(self, start: datetime = START) -> None:
        if not isinstance(start, datetime) or start.tzinfo is None:
            raise InvalidCallError(
                f"FakeClock takes an aware datetime, like datetime(2030, 1, 1, tzinfo=UTC), not "
                f"{shown(start)}."
            )
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def __repr__(self) -> str:
        return f"<FakeClock {self._now.isoformat()}>"

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds that it was moved by."""
        return self._monotonic

    def advance(self, by: float | timedelta) -> datetime:
        """Move on and return the new time. What is due now runs with the next ``drain``.

        Args:
            by: seconds or a timedelta, not negative.

        Raises:
            InvalidCallError: ``by`` is no duration.
        """
        seconds = check_seconds(by, "by", zero="allow")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        return self._now
