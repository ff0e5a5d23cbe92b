"""A page: where it is, its template, and what it asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.live import streaming
from wopr.web.pages.rendering import live_part, page
from wopr.web.routing import route

Values = Callable[[Ask], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, which is live if its template has a block ``live``.

    Args:
        here: its name in the navigation.
        path: below the root; may have parameters.
        template: extends ``base.html``.
        values: asks what the template shows.
        needs: the role of who may look.
        live: whether it changes while somebody looks.
    """

    here: str
    path: str
    template: str
    values: Values
    needs: Role = Role.READ
    live: bool = True

    def routes(self) -> list[BaseRoute]:
        """Return the page and, if it is live, the stream of what changes."""
        found: list[BaseRoute] = [route(self.path, self._show, needs=self.needs)]
        if self.live:
            found.append(route(_stream_path(self.path), self._stream, needs=self.needs))
        return found

    async def _show(self, request: Request) -> Response:
        ask = ask_of(request)
        values = await self.values(ask)
        return page(request, self.template, ask=ask, **{**self._common(ask), **values})

    async def _stream(self, request: Request) -> Response:
        root = ask_of(request)
        ask = ask_of(request, path=root.path.removeprefix("/live") or "/")

        async def make() -> str:
            return live_part(self.template, ask, **{**self._common(ask), **await self.values(ask)})

        key = (ask.root, ask.path, str(ask.query), ask.caller.role)
        return streaming(request, key, make)

    def _common(self, ask: Ask) -> dict[str, Any]:
        live = self.live and not ask.past
        return {"here": self.here, "live_url": live_url(ask) if live else None}


def live_url(ask: Ask) -> str:
    """Return where the stream of a page is."""
    query = f"?{ask.query}" if ask.query else ""
    return ask.root + _stream_path(ask.path) + query


def _stream_path(path: str) -> str:
    return "/live" + path.rstrip("/")
