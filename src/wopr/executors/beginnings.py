"""Whether functions may still begin."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from wopr.domain.guarded import guarded


class NotBegunError(Exception):
    """A shutdown came before the function began."""


def take_back(future: Future[Any]) -> bool:
    """Cancel what has not begun; whether that was possible. The future may be somebody's own."""
    return bool(guarded(future.cancel, otherwise=False))


class Beginnings:
    """Asked before each function begins; knows those that wait in executors of others."""

    def __init__(self) -> None:
        self.over = False
        """Whether no function begins any more."""
        self._waiting: set[Future[Any]] = set()

    def check(self) -> None:
        """Return if a function may begin now.

        Raises:
            NotBegunError: the queue is shutting down.
        """
        if self.over:
            raise NotBegunError

    def wait(self, future: Future[Any]) -> None:
        """Take back what has not begun when :meth:`end` comes, or came since :meth:`check`."""
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        if self.over:
            take_back(future)

    def end(self) -> None:
        """Let none begin from now on; in any thread."""
        self.over = True
        for future in list(self._waiting):
            take_back(future)
