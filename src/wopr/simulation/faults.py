"""What goes wrong in a simulation, and when: by chance, and the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from wopr.domain.checks import check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown

SYNCED = 0.05
"""How often a group of writes is followed by a sync that nobody waits for."""
_SECONDS = {"slowest_commit", "furthest", "until"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often what goes wrong in a simulation. All but the seconds are chances, from 0 to 1."""

    crash: float = 0.0005
    """The process dies; at each turn of its event loop, and after each write it hands over."""
    power_cut: float = 0.0
    """The machine dies, at a turn of the event loop: with ``WOPR_TASKS_SYNC=process`` what was
    acknowledged and not yet synced is lost, too."""
    commit_fails: float = 0.02
    """The disk refuses a group of writes."""
    slow_commit: float = 0.1
    """A group of writes takes a while."""
    slowest_commit: float = 2.0
    """Seconds that it takes then, at most."""
    read_fails: float = 0.01
    """A question to the storage fails."""
    clock_set: float = 0.0002
    """The wall clock is set forward or back; at each turn of the event loop."""
    furthest: float = 300.0
    """Seconds that it is set by, at most."""
    until: float = 3600.0
    """Virtual seconds from the begin; after them nothing goes wrong any more."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _SECONDS:
                check_seconds(value, field.name, zero="allow")
            elif (
                not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1
            ):
                raise InvalidCallError(
                    f"{field.name} of Faults is a chance, a number from 0 to 1, not {shown(value)}."
                )

    @classmethod
    def none(cls) -> Faults:
        """Return that nothing goes wrong."""
        return cls(crash=0, commit_fails=0, slow_commit=0, read_fails=0, clock_set=0, until=0)


class Dice:
    """Says what goes wrong next."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)
        self.over = faults == Faults.none()
        """Whether nothing goes wrong any more."""

    def _falls(self, chance: float) -> bool:
        return not self.over and self._random.random() < chance

    def crashes(self) -> bool:
        """Whether the process dies now."""
        return self._falls(self._faults.crash)

    def cuts_power(self) -> bool:
        """Whether the machine dies now."""
        return self._faults.power_cut > 0 and self._falls(self._faults.power_cut)

    def syncs(self) -> bool:
        """Whether the system writes to the disk what it has in memory."""
        return self._random.random() < SYNCED

    def choose(self, count: int) -> int:
        """Return a number below this one."""
        return self._random.randrange(count)

    def lands(self) -> bool:
        """Whether writes that were under way when the process died are on disk."""
        return self._random.random() < 0.5

    def commit_fails(self) -> bool:
        """Whether the disk refuses this group of writes."""
        return self._falls(self._faults.commit_fails)

    def commit_seconds(self) -> float:
        """Return how long this group of writes takes; 0: it is on disk at once."""
        if self._falls(self._faults.slow_commit):
            return self._random.random() ** 3 * self._faults.slowest_commit
        return 0.0 if self.over or self._random.random() < 0.5 else 0.0005

    def at_once(self) -> bool:
        """Whether a lone write is made where it stands."""
        return self.over or self._random.random() < 0.5

    def read_fails(self) -> bool:
        """Whether this question fails."""
        return self._falls(self._faults.read_fails)

    def clock_step(self) -> float:
        """Return by how many seconds the wall clock is set now; 0: it is not."""
        if not self._falls(self._faults.clock_set):
            return 0.0
        return self._random.uniform(-self._faults.furthest, self._faults.furthest)
