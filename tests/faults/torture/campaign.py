"""Let cases happen, and judge what is left.

A campaign begins with some directories: an empty one, one that a killed process left, what that
one becomes when it is worked off, one that the power left in the midst of a checkpoint, and one
of an older version. What a child does to each is recorded once; so it is known how many
operations of each label there are. A case is a fault at one of them, in a child that does it all
again; or the death of the process or of the machine at one, for which the record is enough.
When a child outlives its fault, the power may go later on, too.
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
from faults.torture.cases import DATABASE, DEADLY, KILLED, Case, Start, class_of
from faults.torture.images import Left
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

MOST_PAGES = 8
"""Behind so many pages of a write of DuckDB a process is killed; another seed takes others. Its
blocks have 64 pages, and each that is torn is refused for its checksum: the one is as the other.
In a segment of the journal it is every page."""


class Campaign:
    """All cases over some directories; ``seed`` chooses them and what the children do."""

    def __init__(self, folder: Path, seed: int, worker: Worker) -> None:
        self.folder = folder
        self.seed = seed
        self.starts: dict[str, Start] = {}
        self._judged: set[bytes] = set()
        self._add(worker, "empty", [], "short")
        self._add(worker, "killed", self._kill(worker, self._new("killed")), "work")
        self._add(worker, "closed", self._end("killed", self._new("closed")), "compact")
        self._add(worker, "torn", self._tear("killed", self._new("torn")), "short")
        self._add(worker, "older", self._write_older(worker, self._new("older")), "short")

    def _new(self, name: str) -> Path:
        folder = self.folder / "starts" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_older(self, worker: Worker, folder: Path) -> list[str]:
        said = self.folder / "starts" / "said-older"
        assert worker.run(Job(folder, said, self.seed, "older")) == 0
        return said.read_text().splitlines()

    def _kill(self, worker: Worker, folder: Path) -> list[str]:
        """Leave what a process does that was killed in the midst of an append."""
        said = self.folder / "starts" / "said"
        fault = Fault("append journal", 30, "half")
        code = worker.run(Job(folder, said, self.seed, "work", fault=fault))
        assert code == -signal.SIGKILL, f"the first child ended with {code}"
        return said.read_text().splitlines()

    def _end(self, name: str, folder: Path) -> list[str]:
        """Leave what is there when a recorded child is done."""
        start = self.starts[name]
        disk = images.played(start.folder, start.operations, len(start.operations))
        folder.rmdir()
        images.write(disk.killed(), folder)
        return [*start.said, *_lines(disk.said)]

    def _tear(self, name: str, folder: Path) -> list[str]:
        """Leave what a power cut does in a checkpoint, with a block that is torn."""
        start = self.starts[name]
        inside = [
            point
            for point, one in enumerate(start.operations)
            if one.kind in images.SYNCS and class_of(one.name) == "database"
        ]
        chance = random.Random(self.seed)
        for seed in range(1_000):
            left, said = images.image(start.folder, start.operations, chance.choice(inside), seed)
            if _is_torn(left):
                folder.rmdir()
                images.write(left, folder)
                return [*start.said, *_lines(said)]
        raise AssertionError("no power cut tears a block")

    def _add(self, worker: Worker, name: str, said: list[str], kind: str) -> None:
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

    def cases(self) -> list[Case]:
        """Return all, in a random order."""
        chance = random.Random(self.seed)
        found = [case for start in self.starts.values() for case in start.cases(chance)]
        chance.shuffle(found)
        return found

    def run(self, case: Case, worker: Worker) -> Outcome:
        """Let it happen, and judge what is left; that is kept if anything is wrong."""
        folder = self.folder / case.folder
        folder.mkdir()
        start = self.starts[case.start]
        chance = random.Random(f"{self.seed} {case}")
        if isinstance(case.what, Fault):
            outcome = self._torture(case, case.what, start, folder, chance, worker)
        elif case.what.what == KILLED:
            outcome = self._kill_at(case, case.what.number, start, folder, chance, worker)
        else:
            image = case.what
            left, said = images.image(start.folder, start.operations, image.number, image.seed)
            outcome = Outcome(case)
            self._judge_image(outcome, left, [*start.said, *_lines(said)], folder, chance, worker)
        if not outcome.problems:
            shutil.rmtree(folder)
        return outcome

    def _kill_at(
        self,
        case: Case,
        number: int,
        start: Start,
        folder: Path,
        chance: random.Random,
        worker: Worker,
    ) -> Outcome:
        """Judge what a process leaves that is killed before an operation, and in its midst."""
        outcome, one = Outcome(case), start.operations[number]
        disk = images.played(start.folder, start.operations, number)
        said = [*start.said, *_lines(disk.said)]
        every = class_of(one.name) == "journal"
        inside = images.stops(one, chance, one.size if every else MOST_PAGES)
        self._judge_image(outcome, disk.killed(), said, folder / "before", chance, worker)
        for size in inside:
            images.write(disk.killed(one, size), folder / "pages" / str(size))
        if inside:
            _note(folder / "said", said)
            outcome.images += len(inside)
            report = folder / "judged.txt"
            code = worker.run(Job(folder / "pages", folder / "said", 0, "glance", report))
            outcome.problems += "" if code == 0 else f"glanced {code}: {report.read_text()}"
        return outcome

    def _judge_image(
        self,
        outcome: Outcome,
        left: Left,
        said: list[str],
        folder: Path,
        chance: random.Random,
        worker: Worker,
    ) -> None:
        """Judge what a death left, unless the same was judged before."""
        outcome.images += 1
        known = images.fingerprint(left, said)
        if known in self._judged:
            outcome.equal += 1
            return
        self._judged.add(known)
        images.write(left, folder / "disk")
        _note(folder / "said", said)
        outcome.problems += self._judge(chance, folder, worker)

    def _torture(
        self,
        case: Case,
        fault: Fault,
        start: Start,
        folder: Path,
        chance: random.Random,
        worker: Worker,
    ) -> Outcome:
        """Let a child run into a fault, and judge what it leaves."""
        cut_too = fault.mode not in DEADLY and chance.random() < CUT_TOO
        _copy(start.folder, folder / "disk")
        _note(folder / "said", start.said)
        report, trace = folder / "report", str(folder / "trace") if cut_too else ""
        job = Job(folder / "disk", folder / "said", self.seed + 1, start.kind, report, trace, fault)
        code = worker.run(job)
        text = report.read_text()
        hit = text.startswith(fault.label)
        wanted = -signal.SIGKILL if hit and fault.mode in DEADLY else 0
        problems = "" if code == wanted else f"the child ended with {code}: {text}"
        problems = problems or self._judge(chance, folder, worker)
        if cut_too and not problems:
            problems = self._cut_too(start, folder, chance, worker)
        return Outcome(case, hit, problems, 1 + cut_too)

    def _cut_too(self, start: Start, folder: Path, chance: random.Random, worker: Worker) -> str:
        """Cut the power somewhere in what a child did that had a fault; judge what is left."""
        operations = list(images.read(folder / "trace"))
        points = [number for number, one in enumerate(operations) if one.kind in images.SYNCS]
        point, cut = chance.choice(points), folder / "cut"
        left, said = images.image(start.folder, operations, point, chance.randrange(1 << 30))
        images.write(left, cut / "disk")
        _note(cut / "said", [*start.said, *_lines(said)])
        problems = self._judge(chance, cut, worker)
        return f"with a power cut at {point} beside it, {problems}" if problems else ""

    @staticmethod
    def _judge(chance: random.Random, folder: Path, worker: Worker) -> str:
        """Have a copy of what is left judged; return what is wrong."""
        _copy(folder / "disk", folder / "judged")
        report = folder / "judged.txt"
        seed = chance.randrange(1 << 30)
        code = worker.run(Job(folder / "judged", folder / "said", seed, "judge", report))
        return "" if code == 0 else f"judged {code}: {report.read_text()}"


def _lines(said: bytes) -> list[str]:
    return said.decode().splitlines()


def _note(said: Path, lines: Iterable[str]) -> None:
    with said.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def _is_torn(left: Left) -> bool:
    """Whether a block is neither as it was saved nor whole."""
    content = left.get(DATABASE, b"")
    saved = unpack(left.get(f"{DATABASE}.blocks", b""))
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
