"""Let cases happen, and judge what is left.

A campaign begins with three directories: an empty one, one that a killed process left, and
one that the power left in the midst of a checkpoint. What a child does to each is recorded
once; so it is known how many operations of each label there are. A case is one of them and
what happens there, or a power cut at one of the points where something is synced. When
the child outlives its fault, the power may go later on, too.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from faults.torture import images
from faults.torture.cases import DATABASE, DEADLY, Case, Start, class_of
from faults.torture.images import Operation
from faults.torture.tally import Outcome
from faults.torture.worker import Fault, Job, Worker
from wopr.storage.duckdb.file.blocks import is_whole
from wopr.storage.duckdb.file.saved import unpack


def build_shim(folder: Path) -> Path:
    """Compile the shim."""
    shim = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = ["-shared", "-fPIC", "-O1"]
    subprocess.run(["cc", *flags, "-o", shim, source, "-ldl", "-lpthread"], check=True)
    return shim


CUT_TOO = 0.3
"""How often the power goes after a fault, too."""


class Campaign:
    """All cases over three directories; ``seed`` chooses them and what the children do."""

    def __init__(self, folder: Path, seed: int, worker: Worker) -> None:
        self.folder = folder
        self.seed = seed
        self.starts: dict[str, Start] = {}
        self._add(worker, "empty", [], "short")
        said = self._kill(worker, self._new("killed"))
        killed = self._add(worker, "killed", said, "long")
        self._add(worker, "torn", self._tear(killed, self._new("torn")), "long")

    def _new(self, name: str) -> Path:
        folder = self.folder / "starts" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _kill(self, worker: Worker, folder: Path) -> list[str]:
        """Leave what a process does that was killed in the midst of an append."""
        said = self.folder / "starts" / "said"
        fault = Fault("append journal", 60, "half")
        code = worker.run(Job(folder, said, self.seed, "long", fault=fault))
        assert code == -signal.SIGKILL, f"the first child ended with {code}"
        return said.read_text().splitlines()

    def _tear(self, start: Start, folder: Path) -> list[str]:
        """Leave what a power cut does in a checkpoint, with a block that is torn."""
        inside = [
            point
            for point in images.sync_points(start.operations)
            if class_of(start.operations[point].name) == "database"
        ]
        chance = random.Random(self.seed)
        for seed in range(1_000):
            shutil.rmtree(folder)
            folder.mkdir()
            point = chance.choice(inside)
            said = images.image(start.folder, start.operations, point, seed, folder)
            if _is_torn(folder / DATABASE):
                return [*start.said, *said]
        raise AssertionError("no power cut tears a block")

    def _add(self, worker: Worker, name: str, said: list[str], kind: str) -> Start:
        """Note a directory to begin with, and record what a child does to it."""
        start = Start(name, self._new(name), said, kind)
        disk, trace = self.folder / "starts" / f"{name}.disk", self.folder / "starts" / "trace"
        _copy(start.folder, disk)
        report = self.folder / "starts" / "report"
        job = Job(disk, Path(os.devnull), self.seed + 1, kind, report, str(trace))
        code = worker.run(job)
        assert code == 0, f"without a fault, the child ended with {code}: {report.read_text()}"
        start.operations = list(images.read(trace))
        trace.unlink()
        shutil.rmtree(disk)
        self.starts[name] = start
        return start

    def cases(self) -> list[Case]:
        """Return all, in a random order."""
        found = [case for start in self.starts.values() for case in start.cases()]
        random.Random(self.seed).shuffle(found)
        return found

    def run(self, case: Case, worker: Worker) -> Outcome:
        """Let it happen, and judge what is left; that is kept if anything is wrong."""
        folder = self.folder / case.folder
        folder.mkdir()
        start = self.starts[case.start]
        chance = random.Random(f"{self.seed} {case}")
        _note(folder / "said", start.said)
        hit = True
        if case.fault is None:
            self._cut(start, start.operations, case.point, case.seed, folder)
            problems = self._judge(chance, folder, worker)
        else:
            hit, problems = self._torture(case.fault, start, folder, worker)
            problems = problems or self._judge(chance, folder, worker)
            if not problems and case.fault.mode not in DEADLY and chance.random() < CUT_TOO:
                problems = self._cut_too(start, folder, chance, worker)
        if not problems:
            shutil.rmtree(folder)
        return Outcome(case, hit, problems)

    def _torture(
        self, fault: Fault, start: Start, folder: Path, worker: Worker
    ) -> tuple[bool, str]:
        """Let a child run into a fault; return whether it did, and what is wrong."""
        _copy(start.folder, folder / "disk")
        report, trace = folder / "report", str(folder / "trace")
        job = Job(folder / "disk", folder / "said", self.seed + 1, start.kind, report, trace, fault)
        code = worker.run(job)
        text = report.read_text()
        hit = text.startswith(fault.label)
        wanted = -signal.SIGKILL if hit and fault.mode in DEADLY else 0
        return hit, "" if code == wanted else f"the child ended with {code}: {text}"

    def _cut_too(self, start: Start, folder: Path, chance: random.Random, worker: Worker) -> str:
        """Cut the power somewhere in what a child did that had a fault; judge what is left."""
        operations = list(images.read(folder / "trace"))
        point = chance.choice(images.sync_points(operations))
        cut = folder / "cut"
        cut.mkdir()
        _note(cut / "said", start.said)
        self._cut(start, operations, point, chance.randrange(1 << 30), cut)
        problems = self._judge(chance, cut, worker)
        return f"with a power cut at {point} beside it, {problems}" if problems else ""

    @staticmethod
    def _cut(
        start: Start, operations: list[Operation], point: int, seed: int, folder: Path
    ) -> None:
        (folder / "disk").mkdir()
        said = images.image(start.folder, operations, point, seed, folder / "disk")
        _note(folder / "said", said)

    @staticmethod
    def _judge(chance: random.Random, folder: Path, worker: Worker) -> str:
        """Have a copy of what is left judged; return what is wrong."""
        _copy(folder / "disk", folder / "judged")
        report = folder / "judged.txt"
        seed = chance.randrange(1 << 30)
        code = worker.run(Job(folder / "judged", folder / "said", seed, "judge", report))
        return "" if code == 0 else f"judged {code}: {report.read_text()}"


def _note(said: Path, lines: Iterable[str]) -> None:
    with said.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def _is_torn(path: Path) -> bool:
    """Whether a block is neither as it was saved nor whole."""
    try:
        saved = unpack(path.with_name(path.name + ".blocks").read_bytes())
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    if saved is None:
        return False
    starts = {saved.headers.offset(block): old for block, old in saved.blocks.items()}
    size = saved.headers.block_size
    found = {at: content[at : at + size] for at in starts}
    return any(found[at] != starts[at] and not is_whole(found[at]) for at in starts)


def run_all(
    campaign: Campaign, cases: Iterable[Case], workers: Sequence[Worker]
) -> Iterator[Outcome]:
    """Run cases, one at a time for each worker, and give what comes of them as it comes."""
    todo = iter(cases)
    with ThreadPoolExecutor(len(workers)) as pool:
        running: dict[Future[Outcome], Worker] = {}
        free = list(workers)
        while True:
            for case in itertools.islice(todo, len(free)):
                worker = free.pop()
                running[pool.submit(campaign.run, case, worker)] = worker
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                free.append(running.pop(future))
                yield future.result()


def _copy(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.sock"))
