"""An outcome on its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wopr.domain.outcome import Outcome
from wopr.domain.transition import Transition
from wopr.engine.shared import Following
from wopr.running.attempt import Attempt

if TYPE_CHECKING:
    from wopr.running.runs import Runs


class Settling:
    """What the runs have to know when it learns what became of the write.

    One object instead of closures: ten of those per task kept the garbage collector busy.
    """

    __slots__ = ("attempt", "elapsed", "following", "outcome", "runs", "transition")

    def __init__(
        self,
        runs: Runs,
        attempt: Attempt,
        outcome: Outcome,
        elapsed: float,
        transition: Transition,
        following: Following | None,
    ) -> None:
        self.runs = runs
        self.attempt = attempt
        self.outcome = outcome
        self.elapsed = elapsed
        self.transition = transition
        self.following = following

    def __call__(self, error: BaseException | None) -> None:
        """Be the ``done`` of the write."""
        self.runs.settled(self, error)
