"""Settings of a small Django project; imported once, before anything of Django's is used."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
from django.conf import settings

BACKEND = "wopr.integrations.django.WoprBackend"
QUEUE = "integrations.django_shop:queue"
BUILT_IN = django.VERSION >= (6, 0) and find_spec("django.tasks") is not None

VARIABLE = "DJANGO_SHOP_FOLDER"
if VARIABLE not in os.environ:  # worker processes have it from the one that has the file
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="wopr-django-")
    atexit.register(shutil.rmtree, os.environ[VARIABLE])
FOLDER = Path(os.environ[VARIABLE])

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
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "shop.db"}},
        INSTALLED_APPS=[
            *([] if BUILT_IN else ["django_tasks"]),
            "wopr.integrations.outbox.django",
        ],
        ROOT_URLCONF="integrations.django_shop",
        SECRET_KEY="not a secret",
        TASKS=TASKS,
        TIME_ZONE="Asia/Seoul",
        USE_TZ=True,
    )
    django.setup()
