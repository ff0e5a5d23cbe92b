"""Several triggers as one: whenever any of them fires, or only when all of them do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown
from wopr.domain.localtime import as_utc
from wopr.domain.monthly import Monthly
from wopr.domain.triggers import Interval, Trigger, TriggerJson

MOST_PARTS = 20
"""So many triggers one is made of, at whatever level: each look asks all of them."""
LEVELS = 3
MOST_STEPS = 500
"""So often one looks for a moment that all have; each step leaps to the latest of theirs."""

_TICK = timedelta(microseconds=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Fires whenever one of several triggers does, once where they coincide.

    Attributes:
        of: 2 to 20 triggers.

    Raises:
        InvalidScheduleSpecificationError: They are not.
    """

    of: tuple[Trigger, ...]

    def __post_init__(self) -> None:
        """Refuse what is not several triggers."""
        _check("any_of", self.of)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again."""
        times = [part.next_after(moment) for part in self.of]
        return min((one for one in times if one is not None), default=None)

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        return {"type": "any", "of": [part.to_json() for part in self.of]}

    def describe(self) -> str:
        """Return text like ``any of (daily at 09:00 UTC; cron '0 18 * * FRI' UTC)``."""
        return f"any of ({'; '.join(part.describe() for part in self.of)})"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Fires when all of several triggers fire at the same moment, to the microsecond.

    Attributes:
        of: 2 to 20 triggers. An ``Interval`` has to be anchored: else it counts from whenever
            the schedule was added, and meets nothing.

    Raises:
        InvalidScheduleSpecificationError: They are not, or they never fire together.
    """

    of: tuple[Trigger, ...]

    def __post_init__(self) -> None:
        """Refuse what is not several triggers, or never comes."""
        _check("all_of", self.of)
        if any(isinstance(part, Interval) and part.anchor is None for part in _leaves(self.of)):
            raise InvalidScheduleSpecificationError(
                "An interval counts from when its schedule is added, so it never fires at the same "
                "moment as the others in all_of. Give times of the clock on the wall, like "
                "{'cron': '*/15 * * * *'}."
            )
        open_ = any(isinstance(part, Monthly) and part.first is None for part in _leaves(self.of))
        if not open_ and self.next_after(_LONG_AGO) is None:
            raise InvalidScheduleSpecificationError(
                f"These never fire at the same moment, so all_of them never comes: "
                f"{'; '.join(part.describe() for part in self.of)}."
            )

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again."""
        moment = as_utc(moment, "The moment")
        for _ in range(MOST_STEPS):
            times = [part.next_after(moment) for part in self.of]
            found = [one for one in times if one is not None]
            if len(found) < len(times):
                return None
            latest = max(found)
            if min(found) == latest:
                return latest
            moment = latest - _TICK
        return None

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        return {"type": "all", "of": [part.to_json() for part in self.of]}

    def describe(self) -> str:
        """Return text like ``all of (daily at 09:00 UTC; cron '* * 1-7 * MON' UTC)``."""
        return f"all of ({'; '.join(part.describe() for part in self.of)})"


def _leaves(of: Sequence[Trigger]) -> list[Trigger]:
    """Return the triggers that are no combinations."""
    found: list[Trigger] = []
    for part in of:
        found += _leaves(part.of) if isinstance(part, AnyOf | AllOf) else [part]
    return found


def _levels(part: Trigger) -> int:
    return 1 + max(map(_levels, part.of)) if isinstance(part, AnyOf | AllOf) else 0


def _check(name: str, of: object) -> None:
    if not isinstance(of, tuple) or not all(hasattr(part, "next_after") for part in of):
        raise InvalidScheduleSpecificationError(
            f"{name} takes triggers, or dicts that say when, like [{{'at': '09:00'}}, "
            f"{{'cron': '0 18 * * FRI'}}], not {shown(of)}."
        )
    count = len(_leaves(of))
    if len(of) < 2 or count > MOST_PARTS or max(map(_levels, of)) >= LEVELS:
        raise InvalidScheduleSpecificationError(
            f"{name} takes 2 to {MOST_PARTS} triggers in all, {LEVELS} levels deep; these are "
            f"{count}."
        )
