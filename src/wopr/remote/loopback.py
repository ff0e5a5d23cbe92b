"""Whose program is at the other end of a TCP connection within this machine.

Every user of a machine can connect to its loopback addresses, a web server that passes on what the
world asks among them. The kernel knows whose socket it is: on Linux it is asked.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

STATE = "wopr_another_user"
"""In the state of a connection: what was found when it was made, whoever has its port later."""
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"
_CLOSED = -1
_MAPPED = "0000000000000000FFFF0000" if sys.byteorder == "little" else "00000000000000000000FFFF"
Address = tuple[str, int]


def is_of_another_user(scope: Mapping[str, Any]) -> bool:
    """Tell whether a local request was sent by another user's program, who is not root either.

    Where the system does not tell, that is not known, and ``False``.
    """
    found = scope.get("state", {}).get(STATE)
    client, server = scope.get("client"), scope.get("server")
    if found is None and client and server and server[1] is not None:
        found = is_connected_by_another_user((client[0], client[1]), (server[0], server[1]))
    return bool(found)


def is_connected_by_another_user(client: Address, server: Address) -> bool:
    """Tell that of a connection, by its two ends."""
    if sys.platform != "linux":
        return False
    try:
        owner = owner_in(_lines(), written(*client), written(*server))
    except ValueError:  # a name, as tests have
        return False
    return owner is not None and owner not in {os.geteuid(), 0}


def _lines() -> Iterable[str]:
    for table in _TABLES:
        try:
            with open(table, encoding="ascii") as file:
                yield from file
        except OSError:
            continue


def owner_in(lines: Iterable[str], client: set[str], server: set[str]) -> int | None:
    """Return the user of a client's socket; -1 if it is closed already, ``None`` if none was there.

    One that is closed shows root as its user, whoever it was.
    """
    known = None
    for line in lines:
        words = line.split(maxsplit=8)
        if len(words) < 8:
            continue
        ends = words[1], words[2]
        if ends[0] in client and ends[1] in server:
            if words[3] == _ESTABLISHED:
                return int(words[7])
            known = _CLOSED
        elif ends[0] in server and ends[1] in client:
            known = _CLOSED
    return known


def written(host: str, port: int) -> set[str]:
    """Return an address as the kernel writes it: words of 32 bits in its own byte order."""
    packed = ipaddress.ip_address(host).packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    text = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    texts = {text} if len(packed) > 4 else {text, f"{_MAPPED}{text}"}
    return {f"{one}:{port:04X}" for one in texts}
