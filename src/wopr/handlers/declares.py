"""What a handler class needs of a queue to register its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wopr.auth.config import Auth


class Declares(Protocol):
    """Somebody who registers functions as tasks, and declares schedules of them."""

    provider: Callable[[type[Any]], Any] | None

    def task(self, *args: Any, **kwargs: Any) -> Any:
        """Return a decorator that makes a function a task."""
        ...

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Return a decorator that declares a schedule of a task."""
        ...

    def sync(self) -> Any:
        """Return the way to call coroutine functions of it from code without an event loop."""
        ...


class HasHandlers(Protocol):
    """Somebody with whom handler classes are registered."""

    @property
    def auth(self) -> Auth | None:
        """How protected tasks are checked."""
        ...

    @property
    def handlers(self) -> Mapping[type, Any]:
        """What was registered, by class."""
        ...
