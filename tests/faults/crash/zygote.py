"""A process that has imported everything and opened nothing, and forks children on request.

Starting Python and importing takes half a second, a fork some milliseconds: that
is what makes hundreds of kills affordable. Reads one JSON object per line; answers
``started PID`` and, when the child is gone, ``ended STATUS`` (``os.waitpid``'s).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from faults.crash.scenario import Orders, live
from faults.torture import scenario as torture
from support.warm import import_what_children_import


def main() -> None:
    """Serve until the standard input ends."""
    import_what_children_import(lambda folder: torture.live(folder / "tasks.duckdb", 1, "short"))
    alone = len(os.listdir("/proc/self/task")) == 1 if sys.platform == "linux" else True
    assert alone, "a fork of a process with threads is no model of a fresh process"
    for line in sys.stdin:
        told = json.loads(line)
        told["database"], told["journal"] = Path(told["database"]), Path(told["journal"])
        pid = os.fork()
        if pid == 0:
            _be_child(Orders(**told))
        print(f"started {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {status}", flush=True)


def _be_child(orders: Orders) -> None:
    code = 1
    try:
        live(orders)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
