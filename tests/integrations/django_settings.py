"""Settings of a small Django project; imported once, before anything of Django's is used."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings

BACKEND = "wopr.integrations.django.WoprBackend"
QUEUE = "integrations.django_shop:queue"
BUILT_IN = django.VERSION >= (6, 0) and find_spec("django.tasks") is not None

TASKS: dict[str, Any] = {
    "default": {
        "BACKEND": BACKEND,
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"queue": QUEUE},
    },
    "patient": {"BACKEND": BACKEND, "OPTIONS": {"queue": QUEUE, "max_retries": 1}},
    "apart": {"BACKEND": BACKEND, "OPTIONS": {"queue": QUEUE, "executor": "process"}},
    "brief": {"BACKEND": BACKEND, "OPTIONS": {"queue": QUEUE, "timeout": 0.05}},
    "open": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": {"queue": QUEUE}},
}

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=[] if BUILT_IN else ["django_tasks"],
        ROOT_URLCONF="integrations.django_shop",
        SECRET_KEY="not a secret",
        TASKS=TASKS,
        TIME_ZONE="Asia/Seoul",
        USE_TZ=True,
    )
    django.setup()
