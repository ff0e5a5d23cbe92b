"""A process that has imported everything and opened nothing, and forks hosts on request.

Reads one JSON object per line and answers with the child's pid. What becomes of the children
is the affair of who asked for them.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import wopr.access.fleet  # noqa: F401 - what a queue imports when it is opened
from faults.fleet.life import Orders, live
from wopr.storage.postgres.connections import driver


def main() -> None:
    """Serve until the standard input ends."""
    driver()
    for line in sys.stdin:
        told = json.loads(line)
        told["said"] = Path(told["said"])
        pid = os.fork()
        if pid == 0:
            _be_child(Orders(**told))
        print(pid, flush=True)
        while os.waitpid(-1, os.WNOHANG)[0]:  # this one, at least, is there
            pass


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
