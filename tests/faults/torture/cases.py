"""Which cases there are: every operation that was recorded, and every fault that fits it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.torture import images
from faults.torture.images import Operation
from faults.torture.worker import Fault

DATABASE = "tasks.duckdb"
POWER = ("power", "image")
KILLS = ("before", "after")
DEADLY = {*KILLS, "half", "sector"}
RUN = 30
MODES: dict[str, tuple[str, ...]] = {
    "create": (*KILLS, "eio", "enospc", f"enospcx{RUN}"),
    "write": (*KILLS, "half", "sector", "eio", "enospc", "short", f"eiox{RUN}", f"enospcx{RUN}"),
    "append": (*KILLS, "half", "sector", "eio", "enospc", "short", "lost", f"enospcx{RUN}"),
    "sync": (*KILLS, "eio", "lost", f"eiox{RUN}"),
    "names": (*KILLS, "eio"),
    "size": (*KILLS, "eio"),
    "rename": (*KILLS, "eio", "enospc"),
    "unlink": (*KILLS, "eio"),
}
KINDS = {"C": "create", "W": "write", "A": "append", "S": "sync", "N": "names"}
KINDS |= {"T": "size", "R": "rename", "U": "unlink"}


@dataclass(frozen=True)
class Case:
    """A fault, or a power cut, over one of the directories."""

    start: str
    fault: Fault | None = None
    point: int = 0
    seed: int = 0

    def __str__(self) -> str:
        what = self.fault or f"image:{self.point}:{self.seed}"
        return f"{self.start}/{what}"

    @property
    def folder(self) -> str:
        """The name of the directory in which it happens."""
        return str(self).replace("/", "-").replace(":", "-")

    @classmethod
    def parse(cls, text: str) -> Case:
        """Return what ``str()`` made of a case."""
        start, _, what = text.partition("/")
        if what.startswith("image:"):
            _, point, seed = what.split(":")
            return cls(start, None, int(point), int(seed))
        return cls(start, Fault.parse(what))

    @property
    def kind(self) -> tuple[str, str]:
        """What is counted together: label and mode."""
        if self.fault is None:
            return POWER
        run = f"x{self.fault.run}" if self.fault.run > 1 else ""
        return self.fault.label, self.fault.mode + run


@dataclass
class Start:
    """A directory to begin with, and what a child does to it when nothing goes wrong."""

    name: str
    folder: Path
    said: list[str]
    kind: str
    operations: list[Operation] = field(default_factory=list)

    def labels(self) -> Counter[str]:
        """Return how many operations of each label there were."""
        shown = (one for one in self.operations if one.kind in KINDS)
        return Counter(f"{KINDS[one.kind]} {class_of(one.other or one.name)}" for one in shown)

    def cases(self) -> Iterator[Case]:
        """Give every fault, and a power cut at each point."""
        for label, count in sorted(self.labels().items()):
            for mode in MODES[label.split()[0]]:
                name, _, run = mode.partition("x")
                for number in range(1, count + 1):
                    yield Case(self.name, Fault(label, number, name, int(run or 1)))
        for number, point in enumerate(images.sync_points(self.operations)):
            yield Case(self.name, None, point, number)


def class_of(name: str) -> str:
    """Return what kind of file has a name; the same as in ``shim.c``."""
    if not name:
        return "folder"
    _, _, suffix = name.partition(".duckdb")
    kinds = {".wal": "log", ".journal-": "journal", ".blocks": "blocks", ".lock": "lock"}
    kinds |= {".new-": "copy", ".tmp": "spill"}
    if ".duckdb" not in name or not suffix:
        return "database" if ".duckdb" in name else "other"
    return next((kind for start, kind in kinds.items() if suffix.startswith(start)), "aside")


def first_of_each(cases: Sequence[Case]) -> list[Case]:
    """Return all cases: one of each kind first, then faults and power cuts in turns."""
    first = list({case.kind: case for case in cases}.values())
    seen = set(first)
    faults = [case for case in cases if case.fault is not None and case not in seen]
    cuts = [case for case in cases if case.fault is None and case not in seen]
    turns = itertools.chain.from_iterable(itertools.zip_longest(faults, cuts))
    return [*first, *(case for case in turns if case is not None)]
