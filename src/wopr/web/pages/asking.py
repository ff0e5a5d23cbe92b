"""What a page is asked: by whom, about which queue, with which words in its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams
from starlette.requests import Request

from wopr.queue.queue import TaskQueue
from wopr.web.guard.roles import Caller, Role
from wopr.web.pages.recent import Recent, recent_of
from wopr.web.routing import caller_of, queue_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question of a page. It outlives its request: a live page asks it again and again."""

    queue: TaskQueue
    caller: Caller
    recent: Recent
    root: str = ""
    """Where the application is mounted, without a slash at the end."""
    path: str = "/"
    """Of the page, without the root."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What stands in the path in the places of its parameters."""
    query: QueryParams = field(default_factory=QueryParams)

    @property
    def url(self) -> str:
        """The page with its query: what can be sent to somebody."""
        return self.root + self.path + (f"?{self.query}" if self.query else "")

    @property
    def past(self) -> bool:
        """Whether a moment of the past is asked for; nothing can be done to that."""
        return bool(self.query.get("at"))

    def may(self, role: str) -> bool:
        """Whether the caller may do now what needs this role."""
        return not self.past and self.caller.role.allows(Role(role))


def ask_of(request: Request, *, path: str | None = None) -> Ask:
    """Return what a request asks; ``path`` if it is not that of the page itself."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    own = request.url.path
    return Ask(
        queue=queue_of(request),
        caller=caller_of(request),
        recent=recent_of(request),
        root=root,
        path=own.removeprefix(root) if path is None else path,
        names={name: str(value) for name, value in request.path_params.items()},
        query=request.query_params,
    )
