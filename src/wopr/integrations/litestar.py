"""A queue in Litestar: ``Litestar(plugins=[WoprPlugin(queue, workers={"mail": 4})])``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin

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
