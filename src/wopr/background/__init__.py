"""Background services that yield to the foreground.

A :class:`BackgroundScheduler` holds the services of a program, a :class:`ForegroundScheduler`
suspends them while something more important is under way.
"""

from wopr.background.background import BackgroundScheduler
from wopr.background.foreground import ForegroundScheduler
from wopr.background.notification_queue import NotificationQueueTask, NotificationSource
from wopr.background.schedulable import BackgroundPriority, SchedulableTask, TaskState
from wopr.background.task import BackgroundTask

__all__ = [
    "BackgroundPriority",
    "BackgroundScheduler",
    "BackgroundTask",
    "ForegroundScheduler",
    "NotificationQueueTask",
    "NotificationSource",
    "SchedulableTask",
    "TaskState",
]
