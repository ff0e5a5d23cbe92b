"""What somebody is told who does not come in: as a problem document, or as a small page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} · wopr</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">{head}
<link rel="icon" href="data:,"><link rel="stylesheet" href="{root}/login.css"></head>
<body><main><h1>{title}</h1>{body}</main></body></html>
"""


def refusal(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to a request that is refused: what happened, and what mends it."""
    title = HTTPStatus(status).phrase
    if wants_page(request):
        body = f"<p>{html.escape(detail)}</p>"
        return small_page(request, title, body, status=status, headers=headers)
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    kind = "application/problem+json"
    return Response(json.dumps(document), status, dict(headers or {}), media_type=kind)


def wants_page(request: Request) -> bool:
    """Tell whether somebody looks with a browser, to whom a page says more than a document."""
    return not path_of(request).startswith("/api/") and "text/html" in request.headers.get(
        "accept", ""
    )


def small_page(
    request: Request,
    title: str,
    body: str,
    *,
    status: int = 200,
    head: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a page of the guard's own. ``body`` and ``head`` are HTML."""
    root = html.escape(root_of(request))
    text = _PAGE.format(title=html.escape(title), head=head, root=root, body=body)
    return Response(text, status, dict(headers or {}), media_type="text/html; charset=utf-8")


def root_of(request: Request) -> str:
    """Return where the application is mounted: empty, or a path."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def path_of(request: Request) -> str:
    """Return the path of a request inside of the application."""
    path: str = request.scope["path"]
    root = root_of(request)
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
