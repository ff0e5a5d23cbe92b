"""A queue for the demo's shop; its file comes from ``WOPR_TASKS_DATABASE`` or ``--database``."""

from __future__ import annotations

from wopr import TaskQueue
from wopr.demo import shop

queue = TaskQueue(enabled=True, tasks=[shop])
