"""What Celery workers of the tests import: celery -A support.celery_program worker."""

from __future__ import annotations

from support.brokers import take_installed_redis
from support.celery_shop import stocked
from support.identities import auth_with
from wopr import TaskQueue
from wopr.integrations.celery import CeleryConfig, register

take_installed_redis()
app = CeleryConfig.from_env().app()
register(app, stocked(TaskQueue(enabled=False, auth=auth_with())))
