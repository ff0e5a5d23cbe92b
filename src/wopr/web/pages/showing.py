"""A page: where it is, its template, and what it asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.ports.glance import glance
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.live import streaming
from wopr.web.pages.recent import looking
from wopr.web.pages.rendering import live_part, page
from wopr.web.routing import route

MOST_UNKNOWN = 5
"""So many words that nobody knows are told."""

Values = Callable[[Ask], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, which is live if its template has a block ``live``.

    Args:
        here: its name in the navigation.
        path: below the root; may have parameters.
        template: extends ``base.html``.
        words: those of its URL that it knows, besides ``at``.
        values: asks what the template shows; ``live_more`` of it goes to the stream of the page.
        needs: the role of who may look.
        live: whether it changes while somebody looks.
    """

    here: str
    path: str
    template: str
    values: Values
    words: tuple[str, ...] = ()
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
        with glance(), looking(hurried=True) as look:
            values = await self.values(ask)
        common = {**self._common(ask, values), "unknown": self._unknown(ask), "words": self.words}
        common["known_of"] = None if ask.past else ask.recent.known_of(look)
        return page(request, self.template, ask=ask, **{**common, **values})

    async def _stream(self, request: Request) -> Response:
        root = ask_of(request)
        ask = ask_of(request, path=root.path.removeprefix("/live") or "/")

        async def make() -> str:
            with glance(), looking(hurried=False) as look:
                values = await self.values(ask)
            values = {**self._common(ask, values), "known_of": ask.recent.known_of(look), **values}
            return live_part(self.template, ask, **values)

        key = (ask.root, ask.path, str(ask.query), ask.caller.role)
        return streaming(request, key, make)

    def _unknown(self, ask: Ask) -> list[str]:
        """Return words of the URL that change nothing: a slip of the pen, or of another page."""
        return sorted(set(ask.query) - {"at", *self.words})[:MOST_UNKNOWN]

    def _common(self, ask: Ask, values: dict[str, Any]) -> dict[str, Any]:
        live = self.live and not ask.past
        url = live_url(ask, values.get("live_more", {})) if live else None
        return {"here": self.here, "live_url": url}


def live_url(ask: Ask, more: dict[str, str]) -> str:
    """Return where the stream of a page is; ``more`` is what it has to know of what is shown."""
    query = urlencode([*ask.query.multi_items(), *more.items()])
    return ask.root + _stream_path(ask.path) + (f"?{query}" if query else "")


def _stream_path(path: str) -> str:
    return "/live" + path.rstrip("/")
