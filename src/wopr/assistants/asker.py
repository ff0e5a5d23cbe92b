"""For whom an assistant asks, and what that one may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from wopr.config.whoami import this_process
from wopr.domain.act import By, acting
from wopr.domain.role import Role


@dataclass(frozen=True, slots=True)
class Asker:
    """Whom an assistant asks for."""

    name: str
    may_act: bool
    may_ask_sql: bool


Who = Callable[[Any], Asker]
"""Tells it from the HTTP request of a call; it gets ``None`` where there is none."""


def this_user(request: Any) -> Asker:
    """Return the user of this process, who may all that the command allows."""
    return Asker(this_process().who, may_act=True, may_ask_sql=True)


def http_caller(request: Any) -> Asker:
    """Return who asks over HTTP, as the guard before this server found out, with their role."""
    caller = request.state.caller
    return Asker(
        caller.name,
        may_act=caller.role.allows(Role.OPERATE),
        may_ask_sql=caller.role.allows(Role.ADMIN),
    )


class Asking:
    """Finds out for whom a call asks."""

    def __init__(self, who: Who) -> None:
        self._who = who

    def of(self, context: Context[Any, Any]) -> Asker:
        """Return for whom."""
        return self._who(context.request_context.request)

    def acts(self, context: Context[Any, Any]) -> Asker:
        """Return for whom, if they may act.

        Raises:
            ToolError: they may not.
        """
        asker = self.of(context)
        if not asker.may_act:
            raise ToolError(
                f"{asker.name} may not act on tasks: that needs the role operate. A token with it: "
                "wopr token create NAME --role operate."
            )
        return asker

    def asks_sql(self, context: Context[Any, Any]) -> Asker:
        """Return for whom, if they may ask in SQL.

        Raises:
            ToolError: they may not.
        """
        asker = self.of(context)
        if not asker.may_ask_sql:
            raise ToolError(
                f"{asker.name} may not ask in SQL: that needs the role admin. Use the other tools."
            )
        return asker


@contextmanager
def noted_as(asker: Asker) -> Iterator[None]:
    """Have acts noted as those of an assistant that asks for somebody."""
    by = acting.set(By(f"mcp for {asker.name}"[:200], this_process().origin))
    try:
        yield
    finally:
        acting.reset(by)
