"""Whether this process, of several that serve one application, is the one for the workers."""

from __future__ import annotations

import os

from wopr.config.settings import is_on

FORCED = ("GOBSTOPPER_FORCE_WORKERS", "WOPR_FORCE_WORKERS")
NUMBERS = ("GRANIAN_WORKER_ID", "GUNICORN_WORKER_ID")


def should_run_background_workers() -> bool:
    """Tell whether to start workers here, by what application servers say in the environment.

    The first process of Granian or Gunicorn says 0; one that Gunicorn gives no number is none.
    ``WOPR_FORCE_WORKERS`` decides otherwise. Others need no workers to enqueue and to look.
    """
    for name in FORCED:
        if name in os.environ:
            return bool(is_on(os.environ[name]))
    for name in NUMBERS:
        if name in os.environ:
            return os.environ[name] == "0"
    return "gunicorn" not in os.environ.get("SERVER_SOFTWARE", "").lower()
