"""Which cases there are: every operation that was recorded, and every fault that fits it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.torture import images
from faults.torture.images import Operation
from faults.torture.worker import Fault

DATABASE = "tasks.duckdb"
POWER = "power"
KILLED = "killed"
DEADLY = {"after", "half"}
RUN = 30
MODES: dict[str, tuple[str, ...]] = {
    "create": ("eio", f"enospcx{RUN}"),
    "write": ("eio", "short", f"enospcx{RUN}"),
    "append": ("eio", "short", "lost", f"enospcx{RUN}"),
    "sync": ("eio", "lost", f"eiox{RUN}"),
    "names": ("eio",),
    "size": ("eio",),
    "rename": ("eio", "enospc"),
    "unlink": ("eio",),
}
CUTS = 2
"""How often the power is cut at one point: each time something else of what was not synced is
left."""
KINDS = {"C": "create", "W": "write", "A": "append", "S": "sync", "N": "names"}
KINDS |= {"T": "size", "R": "rename", "U": "unlink"}


@dataclass(frozen=True)
class Image:
    """What is left of the recorded run when the process or the machine dies at an operation."""

    label: str
    what: str
    """``killed``: before it, and behind each page of it; ``power``: the machine, meanwhile."""
    number: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.label.replace(' ', ':')}:{self.number}:{self.what}:{self.seed}"


@dataclass(frozen=True)
class Case:
    """A fault in a child, or a death in the record of one, over one of the directories."""

    start: str
    what: Fault | Image

    def __str__(self) -> str:
        return f"{self.start}/{self.what}"

    @property
    def folder(self) -> str:
        """The name of the directory in which it happens."""
        return str(self).replace("/", "-").replace(":", "-")

    @classmethod
    def parse(cls, text: str) -> Case:
        """Return what ``str()`` made of a case."""
        start, _, what = text.partition("/")
        match what.split(":"):
            case [kind, name, number, how, seed]:
                return cls(start, Image(f"{kind} {name}", how, int(number), int(seed)))
        return cls(start, Fault.parse(what))

    @property
    def kind(self) -> tuple[str, str]:
        """What is counted together: label and mode."""
        if isinstance(self.what, Image):
            return self.what.label, self.what.what
        run = f"x{self.what.run}" if self.what.run > 1 else ""
        return self.what.label, self.what.mode + run


@dataclass
class Start:
    """A directory to begin with, and what a child does to it when nothing goes wrong."""

    name: str
    folder: Path
    said: list[str]
    kind: str
    operations: list[Operation] = field(default_factory=list)

    def cases(self, chance: random.Random) -> Iterator[Case]:
        """Give every fault, and every death of the process and of the machine.

        One death of each label really happens: a record is right only if that leaves the same.
        """
        counts: Counter[str] = Counter()
        for number, one in enumerate(self.operations):
            if one.kind not in KINDS:
                continue
            label = label_of(one)
            counts[label] += 1
            yield Case(self.name, Image(label, KILLED, number))
            if one.kind in images.SYNCS:
                for seed in range(CUTS):
                    yield Case(self.name, Image(label, POWER, number, seed))
            for mode in MODES[KINDS[one.kind]]:
                name, _, run = mode.partition("x")
                yield Case(self.name, Fault(label, counts[label], name, int(run or 1)))
        for label, count in sorted(counts.items()):
            mode = "half" if label.startswith(("write", "append")) else "after"
            yield Case(self.name, Fault(label, chance.randint(1, count), mode))


def label_of(one: Operation) -> str:
    """Return what it is, and to what kind of file; the same as in ``shim.c``."""
    return f"{KINDS[one.kind]} {class_of(one.other or one.name)}"


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
    """Return all cases: one of each kind first, then faults and deaths in turns."""
    first = list({case.kind: case for case in cases}.values())
    seen = set(first)
    faults = [case for case in cases if isinstance(case.what, Fault) and case not in seen]
    deaths = [case for case in cases if isinstance(case.what, Image) and case not in seen]
    turns = itertools.chain.from_iterable(itertools.zip_longest(faults, deaths))
    return [*first, *(case for case in turns if case is not None)]
