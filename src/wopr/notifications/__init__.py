"""Notifications: events for people, their delivery, and alerts that emit them.

::

    service = NotificationService(queue)
    service.route(Webhook("https://…", secret), level="warning")
    await service.add_alert("mail fails", when="final_failure", task="mail.*")

    async with queue, service:
        await service.emit("billing", "error", "Card refused", "Order 17")
"""

from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.level import NotificationLevel
from wopr.notifications.alertbook import AlertBook, AlertOptions
from wopr.notifications.appriseurl import AppriseHandler
from wopr.notifications.event import CATEGORY, NotificationEvent
from wopr.notifications.routing import QuietHours, RateLimit, Route
from wopr.notifications.service import NotificationService
from wopr.notifications.webhook import Webhook, verify_signature

__all__ = [
    "CATEGORY",
    "AlertBook",
    "AlertCondition",
    "AlertOptions",
    "AlertRule",
    "AppriseHandler",
    "NotificationEvent",
    "NotificationLevel",
    "NotificationService",
    "QuietHours",
    "RateLimit",
    "Route",
    "Webhook",
    "verify_signature",
]
