"""What hostile calls aim at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wopr import Task, TaskHandle, TaskQueue


@dataclass
class Target:
    """What an attack aims at."""

    queue: TaskQueue
    task: Task[..., Any]
    typed: Task[..., Any]
    waiting: TaskHandle[Any]

    async def written(self) -> tuple[int, int, int]:
        """Return the numbers of tasks, of transitions and of registered functions."""
        tasks = (await self.queue.sql("select count(*) from tasks")).scalar()
        transitions = (await self.queue.sql("select count(*) from transitions")).scalar()
        return tasks, transitions, len(self.queue.task_functions)
