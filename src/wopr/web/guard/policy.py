"""Whom an application lets in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.requests import Request

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.queue.queue import TaskQueue
from wopr.web.guard.roles import Caller

Authenticate = Callable[[Request], Caller | Awaitable[Caller | None] | None]


class Loopback(StrEnum):
    """Who a program or a browser on this machine is, without a token."""

    ADMIN = "admin"
    """The user of this process, who could read and write the file anyway."""
    TOKEN = "token"  # noqa: S105 - a word of the setting
    """Nobody: a token is needed here, too."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom an application lets in, apart from those who have a token."""

    loopback: Loopback
    hosts: tuple[str, ...]
    """Names that it is called by, besides addresses, localhost and names without a dot."""
    authenticate: Authenticate | None = None
    """Tells who asks, for an application that knows: then nobody is let in for being local."""


def policy_of(
    queue: TaskQueue,
    authenticate: Authenticate | None,
    hosts: Sequence[str] | None,
    loopback: Loopback | str | None,
) -> Policy:
    """Return whom an application lets in; what is not given says a setting.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    if authenticate is not None and not callable(authenticate):
        raise InvalidCallError(
            f"authenticate= must be a function from a request to a Caller, not "
            f"{shown(authenticate)}."
        )
    settings = queue.settings
    if hosts is None:
        named: Any = ["*"] if authenticate is not None else settings.http_hosts.split(",")
    else:
        named = hosts
    if isinstance(named, str) or not all(isinstance(one, str) for one in named):
        raise InvalidCallError(f"hosts= must be a list of names, not {shown(hosts)}.")
    word = settings.web_loopback if loopback is None else loopback
    if word not in set(Loopback):
        raise InvalidCallError(
            f"loopback= must be 'admin' or 'token', not {shown(loopback)}: who a program on this "
            "machine is, without a token."
        )
    names = tuple(filter(None, (one.strip() for one in named)))
    return Policy(Loopback(word), names, authenticate)
