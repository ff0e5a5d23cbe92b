"""A queue in Flask: a bridge from its threads to the queue's event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

from flask import Flask

from wopr.integrations.serving import ExitBridge, checked, start
from wopr.queue.queue import TaskQueue
from wopr.queue.sync import SyncQueue

P = ParamSpec("P")
R = TypeVar("R")


class WoprFlask:
    """Calls coroutine functions of the queue from views, and waits for them.

    ::

        wopr = WoprFlask(app, queue, workers={"mail": 4})

        @app.post("/signup")
        def signup():
            handle = wopr(send_mail.enqueue, "ada@example.org")

    Args:
        app: an application; ``None`` if :meth:`init_app` is called later.
        queue: which one.
        workers: how many, by category, in whichever process owns the file; they start before
            the first request is answered, or with :meth:`start`. None by default: this process
            only enqueues.

    The queue runs in a thread of its own from its first use, so after a server has forked,
    until the process exits.

    Raises:
        InvalidCallError: it is no queue, or ``workers`` is no dict of category to number.
    """

    def __init__(
        self, app: Flask | None, queue: TaskQueue, *, workers: Mapping[str, int] | None = None
    ) -> None:
        self._workers = checked(queue, {} if workers is None else workers)
        self.queue = queue
        self._lock = threading.Lock()
        self._sync: SyncQueue | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Be ``app.extensions["wopr"]``."""
        app.extensions["wopr"] = self
        if self._workers:
            app.before_request(self._before_request)

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``function(*args, **kwargs)`` on the queue's loop and return what it returns."""
        return self.start()(function, *args, **kwargs)

    def start(self) -> SyncQueue:
        """Start the workers now, if that was not done yet; return the bridge.

        Raises:
            StorageOwnedError: another process owns the file, and can't be asked for it.
        """
        with self._lock:
            if self._sync is None:
                self._sync = self._started()
            return self._sync

    def close(self) -> None:
        """Shut the queue down; done at exit by itself. It starts again when it is used."""
        with self._lock:
            sync, self._sync = self._sync, None
        if sync is not None:
            sync.close()

    def _started(self) -> SyncQueue:
        sync = ExitBridge(self.queue)
        try:
            if self._workers:
                sync(start, self.queue, self._workers)
        except BaseException:
            sync.close()
            raise
        return sync

    def _before_request(self) -> None:
        self.start()
