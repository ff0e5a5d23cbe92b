"""What Celery workers of the tests import: celery -A support.celery_program worker."""

from __future__ import annotations

import os

from support.brokers import take_installed_redis
from support.celery_shop import stocked
from support.identities import auth_with
from wopr import TaskQueue
from wopr.integrations.celery import CeleryConfig, PostgresMailbox, register

take_installed_redis()
app = CeleryConfig.from_env().app()
database = os.environ.get("WOPR_TEST_MAILBOX")
register(
    app,
    stocked(TaskQueue(enabled=False, auth=auth_with())),
    mailbox=PostgresMailbox(database) if database else None,
)
