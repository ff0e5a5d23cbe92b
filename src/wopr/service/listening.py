"""Listens on a port."""

from __future__ import annotations

import socket


def listen_on(host: str, port: int) -> socket.socket:
    """Return what listens there. Answers are sent at once.

    An answer is written in two parts. Without TCP_NODELAY, which connections take over from what
    listens, the second waits until the first is acknowledged: for 40 ms on a connection that is
    kept. The event loop sets it by itself only on sockets that say that they speak TCP.

    Raises:
        OSError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
