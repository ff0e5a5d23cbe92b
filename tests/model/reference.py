"""The queue as a reader of the manual would write it: a dict of tasks and one loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wopr import TaskPriority, TaskStatus

RETRY_AFTER = 5.0
MAX_CRASHES = 3
WORKERS = {"a": 1, "b": 2}
LIVE = (TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY)


@dataclass
class ModelTask:
    """What the model knows of one task."""

    id: str
    number: int  # in the order of enqueueing
    category: str
    priority: TaskPriority
    max_retries: int
    run_at: datetime | None
    key: str | None
    status: TaskStatus = TaskStatus.PENDING
    attempt: int = 0
    retry_count: int = 0
    crashes: int = 0
    result: int | None = None
    error: str | None = None


@dataclass
class Model:
    """All tasks, and the order in which they have to start."""

    tasks: dict[str, ModelTask] = field(default_factory=dict)
    starts: dict[str, list[tuple[str, int]]] = field(
        default_factory=lambda: {name: [] for name in WORKERS}
    )
    working: bool = True
    """Whether workers are there."""

    def live_with(self, key: str | None) -> ModelTask | None:
        """Return the live task that has the key."""
        if key is None:
            return None
        return next((t for t in self.tasks.values() if t.key == key and t.status in LIVE), None)

    def running(self, category: str | None = None) -> list[ModelTask]:
        """Return the running tasks."""
        return [
            task
            for task in self.tasks.values()
            if task.status is TaskStatus.STARTED and category in (None, task.category)
        ]

    def pump(self, now: datetime) -> None:
        """Start what has to start now."""
        for category, workers in WORKERS.items():
            while self.working and len(self.running(category)) < workers:
                due = [
                    task
                    for task in self.tasks.values()
                    if task.category == category
                    and task.status in (TaskStatus.PENDING, TaskStatus.RETRY)
                    and (task.run_at is None or task.run_at <= now)
                ]
                if not due:
                    break
                first = min(due, key=lambda task: (-task.priority, task.number))
                first.status = TaskStatus.STARTED
                first.attempt += 1
                self.starts[category].append((first.id, first.attempt))

    def succeed(self, task: ModelTask, result: int) -> None:
        """End a run well."""
        task.status, task.result, task.error = TaskStatus.SUCCESS, result, None

    def fail(self, task: ModelTask, error: str, now: datetime, *, for_good: bool) -> None:
        """End a run badly."""
        task.error = error
        if for_good or task.retry_count >= task.max_retries:
            task.status = TaskStatus.FAILED
            return
        task.status = TaskStatus.RETRY
        task.retry_count += 1
        task.run_at = now + timedelta(seconds=RETRY_AFTER)

    def cancel(self, task: ModelTask) -> bool:
        """Cancel; say whether that was possible."""
        if task.status not in LIVE:
            return False
        task.status = TaskStatus.CANCELLED
        return True

    def restore(self, task: ModelTask) -> bool:
        """Take a cancel back; say whether that was possible."""
        if task.status is not TaskStatus.CANCELLED or self.live_with(task.key) is not None:
            return False
        task.status = TaskStatus.PENDING
        return True

    def renew(self, task: ModelTask) -> bool:
        """Retry by hand; say whether that was possible."""
        if task.status is not TaskStatus.FAILED:
            return False
        task.status = TaskStatus.PENDING
        task.retry_count = task.crashes = 0
        task.run_at = task.result = task.error = None
        return True

    def interrupt_all(self) -> None:
        """Shut down: what runs waits again, at no cost."""
        for task in self.running():
            task.status = TaskStatus.PENDING

    def crash(self) -> None:
        """Die; the next opening recovers, or gives up."""
        for task in self.running():
            task.crashes += 1
            task.status = TaskStatus.PENDING
            if task.crashes >= MAX_CRASHES:
                task.status = TaskStatus.FAILED
                task.error = "The process died"

    def cleanup(self) -> int:
        """Forget what has ended; return how many."""
        doomed = [task.id for task in self.tasks.values() if task.status not in LIVE]
        for task_id in doomed:
            del self.tasks[task_id]
        return len(doomed)
