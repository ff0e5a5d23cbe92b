"""Telegram, Slack, mail and a hundred others by their URLs, through Apprise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from wopr.domain.checks import check_label
from wopr.domain.errors import DeliveryFailedError, InvalidCallError
from wopr.domain.jsontext import shown, type_name
from wopr.domain.level import NotificationLevel
from wopr.notifications.event import NotificationEvent

if TYPE_CHECKING:
    from apprise import Apprise

_TALKATIVE = ("apprise", "urllib3.connectionpool")
"""Loggers whose lines may hold the URL, which holds the secrets."""
_KINDS = {
    NotificationLevel.INFO: "info",
    NotificationLevel.WARNING: "warning",
    NotificationLevel.ERROR: "failure",
    NotificationLevel.CRITICAL: "failure",
}

_sending: ContextVar[bool] = ContextVar("wopr_apprise_sending", default=False)


class AppriseHandler:
    """A handler for one Apprise URL, like ``tgram://token/chat`` or ``mailto://…``.

    Args:
        url: see https://github.com/caronc/apprise/wiki. It holds secrets: it is in no error,
            log or task.
        name: of the handler; tasks that wait for delivery know it by this name.

    One URL each, so that a receiver that fails does not repeat the message at the others.

    Raises:
        InvalidCallError: the URL can't be used, or apprise is not installed.
    """

    def __init__(self, url: str, *, name: str = "apprise") -> None:
        self.name = check_label(name, "the name of an Apprise handler")
        if not isinstance(url, str):
            raise InvalidCallError(
                f"The URL of Apprise handler {name!r} must be a str, not {shown(url)}."
            )
        self._scheme = url.partition(":")[0][:20]
        self._apprise = self._made(url)

    def __repr__(self) -> str:
        return f"<AppriseHandler {self.name}>"

    async def __call__(self, event: NotificationEvent) -> None:
        """Deliver one event.

        Raises:
            DeliveryFailedError: the receiver did not take it.
        """
        try:
            delivered = await asyncio.to_thread(self._notify, event)
        except Exception as error:  # noqa: BLE001 - of any of a hundred plugins; the text may hold the URL
            raise DeliveryFailedError(self._failed(type_name(error))) from None
        if not delivered:
            raise DeliveryFailedError(self._failed("it says no more"))

    def _notify(self, event: NotificationEvent) -> bool:
        with _silence():
            return bool(
                self._apprise.notify(
                    body=event.message or event.title,
                    title=event.title if event.message else "",
                    notify_type=_KINDS[event.level],
                )
            )

    def _failed(self, why: str) -> str:
        return (
            f"Apprise handler {self.name!r} ({self._scheme}) did not deliver: {why}. See the "
            "reason with the command `apprise -vv -b test` and its URL."
        )

    def _made(self, url: str) -> Apprise:
        try:
            from apprise import Apprise
        except ImportError:
            raise InvalidCallError(
                "apprise is not installed. Install it: pip install 'wopr[notify]'."
            ) from None
        _hush()
        made = Apprise()
        why = ""
        with _silence(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its plugins import what Python deprecates
            try:
                if made.add(url) and len(made) == 1:
                    return made
            except Exception as error:  # noqa: BLE001 - of any of a hundred plugins; the text may hold the URL
                why = f" ({type_name(error)})"
        raise InvalidCallError(
            f"The URL of Apprise handler {self.name!r} can't be used{why}: it must be one URL of a "
            "service that Apprise knows. It is not shown here, because it may hold secrets. Try it "
            "with the command `apprise -vv -b test` and the URL."
        )


def _quiet(record: logging.LogRecord) -> bool:
    return not _sending.get()


def _hush() -> None:
    """Let the loggers that show URLs say nothing while this module sends; else all they have."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if _quiet not in logger.filters:
            logger.addFilter(_quiet)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)
