"""The one instance of a handler class in a queue, made when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import type_name
from wopr.executors.threads import Threads

H = TypeVar("H")


class Instance(Generic[H]):
    """Makes the instance once; if that fails, the next one who needs it tries again.

    Args:
        handler_type: what it must be an instance of.
        make: called in the thread that needs it first, by nobody else at the same time.
    """

    def __init__(self, handler_type: type[H], make: Callable[[], H]) -> None:
        self._type = handler_type
        self._make = make
        self._made: H | None = None
        self._lock = threading.RLock()  # a factory that asks for itself shall fail, not hang
        self._threads = Threads()

    def get(self) -> H:
        """Return the instance; waits while another thread makes it.

        Raises:
            InvalidCallError: what was made is no instance of the class.
            Exception: whatever the factory raises.
        """
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._checked(self._make())
        return self._made

    async def get_async(self) -> H:
        """Return the instance; the event loop goes on while another thread makes it."""
        if self._made is not None:
            return self._made
        if not self._lock.acquire(blocking=False):
            return await self._threads.run(self.get, (), {})  # type: ignore[no-any-return]
        try:
            return self.get()
        finally:
            self._lock.release()

    def _checked(self, made: object) -> H:
        if isinstance(made, self._type):
            return made
        name = self._type.__qualname__
        raise InvalidCallError(
            f"The factory of {name} must return a {name} and returned {type_name(made)}. Check "
            "the factory= of register_handler(), or queue.provider."
        )
