"""The tasks of Django's applications, whoever declares them how."""

from __future__ import annotations

import os

import django
from django.apps import apps
from django.utils.module_loading import module_has_submodule

from wopr.calls.modules import broken
from wopr.domain.errors import InvalidCallError
from wopr.queue.queue import TaskQueue

SETTINGS = "DJANGO_SETTINGS_MODULE"


def discover(queue: TaskQueue) -> list[str]:
    """Import the ``tasks`` modules of ``INSTALLED_APPS``; put tasks of ``@wopr.task`` into a queue.

    Sets Django up, unless that was done; may be called in ``AppConfig.ready``. ``wopr worker``
    does it by itself where ``DJANGO_SETTINGS_MODULE`` is set.

    Returns:
        The modules.

    Raises:
        DuplicateTaskError: a name belongs to another function.
        InvalidCallError: Django can't be set up, or an import failed; the error names the module.
    """
    if not apps.models_ready:
        try:
            django.setup()
        except (Exception, SystemExit) as error:  # code of the application: it may raise anything
            name = os.environ.get(SETTINGS, "")
            raise InvalidCallError(
                f"Django could not be set up for its tasks, with {SETTINGS}={name}. "
                f"{broken(name, error)}"
            ) from error
    names = [
        f"{config.name}.tasks"
        for config in apps.get_app_configs()
        if config.module is not None and module_has_submodule(config.module, "tasks")
    ]
    return queue.discover(*names) if names else []
