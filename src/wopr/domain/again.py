"""What a task's function raises to say by itself when it goes on."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from wopr.domain.checks import check_moment, check_seconds
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.domain.guarded import guarded, shown


class _AgainError(WoprError):
    """Holds plain values only, so that it comes whole from another process."""

    def __init__(self, when: float | timedelta | datetime | str, reason: str = "") -> None:
        self.seconds, self.until = _parts(when)
        self.reason = str(reason)
        due = f"in {self.seconds:g} s" if self.until is None else f"at {self.until}"
        super().__init__(f"again {due}{reason and ': '}{reason}")


class RetryAfter(_AgainError):  # noqa: N818 - raised to ask for something
    """Raised by a task's function: this attempt failed, and the next one is due then.

    Args:
        when: Seconds from now (a number or a timedelta), an aware datetime, or the text of an
            HTTP ``Retry-After`` header: seconds, or a date.
        reason: Goes into the error and the history.
        counted: Whether it uses up one of ``max_retries``. If it does and none is left, the
            task is FAILED; if not, nothing but the function itself ends that.

    Raises:
        InvalidCallError: ``when`` is none of these, negative, or has no time zone.
    """

    def __init__(
        self,
        when: float | timedelta | datetime | str,
        reason: str = "",
        *,
        counted: bool = True,
    ) -> None:
        super().__init__(when, reason)
        self.counted = counted


class Snooze(_AgainError):  # noqa: N818 - the same
    """Raised by a task's function: nothing is wrong, it goes on then.

    It costs no retry, and is no failure in history and statistics. The arguments are as for
    :class:`RetryAfter`.
    """


def _parts(when: object) -> tuple[float, str | None]:
    """Return seconds, or with a text a moment in ISO form, as naive UTC."""
    if isinstance(when, str):
        when = _header(when)
    if isinstance(when, datetime):
        return 0.0, check_moment(when, "when").isoformat()
    return check_seconds(when, "when", zero="allow"), None


def _header(text: str) -> float | datetime:
    """Read what HTTP has in ``Retry-After``."""
    if text.strip().isdecimal():
        return float(text)
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidCallError(
            f"when={shown(text)} is neither seconds nor a date of HTTP, like "
            "'Wed, 21 Oct 2026 07:28:00 GMT'."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def asked_delay(error: BaseException, now: datetime) -> float | None:
    """Return the seconds from ``now`` (naive UTC) that one of them asks for; ``None``: not one.

    A class of somebody's own may hold anything: what can't be read asks for nothing.
    """
    if not issubclass(type(error), _AgainError):
        return None
    return guarded(lambda: _delay(vars(error), now), None)


def _delay(values: dict[str, object], now: datetime) -> float | None:
    until, seconds = values["until"], values["seconds"]
    if until is not None:
        seconds = (datetime.fromisoformat(str(until)) - now).total_seconds()
    return max(float(seconds), 0.0) if math.isfinite(float(seconds)) else None  # type: ignore[arg-type]


def is_counted(error: BaseException) -> bool:
    """Whether a retry that was asked for uses up one of ``max_retries``."""
    return bool(guarded(lambda: vars(error)["counted"] is not False, True))


def asked_reason(error: BaseException, why: str) -> str:
    """Return what the history says of it."""
    said = guarded(lambda: vars(error)["reason"], "")
    return f"{why}: {said}" if isinstance(said, str) and said else why
