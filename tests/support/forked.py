"""Short programs, each in a fork of one process that has imported what they would.

Starting Python and importing wopr takes three quarters of what such a program takes. The process
has no thread and has opened nothing; a child goes to its folder, is ``__main__``, and ends as any
program does. This file is also the program of that process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

WARM = """
import asyncio
from wopr import TaskQueue

async def main():
    async with TaskQueue(enabled=True, database="tasks.duckdb") as queue:

        @queue.task
        async def add(a: int, b: int) -> int:
            return a + b

        await queue.start_workers("default", 1)
        assert 3 == await (await add.enqueue(1, 2)).result(timeout=60)
        assert [] != (await queue.sql("select * from tasks")).rows

asyncio.run(main())
"""


class Forks:
    """The process, from the outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take the process that was started."""
        self._process = process

    def run_ok(self, program: Path, folder: Path, *, timeout: float = 110) -> None:
        """Run a program in a folder, and show all that it said when it fails."""
        said = folder / "said by the program"
        pid = int(self._ask({"program": str(program), "folder": str(folder), "said": str(said)}))
        try:
            status = int(self._line(timeout))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            status = int(self._line(timeout))
        code = os.waitstatus_to_exitcode(status)
        assert code == 0, f"exit code {code} from: {program}\n{said.read_text(errors='replace')}"

    def _ask(self, order: dict[str, str]) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._line(60)

    def _line(self, timeout: float) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise TimeoutError
        line = self._process.stdout.readline()
        assert line, "the process that forks has died"
        return line


@contextlib.contextmanager
def forks(env: dict[str, str]) -> Iterator[Forks]:
    """Start the process, with warnings as errors, and end it."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", __file__],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Forks(process)


def _wait_for_orders() -> dict[str, str] | None:
    """Fork a child for each order and return in it; return nothing when there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            order: dict[str, str] = json.loads(line)
            return order
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)
    return None


def _go_to(order: dict[str, str]) -> None:
    """Become a process that was started for the program: its folder, its outputs, its modules."""
    os.chdir(order["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(nothing, 0)
    for output in (1, 2):
        os.dup2(said, output)
    os.closerange(3, max(nothing, said) + 1)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = [order["program"]]
    sys.path[0] = str(Path(order["program"]).parent)
    main = types.ModuleType("__main__")
    main.__file__ = order["program"]
    for name in {"__main__", "__mp_main__"} & sys.modules.keys():  # multiprocessing makes another
        sys.modules[name] = main


def _serve() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.warm import import_what_children_import

    del sys.path[0]

    def live(folder: Path) -> None:
        os.chdir(folder)
        exec(WARM, {})

    import_what_children_import(live)
    alone = len(os.listdir("/proc/self/task")) == 1 if sys.platform == "linux" else True
    assert alone, "a fork of a process with threads is no model of a fresh process"
    order = _wait_for_orders()
    if order is not None:
        _go_to(order)
        code = compile(Path(order["program"]).read_bytes(), order["program"], "exec")
        exec(code, sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    _serve()
