"""A Celery cluster runs a queue's functions; claims, history, retries and results stay wopr's.

``executor=CeleryExecutor(app)`` in the queue's process, ``register(app, queue)`` in what the Celery
workers import.
"""

from __future__ import annotations

try:
    import celery as _celery
except ImportError as error:
    raise ImportError(
        "wopr.integrations.celery needs Celery, which is not installed: pip install 'wopr[celery]'."
    ) from error

from wopr.integrations.celery.beat import beat_schedule
from wopr.integrations.celery.callback import CallbackMailbox, Callbacks
from wopr.integrations.celery.config import CeleryConfig
from wopr.integrations.celery.executor import CeleryExecutor
from wopr.integrations.celery.mailbox import Mailbox, ResultBackend
from wopr.integrations.celery.postgres import PostgresMailbox
from wopr.integrations.celery.workerside import register

del _celery

__all__ = [
    "CallbackMailbox",
    "Callbacks",
    "CeleryConfig",
    "CeleryExecutor",
    "Mailbox",
    "PostgresMailbox",
    "ResultBackend",
    "beat_schedule",
    "register",
]
