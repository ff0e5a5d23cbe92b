"""A process that forks children imports what they would: each would do it again."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path


def import_what_children_import(live: Callable[[Path], object]) -> None:
    """Let one child live, in a directory that is its own, and import what it imported."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_scout(live, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as told:
        names = told.read().split()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the scout could not live"
    for name in names:
        with contextlib.suppress(ImportError):  # a name that a module gave itself
            importlib.import_module(name)


def _be_scout(live: Callable[[Path], object], writer: int) -> None:
    code = 1
    known = set(sys.modules)
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.dup2(os.open(Path(folder, "said"), os.O_WRONLY | os.O_CREAT, 0o600), 1)
            live(Path(folder))
        os.write(writer, "\n".join(name for name in sys.modules if name not in known).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
