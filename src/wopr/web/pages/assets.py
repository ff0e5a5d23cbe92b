"""Scripts and styles: from the wheel, compressed once, kept by browsers until they change."""

from __future__ import annotations

import functools
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.web.guard.roles import Role
from wopr.web.routing import route

NAMES = {
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "travel.js": "text/javascript; charset=utf-8",
    "travel.css": "text/css; charset=utf-8",
    "pictures.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "vendor/htmx.min.js": "text/javascript; charset=utf-8",
    "vendor/hx-sse.min.js": "text/javascript; charset=utf-8",
    "vendor/hx-csp.min.js": "text/javascript; charset=utf-8",
    "vendor/uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "vendor/uPlot.min.css": "text/css; charset=utf-8",
}
"""Nothing else of the folder is served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is sent."""

    kind: str
    plain: bytes
    packed: bytes
    mark: str
    """Of its content; a part of its URL."""


@functools.cache
def asset(name: str) -> Asset:
    """Return one of the files."""
    data = files("wopr.web.pages").joinpath("static", *name.split("/")).read_bytes()
    packed = gzip.compress(data, 9, mtime=0)
    return Asset(NAMES[name], data, packed, hashlib.sha256(data).hexdigest()[:16])


def asset_path(name: str) -> str:
    """Return where a file is served, below the root of the application."""
    return f"/static/{asset(name).mark}/{name}"


async def serve(request: Request) -> Response:
    """Answer with a file, if the page that asks is of this version."""
    name = request.path_params["name"]
    if name not in NAMES or request.path_params["mark"] != asset(name).mark:
        raise HTTPException(404, "There is no such file; reload the page.")
    found = asset(name)
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "accept-encoding",
        "content-type": found.kind,
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers={**headers, "content-encoding": "gzip"})
    return Response(found.plain, headers=headers)


def routes() -> list[BaseRoute]:
    """Return the route of all files."""
    return [route("/static/{mark}/{name:path}", serve, needs=Role.READ)]
