"""What was tried, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faults.torture.cases import POWER, Case


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    hit: bool
    """Whether the child came to the operation at all."""
    problems: str = ""


class Tally:
    """What was tried, and what came of it; told at the end."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.all = Counter(case.kind for case in cases)
        self.tried: Counter[tuple[str, str]] = Counter()
        self.missed: Counter[tuple[str, str]] = Counter()
        self.failures: list[Outcome] = []

    def note(self, outcome: Outcome) -> None:
        """Count a case."""
        self.tried[outcome.case.kind] += 1
        self.missed[outcome.case.kind] += not outcome.hit
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
        images_tried = self.tried[POWER]
        lines.append(
            f"{tried} of {count} cases ({tried / count:.1%}): {tried - images_tried} faults, "
            f"{images_tried} power cuts; {kinds} of {len(self.all)} kinds of operation and mode; "
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
