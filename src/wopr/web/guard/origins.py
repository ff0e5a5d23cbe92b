"""Where a request comes from, as its own headers tell. Pure.

A page of somebody else's can have a browser send requests here, and a name of somebody else's can
lead to this machine's address (DNS rebinding). The browser says so: in Origin, in Sec-Fetch-Site,
in Host. What no browser sends is not judged here: it needs a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from wopr.domain.hosts import is_loopback, named_host

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip"})
_PORTS = {"http": 80, "https": 443}
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


def peer_of(scope: Mapping[str, Any]) -> str:
    """Return the address at the other end; ``unix`` for a socket of this machine."""
    client = scope.get("client")
    return str(client[0])[:100] if client else "unix"


def is_local(scope: Mapping[str, Any], headers: Headers) -> bool:
    """Tell whether a request was made on this machine, for this machine, and came directly.

    A proxy on this machine would make everybody local: it is known by what it adds, or by the
    old version of HTTP that nginx speaks unless it is told otherwise.
    """
    host = named_host(headers.get("host", ""))
    if host is None or not is_loopback(host) or scope.get("http_version") == "1.0":
        return False
    if any(name in _PROXIES or name.startswith(b"x-forwarded") for name, _ in headers.raw):
        return False
    if scope.get("client"):
        return is_loopback(peer_of(scope))
    server = scope.get("server")
    return server is not None and server[1] is None  # a unix socket


def is_foreign(method: str, headers: Headers) -> bool:
    """Tell whether a page of another origin makes a browser send this.

    Following a link from there is no harm: a browser shows the page to nobody but its user.
    """
    origin = headers.get("origin")
    if origin is not None and not _is_same(origin, headers.get("host", "")):
        return True
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return False
    return not (method in SAFE_METHODS and is_visit(headers))


def is_visit(headers: Headers) -> bool:
    """Tell whether a browser opens this as a page of its own, not as a part of another one."""
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "navigate",
        "document",
    )


def comes_from_elsewhere(headers: Headers) -> bool:
    """Tell whether a browser followed a link of another site, so that it sends no strict cookie."""
    return is_visit(headers) and headers.get("sec-fetch-site") in {"cross-site", "same-site"}


def is_of_a_browser(headers: Headers) -> bool:
    """Tell whether a browser may have sent this without a script that could set headers."""
    signs = ("origin", "sec-fetch-site", "sec-fetch-mode", "referer", "cookie")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in _FORMS or any(sign in headers for sign in signs)


def _is_same(origin: str, host: str) -> bool:
    """Tell whether an Origin names the host that the request is meant for, at the same port."""
    try:
        found, meant = urlsplit(origin), urlsplit(f"//{host}")
        default = _PORTS[found.scheme]
        ports = found.port or default, meant.port or default
    except (ValueError, KeyError):  # null, or an extension of the browser
        return False
    return found.hostname == meant.hostname and ports[0] == ports[1]
