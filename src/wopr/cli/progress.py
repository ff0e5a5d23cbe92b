"""One line of a terminal that tells how far something is, and is gone when it is done."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from wopr.cli.places import cut
from wopr.domain.terminal import clean

BAR = 30
"""Places of a bar."""

_ERASE = "\r\x1b[K"


class Progress:
    """How far something is, on standard error; on no terminal, and with ``hidden``, nothing.

    Args:
        text: what is done.
        hidden: show nothing.
        out: another stream.
    """

    def __init__(self, text: str, *, hidden: bool = False, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._text = text
        self._line = ""
        self.shown = not hidden and self._out.isatty()
        """Whether anybody sees it."""

    def __enter__(self) -> Progress:
        self.show()
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def show(self, done: int = 0, total: int = 0, text: str | None = None) -> None:
        """Write the line anew: so much of so much is done; without ``total`` it is not known."""
        self._text = self._text if text is None else text
        self.write(f"{_bar(done, total)} {self._text}" if total else f"{self._text}…")

    def write(self, line: str) -> None:
        """Write this as the line."""
        fitting = cut(clean(line), shutil.get_terminal_size().columns - 1)
        if self.shown and fitting != self._line:
            self._line = fitting
            self._out.write(f"{_ERASE}{fitting}")
            self._out.flush()

    def clear(self) -> None:
        """Take the line away, to print something else; it comes back with what is shown next."""
        if self.shown and self._line:
            self._line = ""
            self._out.write(_ERASE)
            self._out.flush()


def _bar(done: int, total: int) -> str:
    """Return a bar, and the numbers that it shows."""
    filled = BAR * min(done, total) // max(total, 1)
    return f"{'█' * filled}{'░' * (BAR - filled)} {done:,}/{total:,}"
