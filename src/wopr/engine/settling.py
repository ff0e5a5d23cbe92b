"""An outcome on its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wopr.domain.outcome import Outcome
from wopr.domain.transition import Transition
from wopr.engine.attempt import Attempt
from wopr.engine.services import Following

if TYPE_CHECKING:
    from wopr.engine.pool import Pool


class Settling:
    """What a pool has to know when it learns what became of the write.

    One object instead of closures: ten of those per task kept the garbage collector busy.
    """

    __slots__ = ("attempt", "elapsed", "following", "outcome", "pool", "transition")

    def __init__(
        self,
        pool: Pool,
        attempt: Attempt,
        outcome: Outcome,
        elapsed: float,
        transition: Transition,
        following: Following | None,
    ) -> None:
        self.pool = pool
        self.attempt = attempt
        self.outcome = outcome
        self.elapsed = elapsed
        self.transition = transition
        self.following = following

    def __call__(self, error: BaseException | None) -> None:
        """Be the ``done`` of the write."""
        self.pool.settled(self, error)
