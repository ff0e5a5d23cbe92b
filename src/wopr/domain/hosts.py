"""Whom a request is meant for: its Host header, compared with what this server is called.

A page of a browser can lead a name of its own to this machine's address (DNS rebinding) and
read the answers. An address, or a name without a dot, can't be such a name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?")
LONGEST_HOST = 255


def is_meant(headers: Sequence[str], listening: str, names: Sequence[str]) -> bool:
    """Tell whether the Host header of a request names this server.

    Args:
        headers: all of that name; none is no browser, but e.g. an old load balancer.
        listening: the address that the server was given.
        names: what else it is called; ``*`` is everything.
    """
    if not headers:
        return True
    host = _without_port(headers[0])
    if host is None or len(headers) > 1:
        return False
    if "*" in names or host in {listening.lower(), *(name.lower() for name in names)}:
        return True
    return _is_address(host) or host.endswith(".localhost") or _NAME.fullmatch(host) is not None


def _without_port(header: str) -> str | None:
    """Return the host in small letters; None if that is none."""
    if len(header) > LONGEST_HOST:
        return None
    name, colon, port = header.rpartition(":")
    if not colon or header.endswith("]"):
        name, port = header, "0"
    if not (port.isascii() and port.isdecimal()):
        return None
    if name.startswith("[") != name.endswith("]"):
        return None
    return name.removeprefix("[").removesuffix("]").lower().removesuffix(".")


@lru_cache(maxsize=1_024)  # each request of a machine says the same
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


REFUSAL = (
    "The Host header of this request is no name of this server. An IP address, localhost and names "
    "without a dot are; allow others by WOPR_TASKS_HTTP_HOSTS, separated by commas.\n"
)


@lru_cache(maxsize=1_024)
def is_loopback(host: str) -> bool:
    """Tell whether a name or an address can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def named_host(header: str) -> str | None:
    """Return the name or address in a Host header, in small letters; ``None`` if that is none."""
    return _without_port(header)
