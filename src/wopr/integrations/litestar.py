"""A queue in Litestar: ``Litestar(plugins=[WoprPlugin(queue, workers={"mail": 4})])``.

And its dashboard: ``Litestar([mounted("/wopr", create_app(queue))])``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import unquote

from litestar import Litestar, asgi
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.handlers import ASGIRouteHandler
from litestar.plugins import InitPlugin
from litestar.types import Receive, Scope, Send

from wopr.domain.errors import InvalidCallError
from wopr.integrations.serving import WORKERS, checked, serving
from wopr.queue.queue import TaskQueue


class WoprPlugin(InitPlugin):
    """Opens the queue with the application, and hands it to route handlers.

    Args:
        queue: which one.
        workers: how many, by category, in whichever process owns the file; ``{}`` or a 0 only
            enqueues.
        dependency: the name of the parameter that gets the queue.

    Raises:
        InvalidCallError: it is no queue, or ``workers`` is no dict of category to number.
    """

    def __init__(
        self,
        queue: TaskQueue,
        workers: Mapping[str, int] = WORKERS,
        *,
        dependency: str = "queue",
    ) -> None:
        self._workers = checked(queue, workers)
        self._queue = queue
        self._dependency = dependency

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the lifespan and the dependency.

        Raises:
            InvalidCallError: the application has a dependency of this name.
        """
        if self._dependency in app_config.dependencies:
            raise InvalidCallError(
                f"The application has a dependency {self._dependency!r} already. Give the queue "
                "another name: WoprPlugin(queue, dependency=…)."
            )
        app_config.lifespan.append(self._lifespan)
        app_config.dependencies[self._dependency] = Provide(self._provide, sync_to_thread=False)
        app_config.signature_types.append(TaskQueue)
        return app_config

    def _lifespan(self, app: Litestar) -> AbstractAsyncContextManager[None]:
        return serving(self._queue, self._workers)

    def _provide(self) -> TaskQueue:
        return self._queue


def mounted(path: str, app: Any) -> ASGIRouteHandler:
    """Return a route handler that has all below a path answered by an ASGI application.

    Litestar takes that path off, puts a slash at the end, and does not say where an application is
    mounted, as ASGI has it: then its links and cookies would be those of the root.

    Args:
        path: as in ``"/wopr"``.
        app: as :func:`wopr.web.create_app` returns it.

    Raises:
        InvalidCallError: the path is none to mount something at.
    """
    if not path.startswith("/") or path.endswith("/"):
        raise InvalidCallError(
            f"{path!r} is no path to mount an application at. Right is, for example: '/wopr'."
        )

    @asgi(path, is_mount=True, copy_scope=True)
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        asked = unquote(bytes(scope["raw_path"]).decode("latin-1"))
        await app({**scope, "path": asked, "root_path": path}, receive, send)

    return handler
