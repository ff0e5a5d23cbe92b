"""Times as people type them: a moment, or how long ago, or from now. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from wopr.domain.checks import LONGEST_SECONDS

WHEN = "2h, 30min, 7d, or a time with its zone like 2030-05-17T12:00Z"

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|min|m|h|d|w)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def typed_time(text: str) -> datetime | timedelta:
    """Return a moment, or a length of time.

    Raises:
        ValueError: it is neither, or could be several: without a zone, or longer than any.
    """
    if (span := _SPAN.fullmatch(text.strip())) is not None:
        seconds = float(span[1]) * _UNITS[span[2]]
        if seconds > LONGEST_SECONDS:
            raise ValueError(text)
        return timedelta(seconds=seconds)
    moment = datetime.fromisoformat(text.strip())
    if moment.utcoffset() is None:
        raise ValueError(text)
    return moment
