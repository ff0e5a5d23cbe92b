"""What was tried, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faults.torture.cases import Case, Image


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    hit: bool = True
    """Whether the child came to the operation at all."""
    problems: str = ""
    images: int = 0
    """So often it was judged what was left."""
    equal: int = 0
    """So many of them were equal to one that was judged before."""


class Tally:
    """What was tried, and what came of it; told at the end."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.all = Counter(case.kind for case in cases)
        self.tried: Counter[tuple[str, str]] = Counter()
        self.missed: Counter[tuple[str, str]] = Counter()
        self.failures: list[Outcome] = []
        self.images = self.equal = self.faults = 0

    def note(self, outcome: Outcome) -> None:
        """Count a case."""
        self.tried[outcome.case.kind] += 1
        self.missed[outcome.case.kind] += not outcome.hit
        self.images += outcome.images
        self.equal += outcome.equal
        self.faults += not isinstance(outcome.case.what, Image)
        if outcome.problems:
            self.failures.append(outcome)

    def _reached(self, label: str, mode: str) -> str:
        return f"{self.tried[label, mode] - self.missed[label, mode]}/{self.all[label, mode]}"

    def table(self) -> str:
        """Return the counts by kind of operation and mode, and the share of all."""
        lines = ["operation: mode, how often tried of how many, without those never reached"]
        for label in sorted({label for label, _ in self.all}):
            modes = [mode for one, mode in sorted(self.all) if one == label]
            shown = (f"{mode} {self._reached(label, mode)}" for mode in modes)
            lines.append(f"{label + ':':<18} {', '.join(shown)}")
        tried, count = self.tried.total(), self.all.total()
        kinds = sum(1 for kind in self.all if self.tried[kind] > self.missed[kind])
        lines.append(
            f"{tried} of {count} cases ({tried / count:.1%}): {self.faults} faults, "
            f"{tried - self.faults} deaths of the process or the machine; "
            f"{kinds} of {len(self.all)} kinds of operation and mode; "
            f"{self.images} times it was judged what was left, and {self.equal} times that was "
            f"equal to what was judged before; "
            f"{self.missed.total()} times the child did not come to the operation; "
            f"{len(self.failures)} failures."
        )
        return "\n".join(lines)


def again(outcome: Outcome, seed: int, folder: Path) -> str:
    """Say what failed, where it lies, and how to see it again."""
    return (
        f"FAILED {outcome.case}\n{outcome.problems}\n"
        f"  its files: {folder / outcome.case.folder}\n"
        f"  again: scripts/torture --seed {seed} --only {outcome.case}"
    )
