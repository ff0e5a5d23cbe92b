"""Task-handler classes: methods as tasks, with their dependencies, queued or run directly."""

from wopr.handlers.decorators import TaskHandler, schedule, task
from wopr.handlers.direct import DirectTaskExecutor, DirectTaskInvocation
from wopr.handlers.dispatch import DispatchedTask
from wopr.handlers.registered import RegisteredHandler

__all__ = [
    "DirectTaskExecutor",
    "DirectTaskInvocation",
    "DispatchedTask",
    "RegisteredHandler",
    "TaskHandler",
    "schedule",
    "task",
]
